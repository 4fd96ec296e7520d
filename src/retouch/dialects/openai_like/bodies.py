"""JSON bodies that hold pictures by reference: literal bytes with Base64 segments between them.

The pictures never pass through the JSON serialiser (DESIGN §9: 11 ms against 0.3 ms). Each stands
in the document as a raw NUL mark: a NUL inside any string is written `\\u0000`, so no prompt and
no option can hold a mark, whatever they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import orjson

from retouch.dialects.base import Base64, Raw, Segment
from retouch.job import OptionValue, Picture, plain

_MARK = b"\0"
_CONVERTED_MEDIA_TYPE = "image/png"  # what orient and convert write

Json = str | int | float | bool | None | orjson.Fragment | list["Json"] | dict[str, "Json"]


class PictureBody:
    """One JSON body in the making: `place` each picture in a document, then `splice` it."""

    def __init__(self) -> None:
        self._held: list[Picture] = []

    def place(self, picture: Picture) -> Json:
        """What stands for the picture in the document: its URL, a data URI's mark, or one that
        the link to it takes the place of."""
        if picture.url is not None:
            return picture.url
        if picture.by_link:
            return orjson.Fragment(b'"' + self._mark(picture) + b'"')
        opening = orjson.dumps(f"data:{sent_media_type(picture)};base64,").removesuffix(b'"')
        return orjson.Fragment(opening + self._mark(picture) + b'"')

    def option(self, value: OptionValue) -> Json:
        """An option's value in the document."""
        return self.place(value) if isinstance(value, Picture) else cast(Json, plain(value))

    def _mark(self, picture: Picture) -> bytes:
        self._held.append(picture)
        return _MARK + str(len(self._held) - 1).encode() + _MARK

    def splice(self, document: Mapping[str, Json]) -> tuple[Segment, ...]:
        """The document's bytes, with the placed pictures as segments where their marks stood."""
        parts = orjson.dumps(document).split(_MARK)
        return tuple(
            _segment(self._held[int(part)]) if index % 2 else part
            for index, part in enumerate(parts)
        )


def _segment(picture: Picture) -> Segment:
    """Where the picture's bytes go; a link stands as it is."""
    return Raw(picture) if picture.by_link else Base64(picture)


def sent_media_type(picture: Picture) -> str:
    """The media type of the bytes as sent: those of the file, PNG after a transform."""
    if picture.transforms or picture.media_type is None:
        return _CONVERTED_MEDIA_TYPE
    return picture.media_type
