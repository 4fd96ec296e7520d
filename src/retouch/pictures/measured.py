"""What was once measured of a source and its edit, so that a second export measures nothing.

A pair is known by both digests, so an entry never grows old.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from retouch.pictures.geometry import Geometry
from retouch.storage.remembered import Remembered

_SCHEMA = 2
_AT_ONCE = 100

_decoder = msgspec.json.Decoder(Geometry)
_encoder = msgspec.json.Encoder()

Pair = tuple[str, str]
"""The source as it was sent (its Key's part), and the output's SHA-256."""


class GeometryCache(Remembered):
    """The cache of an outputs folder; `None`: one that remembers nothing. Used by one thread."""

    def __init__(self, path: Path | None) -> None:
        columns = ("source", "output", "geometry")
        super().__init__(path, columns, keys=2, schema=_SCHEMA, at_once=_AT_ONCE)

    @classmethod
    def open(cls, outputs: Path) -> Self:
        """The cache of an outputs folder."""
        return cls(outputs / ".cache" / "geometry.sqlite3")

    def get(self, pair: Pair) -> Geometry | None:
        """What was measured of a pair, if it was."""
        row = self.row(*pair)
        try:
            return _decoder.decode(row[2]) if row and isinstance(row[2], bytes) else None
        except msgspec.MsgspecError:
            return None

    def put(self, pair: Pair, geometry: Geometry) -> None:
        """Remember what was measured."""
        self.keep(*pair, _encoder.encode(geometry))
