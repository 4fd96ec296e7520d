"""What was once measured of a source and its edit, so that a second export measures nothing.

A pair is known by both digests, so an entry never grows old. The cache is a convenience: damaged,
locked or read-only, it is done without, silently and for good.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from retouch.pictures.geometry import Geometry

LOCKED_SECONDS = 0.2
_SCHEMA = 1
_COMMIT_EVERY = 100

_decoder = msgspec.json.Decoder(Geometry)
_encoder = msgspec.json.Encoder()

Pair = tuple[str, str]
"""The source as it was sent (its Key's part), and the output's SHA-256."""


class GeometryCache:
    """The cache of an outputs folder; `None`: one that remembers nothing. Used by one thread."""

    def __init__(self, path: Path | None) -> None:
        self._database: sqlite3.Connection | None = None
        self._unsaved = 0
        if path is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=LOCKED_SECONDS)
            self._do(f"create table if not exists geometry{_SCHEMA} "
                     "(source text, output text, geometry blob, primary key (source, output)) "
                     "without rowid")  # fmt: skip

    @classmethod
    def open(cls, outputs: Path) -> Self:
        """The cache of an outputs folder."""
        return cls(outputs / ".cache" / "geometry.sqlite3")

    def get(self, pair: Pair) -> Geometry | None:
        """What was measured of a pair, if it was."""
        row = self._do(
            f"select geometry from geometry{_SCHEMA} where source=? and output=?",  # noqa: S608  a constant
            *pair,
        )
        try:
            return _decoder.decode(row[0]) if row and isinstance(row[0], bytes) else None
        except msgspec.MsgspecError:
            return None

    def put(self, pair: Pair, geometry: Geometry) -> None:
        """Remember what was measured."""
        statement = f"insert or replace into geometry{_SCHEMA} values (?,?,?)"  # noqa: S608
        self._do(statement, *pair, _encoder.encode(geometry))
        self._unsaved += 1
        if self._unsaved >= _COMMIT_EVERY:
            self._save()

    def _save(self) -> None:
        self._unsaved = 0
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.commit()

    def _do(self, statement: str, *values: object) -> tuple[object, ...] | None:
        if self._database is None:
            return None
        try:
            row: tuple[object, ...] | None = self._database.execute(statement, values).fetchone()
        except sqlite3.Error:
            self.close()
            return None
        return row

    def close(self) -> None:
        """Save and let go of the file; afterwards nothing is remembered."""
        self._save()
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
