"""Errors as servers and the gateways before them put them: every shape is read here.

OpenAI's object, also alone in a list; Kling's code and message; FastAPI's and RFC 9457's detail;
Google's details with a reason, a quota's id and a delay; Apigee's fault, MiniMax's base_resp,
Spring's, Lambda's and APISIX's own names; a document as a text within the message. Nothing raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from retouch.dialects.openai_like.documents import (
    Document,
    clean,
    looks_like_html,
    object_in,
    read_json,
    text_in,
    text_of_page,
)
from retouch.dialects.openai_like.error_table import ServerError, Told

_MESSAGES = (
    "message", "msg", "detail", "reason", "faultstring", "status_msg", "title", "error_msg",
    "errorMessage", "Message", "error_description",
)  # fmt: skip
_OUTER_MESSAGES = ("message", "msg", "status_message", "error_message", *_MESSAGES[4:], "reason")
_INNER = ("error", "errors", "fault", "base_resp", "Error")
_CODES = ("code", "error_code", "errorcode", "status_code", "Code")
_OWN_CODE = re.compile(r"[1-9]\d{3}")  # Kling's, against HTTP statuses and gRPC's small numbers
_DELAYS = (("retry_after_ms", 1e-3), ("retryAfterMs", 1e-3), ("retry_after", 1.0),
           ("retryAfter", 1.0), ("retry_after_seconds", 1.0), ("retryDelay", 1.0))  # fmt: skip
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_AMOUNT = r"\d{1,9}(?:\.\d{1,9})?"
_UNIT = (
    r"ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|毫秒|秒|分钟|小时"
)
_SPAN = re.compile(rf"({_AMOUNT})\s*({_UNIT})(?![a-z])", re.IGNORECASE)
_TOLD_DELAY = re.compile(
    r"(?:try again|retry|wait|available again|replenished|reset\w*|请在|重试)"
    rf"[^\d.;]{{0,40}}((?:{_AMOUNT}\s*(?:{_UNIT})(?![a-z])[\s,]*)+|\d{{1,2}}:\d\d:\d\d)",
    re.IGNORECASE,
)


def told_by(status: int, body: bytes) -> Told:
    """What a reply says that is no result: its error, if it is an error document, and its text."""
    error = read_error(body)
    if error is not None:
        return Told(status, error, error.text, is_bare=False)
    is_page = looks_like_html(body)
    text = text_of_page(body) if is_page else clean(body[:4096].decode("utf-8", "replace"), 2000)
    return Told(status, None, text, is_bare=is_page or not body.strip())


def read_error(body: bytes) -> ServerError | None:
    """The error a body tells of, whatever its shape; None if it is no error document."""
    value = read_json(body)
    if isinstance(value, list) and value:  # Google's way of saying one error
        value = value[0]
    return error_in(value) if isinstance(value, dict) else None


def error_in(document: Document) -> ServerError | None:
    """The error in a document of any of these shapes; None if it tells of none."""
    inner = _inner(document)
    message = next((clean(text) for text in _texts(document, inner) if text.strip()), "")
    kind = text_in(inner, "type", "errorType") or text_in(document, "type", "error_type")
    code = _first_code(inner) or _first_code(document) or text_in(inner, "status")
    if not (message or kind or code):
        return None
    details = tuple(_details(inner))
    found = ServerError(
        type=kind,
        code=code,
        message=message,
        reasons=tuple(_reasons(details, inner)),
        is_own=_is_own(document, code),
        wait_seconds=_delay_in((*details, inner, document), message),
    )
    return _with_what_is_inside(found)


def _inner(document: Document) -> Document:
    """The object that holds the error: a member, or the first of a list of them."""
    for name in _INNER:
        value = document.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            return value
    return {}


def _texts(document: Document, inner: Document) -> Iterator[str]:
    told = document.get("error")
    text = text_in(document, *_OUTER_MESSAGES) if isinstance(told, str) else ""
    # Spring's `error` is the status in words; its `message` says more.
    yield text if text and isinstance(document.get("status"), int) else ""
    yield told if isinstance(told, str) else ""
    yield text_in(inner, *_MESSAGES)
    yield text_in(document, *_OUTER_MESSAGES)
    yield from _fastapi(document.get("detail"))


def _fastapi(detail: object) -> Iterator[str]:
    """FastAPI's `detail`: a text, or a list of objects with a `msg` each."""
    if isinstance(detail, str):
        yield detail
    for entry in detail[:3] if isinstance(detail, list) else [detail]:
        if isinstance(entry, dict):
            yield text_in(object_in({"entry": entry}, "entry"), "msg", "message")


def _details(inner: Document) -> Iterator[Document]:
    """Google's `details`, with the violations in them; Apigee's one `detail`."""
    given = inner.get("details")
    for entry in given[:16] if isinstance(given, list) else [inner.get("detail")]:
        if isinstance(entry, dict):
            yield entry
            violations = entry.get("violations")
            for one in violations[:16] if isinstance(violations, list) else ():
                if isinstance(one, dict):
                    yield one


def _reasons(details: tuple[Document, ...], inner: Document) -> Iterator[str]:
    """Further names of the error: API_KEY_INVALID, ...PerDay..., RESOURCE_EXHAUSTED."""
    for entry in details:
        for name in ("reason", "quotaId", "errorcode"):
            if value := text_in(entry, name):
                yield value
    if status := text_in(inner, "status"):
        yield status


def _is_own(document: Document, code: str) -> bool:
    """Whether the shape is the services' own, and not only a gateway's before it."""
    if isinstance(document.get("error"), dict):
        return True
    has_message = bool(text_in(document, "message", "msg"))
    is_native = _OWN_CODE.fullmatch(code) is not None or document.get("status") is False
    return has_message and is_native


def _with_what_is_inside(found: ServerError) -> ServerError:
    """A gateway may pass on the document it got as a text: its error is meant. A message is short,
    so there is an end to it."""
    if found.message[:1] not in ("{", "["):
        return found
    inside = read_error(found.message.encode())
    if inside is None:
        return found
    return ServerError(
        type=inside.type or found.type,
        code=inside.code or found.code,
        message=inside.message or found.message,
        reasons=(*found.reasons, *inside.reasons, *filter(None, (found.type, found.code))),
        is_own=found.is_own,
        wait_seconds=inside.wait_seconds or found.wait_seconds,
    )


def _first_code(document: Document) -> str:
    return next((code for name in _CODES if (code := _code(document.get(name)))), "")


def _code(value: object) -> str:
    """An error's code as text, number or text; "" for none (0 is success)."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value in (0, "0"):
        return ""
    return clean(value if isinstance(value, str) else _digits(value), 64)


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**18 else ""


def _delay_in(documents: tuple[Document, ...], message: str) -> float | None:
    """How long the server asks to be left alone, as a member or in words, in seconds."""
    for document in documents:
        for name, unit in _DELAYS:
            value = document.get(name)
            if isinstance(value, str):
                span = _SPAN.fullmatch(value.strip())
                value = _seconds(span[0]) if span else _number(value)
                unit = 1.0 if span else unit  # noqa: PLW2901 - "26s" says its own
            if isinstance(value, int | float) and not isinstance(value, bool):
                seconds = float(value) * unit
                if 0 < seconds < math.inf:
                    return seconds
    told = _TOLD_DELAY.search(message)
    return (_seconds(told[1]) or None) if told else None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_AMOUNT, text) else None


def _seconds(text: str) -> float:
    """`1h2m3.5s`, `54 seconds`, `350ms`, `03:12:42` as seconds."""
    if ":" in text:
        hours, minutes, seconds = map(int, text.split(":"))
        return hours * 3600.0 + minutes * 60.0 + seconds
    return sum(float(amount) * _UNITS[_unit(unit)] for amount, unit in _SPAN.findall(text))


def _unit(word: str) -> str:
    word = {"毫秒": "ms", "秒": "s", "分钟": "m", "小时": "h"}.get(word, word.lower())
    return "ms" if word.startswith("mil") or word == "ms" else word[0]
