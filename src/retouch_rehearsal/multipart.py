"""Reading `multipart/form-data` bodies, OpenAI's form of an edit, whole and in a worker thread."""

from __future__ import annotations

import re
from email.message import Message
from typing import cast

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

PARTS = frozenset({"image", "image[]"})
FIELDS_MAX = 64
_NUMBERS = frozenset(
    {"n", "output_compression", "partial_images", "frame_count", "frame_duration_ms"}
)
_MEMBER = re.compile(r"(\w+)((?:\[\w+\])+)")


class MultipartBroken(ValueError):
    """The body is not the form its Content-Type says."""


class _Collector:
    """The parser's callbacks: gathers (headers, data) of each part."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, str], bytearray]] = []
        self._name = bytearray()
        self._value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) >= FIELDS_MAX:
            raise MultipartBroken(f"more than {FIELDS_MAX} parts")
        self.parts.append(({}, bytearray()))

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        name = self._name.decode("latin-1").lower()
        self.parts[-1][0][name] = self._value.decode("utf-8", "replace")
        self._name.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1][1].extend(memoryview(data)[start:end])


def read_form(
    content_type: str, body: bytearray
) -> tuple[dict[str, object], tuple[tuple[str, bytes], ...]]:
    """The form's fields (numbers as numbers) and its pictures as (name, bytes) pairs.

    A picture is a part named image, image[] or mask. Raises MultipartBroken.
    """
    collected = _parse(content_type, body)
    fields: dict[str, object] = {}
    pictures: list[tuple[str, bytes]] = []
    while collected:
        headers, data = collected.pop(0)  # let go of it: large bodies come several at once
        name = _parameter(headers.get("content-disposition", ""), "name")
        if not name:
            raise MultipartBroken("a part has no name")
        if name in PARTS or name == "mask":
            pictures.append((name, bytes(data)))
        else:
            _put(fields, name, _field(name, bytes(data)))
    return fields, tuple(pictures)


def _put(fields: dict[str, object], name: str, value: object) -> None:
    """A field in its place: `svg[reasoning][effort]` is a member of a member."""
    within, last = fields, name
    if found := _MEMBER.fullmatch(name):
        members: list[str] = found[2][1:-1].split("][")
        for member in (found[1], *members[:-1]):
            inner = within.setdefault(member, {})
            if not isinstance(inner, dict):
                raise MultipartBroken(f"{name!r} is given twice")
            within = inner
        last = members[-1]
    if last in within:
        raise MultipartBroken(f"{name!r} is given twice")
    within[last] = value


def _parse(content_type: str, body: bytearray) -> list[tuple[dict[str, str], bytearray]]:
    boundary = _parameter(content_type, "boundary")
    if not boundary:
        raise MultipartBroken("Content-Type has no boundary")
    collector = _Collector()
    parser = MultipartParser(
        boundary.encode("latin-1", "replace"),
        {
            "on_part_begin": collector.on_part_begin,
            "on_part_data": collector.on_part_data,
            "on_header_field": collector.on_header_field,
            "on_header_value": collector.on_header_value,
            "on_header_end": collector.on_header_end,
        },
    )
    try:
        parser.write(cast("bytes", body))  # it reads a bytearray as well
        parser.finalize()
    except MultipartParseError as error:
        raise MultipartBroken(str(error)) from error
    return collector.parts


def _field(name: str, data: bytes) -> object:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MultipartBroken(f"{name!r} is not UTF-8") from error
    if name in _NUMBERS and text.lstrip("-").isdecimal() and len(text) < 12:
        return int(text)
    if name == "stream" and text in ("true", "false"):
        return text == "true"
    return text


def _parameter(header: str, name: str) -> str:
    message = Message()
    message["content-type"] = header.replace("\n", " ").replace("\r", " ")
    value = message.get_param(name)
    return value if isinstance(value, str) else ""
