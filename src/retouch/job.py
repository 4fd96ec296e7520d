"""What is to be edited: sources, prompts and Jobs, and the Key that says two Jobs are the same.

The Key is the SHA-256 of a Job's canonical form. It holds content (digests, rendered prompt,
model, options, repeat index) and nothing that may change without changing the result: no paths,
names, limits, prices, endpoint or tool version (DESIGN §5). Nor does it hold what the model cannot
see: line ends, blanks at the ends of lines, options that state their default, and the ways to
write one character are made alike before a Job is made (`plain_text`, `plan.options`).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import msgspec
import orjson

from retouch.text import url_without_signature

KEY_SCHEMA = 2  # frozen: tests/test_job.py holds golden keys
KEY_DIGITS = 12  # of a Key: enough to name a Job to people, and for them to name it

OptionValue: TypeAlias = (
    "str | int | float | bool | tuple[OptionValue, ...] | Members | Picture | None"
)
Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"
Options = tuple[tuple[str, OptionValue], ...]


@dataclass(frozen=True, slots=True)
class Members:
    """A mapping among options: its members sorted by name. A list is a tuple."""

    items: tuple[tuple[str, OptionValue], ...]


class Picture(msgspec.Struct, frozen=True, gc=False):
    """One input image: a local file with its facts, or a URL the server is to fetch.

    `file` is an absolute path as text: 100,000 of them are held, and few are opened at a time.
    `digest` is `sha256:<hex of the file's bytes>` or `url:<URL without what only signs it>`.
    `transforms` names what is done to the file before it is sent (`orient`, `convert`,
    `cut_out`); the digest stays that of the file. `bytes`, `width`, `height`, `media_type` are
    those of the file and None for a URL. `span` is where its bytes lie in the file (offset,
    length), if it is one of many in it. `object` is its address where it lies in a bucket.
    `by_link`: it is put where a link leads to it, and the link is sent in place of its bytes.
    """

    digest: str
    file: str | None = None
    url: str | None = None
    media_type: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    transforms: tuple[str, ...] = ()
    span: tuple[int, int] | None = None
    object: str | None = None
    by_link: bool = False

    @property
    def path(self) -> Path | None:
        """Where the file is."""
        return None if self.file is None else Path(self.file)

    @property
    def identity(self) -> str:
        """What stands for this picture in a Key."""
        return "+".join((self.digest, *self.transforms))


class Source(msgspec.Struct, frozen=True, gc=False):
    """One input image with its mask, its further images and its columns.

    `name` is the path relative to the input's root, or the URL without its query: what records and
    reports call it. `segmentation` is a label: it is never sent, and no part of a Key.
    """

    name: str
    picture: Picture
    mask: Picture | None = None
    images: tuple[Picture, ...] = ()
    columns: Mapping[str, str] = msgspec.field(default_factory=dict)
    segmentation: Picture | None = None


def plain_text(text: str) -> str:
    """A prompt's text as it is keyed and sent: LF ends its lines, no blanks end a line or stand
    around the whole, and a character has its one composed form (NFC)."""
    if text.isprintable() and text[-1:] != " " and unicodedata.is_normalized("NFC", text):
        return text  # one line: what ends lines, and every blank but the space, is not printable
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip() for line in lines.split("\n")).strip("\n")


def plain_texts(texts: list[str]) -> list[str]:
    """`plain_text` of many: a look at all of them tells where none needs a change."""
    whole = "\n".join(texts)
    if (
        whole.isascii()
        and " \n" not in whole
        and whole[-1:] != " "
        and "".join(texts).isprintable()
    ):
        return texts
    return list(map(plain_text, texts))


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt; `id` names its template and, where variables multiply, its values."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What options ask for, in the words of prices, checks and paths; the dialect reads them.

    `n` is how many pictures one request asks for. None: not said.
    """

    n: int = 1
    size: str | None = None
    quality: str | None = None
    aspect_ratio: str | None = None


def plain(value: OptionValue) -> Plain:
    """An option as JSON has it. A picture is its dialect's to place."""
    if isinstance(value, Picture):
        raise TypeError("a picture among options is placed, not written")
    if isinstance(value, Members):
        return {name: plain(each) for name, each in value.items}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value


def unsigned(value: OptionValue) -> Plain:
    """What stands for an option in a Key: URLs at any depth without what only signs them, a
    picture by its content."""
    if isinstance(value, Picture):
        return value.identity
    if isinstance(value, Members):
        return {name: unsigned(each) for name, each in value.items}
    if isinstance(value, tuple):
        return [unsigned(each) for each in value]
    if isinstance(value, str) and value[:8].lower().startswith(("http://", "https://")):
        return url_without_signature(value)
    return value


@dataclass(frozen=True, slots=True)
class Job:
    """One request to be paid for.

    `options` are sorted by name. `placement` is the request field the pictures go to (`image`,
    `subject_image_list`, ...). `output` is the path of its pictures under the outputs folder,
    without suffix, in which `{index}` stands for the picture's running number. `like` names the
    known model by whose route an unknown one is sent; where it goes is not part of the Key. `terms`
    are what the dialect reads in the options. `draw` is the prompt's place among those drawn for
    the source, so that equal draws stay apart. `lane` is what the model is called here; "" is its
    own name.
    `redone` counts how often a person rejected the Job's picture and asked for another one.
    """

    model: str
    prompt: Prompt
    source: Source
    options: Options = ()
    placement: str = "image"
    repeat: int = 0
    output: str = "images/{index}"
    like: str | None = None
    terms: Terms = Terms()
    draw: int = 0
    lane: str = ""
    redone: int = 0
    known_key: str = field(default="", init=False, repr=False, compare=False)

    @property
    def lane_name(self) -> str:
        """What its lane is called."""
        return self.lane or self.model

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The source and the further images, in the order they are sent."""
        return (self.source.picture, *self.source.images)

    @property
    def sent_pictures(self) -> tuple[Picture, ...]:
        """Every picture of the request: also the mask, and those that options name."""
        mask = (self.source.mask,) if self.source.mask else ()
        named = (value for _, value in self.options if isinstance(value, Picture))
        return (*self.pictures, *mask, *named)

    @property
    def images_wanted(self) -> int:
        """How many pictures one request asks for."""
        return self.terms.n

    @property
    def key(self) -> str:
        """The content address: 64 hex digits."""
        if self.known_key:
            return self.known_key
        request = keyed_request(self.model, self.options, self.placement)
        parts = (keyed_pictures(self.source), request, keyed_text(self.prompt.text))
        return key_of(parts, self.repeat, self.draw, self.redone)

    def keyed(self, key: str) -> Job:
        """The same Job, its Key known: made of parts that many Jobs share. A copy forgets it."""
        object.__setattr__(self, "known_key", key)
        return self

    def output_path(self, index: int) -> str:
        """Where the request's `index`-th picture goes, without suffix; repeats count on, and one
        that takes a rejected picture's place says so."""
        number = str(self.repeat * self.images_wanted + index)
        again = f"-r{self.redone}" if self.redone else ""
        return self.output.replace("{index}", number) + again

    @property
    def variant(self) -> int:
        """Tells this Job from others that ask for the same: every repeat and redo has its own."""
        return self.repeat + 1000 * self.redone

    def redo(self, times: int = 1) -> Job:
        """The same Job once more, for a picture that was rejected; -1 is the one before it."""
        return replace(self, redone=self.redone + times)


# --- The canonical form: JSON without blanks, its names in order; in parts that Jobs share -------


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def keyed_pictures(source: Source) -> bytes:
    """A source's part of the Keys of its Jobs."""
    mask = source.mask
    images = [source.picture.identity, *(picture.identity for picture in source.images)]
    return b'"images":%b,"mask":%b,' % (_json(images), _json(mask.identity if mask else None))


def keyed_request(model: str, options: Options, placement: str) -> bytes:
    """A model's part of the Keys of its Jobs, with a request field for the pictures."""
    stated = {name: unsigned(value) for name, value in options}
    parts = (_json(model), _json(stated), _json(placement))
    return b'"model":%b,"options":%b,"placement":%b,' % parts


def keyed_text(text: str) -> bytes:
    """A prompt's part of the Keys of its Jobs."""
    return b'"prompt":%b,' % _json(text)


def key_of(parts: tuple[bytes, bytes, bytes], repeat: int, draw: int = 0, redone: int = 0) -> str:
    """The Key of a Job: of its pictures', its request's and its text's part, in this order."""
    pictures, request, text = parts
    if draw or redone:
        pictures, text = key_draw(draw) + pictures, text + key_redo(redone)
    return digest_of(pictures + request, text, key_end(repeat)).hex()


def key_draw(draw: int) -> bytes:
    """The part of a Key that tells its prompt's place among those drawn; the first has none."""
    return b'"draw":%d,' % draw if draw else b""


def key_redo(redone: int) -> bytes:
    """The part of a Key that tells it from those before it that were rejected."""
    return b'"redone":%d,' % redone if redone else b""


def key_end(repeat: int) -> bytes:
    """The part of a Key that tells repeats apart."""
    return b'"repeat":%d,"schema":%d}' % (repeat, KEY_SCHEMA)


def digest_of(before: bytes, text: bytes, end: bytes) -> bytes:
    """The Key of a Job as 32 bytes: of its pictures' and its request's part, joined, its text's,
    and the end."""
    return hashlib.sha256(b"{" + before + text + end).digest()
