"""Reply bodies as JSON documents, and what every dialect reads from them in the same way.

Nothing here raises, whatever the bytes are: too deep, not UTF-8, of another type, huge. A value
that is missing, null or of the wrong type is absent. The pictures' long strings are passed on as
they were decoded, not copied (but for a `data:` prefix, which is cut).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping

import orjson

from retouch.dialects.base import EncodedPicture, LinkedPicture
from retouch.text import one_clean_line, without_secrets

Document = Mapping[str, object]

MESSAGE_CHARACTERS = 500
GREATEST_COUNT = 2**53  # larger numbers in JSON are not exact between programs
PAGE_BYTES = 8 * 1024
PAGE_CHARACTERS = 2000
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|h1)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_PLAIN_ENDS = {"stop", "finish_reason_unspecified", "end_turn", "completed", "success"}
_PREFIX_CHARACTERS = 256  # a data URI's part before its comma


def read_document(body: bytes) -> Document | None:
    """The body as a JSON object, or None if it is not one."""
    value = read_json(body)
    return value if isinstance(value, dict) else None


def read_json(body: bytes) -> object:
    """The body as JSON, or None if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _read_leniently(body)


def _read_leniently(body: bytes) -> object:
    """What the strict reader refuses and servers do send: NaN, lone surrogates, a BOM."""
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, or endless digits
        return None


def looks_like_a_page(body: bytes) -> bool:
    """Whether the body is a web page, as proxies answer with."""
    return body[:1024].lstrip().startswith(b"<")


def looks_like_html(body: bytes) -> bool:
    """Whether the body is a web page of an edge's or proxy's, and no other markup."""
    return _HTML.search(body[:1024]) is not None


def text_of_page(body: bytes) -> str:
    """What a web page says to who looks at it, as one clean line."""
    markup = body[:PAGE_BYTES].decode("utf-8", "replace")
    return clean(html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", markup))), PAGE_CHARACTERS)


def clean(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Text of a server's as one line fit for people and ledgers, its URLs without queries."""
    return one_clean_line(without_secrets(text[: limit * 8]), limit)


def text_in(document: Document, *names: str) -> str:
    """The first of the named members that is a text with something in it, cleaned; else ""."""
    for name in names:
        value = document.get(name)
        if isinstance(value, str) and value.strip():
            return clean(value)
    return ""


def object_in(document: Document, name: str) -> Document:
    """The named member if it is an object, else an empty one."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def count_in(document: Document, name: str, warnings: list[str]) -> int | None:
    """The named count, None where nothing credible was said; a value refused is warned about."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= GREATEST_COUNT:
        return value
    warnings.append(f"the reply's {name} is not a count: {clean(repr_of(value), 40)}")
    return None


def repr_of(value: object) -> str:
    """A JSON value in short, for a warning."""
    return repr(value) if isinstance(value, str | int | float | bool) else type(value).__name__


def reason_for_none(document: Document) -> str:
    """Why a whole reply holds no picture, in its own words: the reason it finished for, then the
    model's words in a picture's place; "" where nothing is said."""
    said = dict.fromkeys(_finishes(document))
    words = dict.fromkeys(_words_in_place(document))
    return clean(": ".join((*said, *words)))


def _finishes(document: Document) -> Iterator[str]:
    """The reasons that are none of a plain end: IMAGE_SAFETY, NO_IMAGE, content_filter, ..."""
    for part in _parts(document):
        for name in ("finishReason", "finish_reason", "blockReason", "block_reason"):
            reason = text_in(part, name)
            if reason and reason.lower() not in _PLAIN_ENDS:
                yield reason


def _words_in_place(document: Document) -> Iterator[str]:
    for part in _parts(document):
        message = object_in(part, "message")
        yield from filter(
            None,
            (
                text_in(part, "finishMessage", "blockReasonMessage"),
                text_in(message, "refusal", "content"),
                text_in(part, "text", "output_text", "revised_prompt", "refusal"),
            ),
        )
        pieces = object_in(part, "content").get("parts")
        for piece in pieces[:4] if isinstance(pieces, list) else ():
            if isinstance(piece, dict) and (text := text_in(piece, "text")):
                yield text


def _parts(document: Document) -> Iterator[Document]:
    """The document and the entries of its lists: data, candidates, choices."""
    yield document
    yield object_in(document, "promptFeedback")
    for name in ("data", "candidates", "choices", "images"):
        entries = document.get(name)
        for entry in entries[:4] if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield entry


def pictures_in(entries: object, warnings: list[str]) -> tuple[EncodedPicture | LinkedPicture, ...]:
    """The pictures of a `data` or `images` list, in its order; empty entries are warned of."""
    if not isinstance(entries, list):
        return ()
    pictures = tuple(picture for entry in entries if (picture := _picture(entry)) is not None)
    if len(pictures) < len(entries):
        warnings.append(f"{len(entries) - len(pictures)} of {len(entries)} entries hold no picture")
    return pictures


def _picture(entry: object) -> EncodedPicture | LinkedPicture | None:
    if not isinstance(entry, dict):
        return None
    encoded, url = entry.get("b64_json"), entry.get("url")
    if not (isinstance(encoded, str) and encoded):
        encoded = url if isinstance(url, str) and url[:5].lower() == "data:" else ""
    if encoded:
        bare = _without_prefix(encoded)
        return EncodedPicture(bare) if bare else None
    return LinkedPicture(url) if isinstance(url, str) and url else None


def _without_prefix(encoded: str) -> str:
    """Raw base64, whether or not the server put `data:image/png;base64,` before it (trap 7)."""
    if encoded[:5].lower() != "data:":
        return encoded
    comma = encoded.find(",", 0, _PREFIX_CHARACTERS)  # blanks after it are the decoder's
    return encoded[comma + 1 :] if comma >= 0 else encoded
