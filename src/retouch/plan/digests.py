"""What was once found out about a file, so that a second plan reads no picture again.

An entry holds as long as the file's path, size, modification and change times (ns) and inode do: a
file rewritten in place may keep its modification time, never its change time. What is sent is
checked against its digest all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import structs

from retouch.pictures import Facts, Role
from retouch.storage.remembered import Remembered, Row

FRESH_NS = 50_000_000  # a younger file may be written again without its time changing
_SCHEMA = 4
_SIGN = 2**63
_AT_ONCE = 2_000
_COLUMNS = ("path", "role", "size", "mtime_ns", "ctime_ns", "inode", "sha256", "kind")

Stamp = tuple[int, int, int, int]
"""What changes when an object does."""

_decoder = msgspec.json.Decoder(Facts)
_encoder = msgspec.json.Encoder()


class Looked(Protocol):
    """A file that was looked at: which, as what, and where in it the picture lies."""

    @property
    def path(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def span(self) -> tuple[int, int] | None: ...


class DigestCache(Remembered):
    """The cache at a path; `None`: one that remembers nothing. Used by one thread."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path, _COLUMNS, keys=2, schema=_SCHEMA, at_once=_AT_ONCE)
        self._kinds: dict[object, Facts] = {}

    @classmethod
    def open(cls, outputs: Path) -> DigestCache:
        """The cache of an outputs folder."""
        return cls(outputs / ".cache" / "digests.sqlite3")

    def get(self, look: Looked, status: os.stat_result | Stamp) -> Facts | None:
        """The facts of a file or an object, if it still is the one they were found on."""
        row = self.row(_place(look), look.role)
        return None if row is None else self._facts(row, look, status)

    def known(
        self, looks: Sequence[Looked], statuses: Sequence[os.stat_result | Stamp | None]
    ) -> list[Facts | None]:
        """`get` for many at once, in their order; None for one without a status."""
        places = [_place(look) for look in looks]
        rows = {row[:2]: row for row in self.rows(places)}
        return [
            None
            if status is None or (row := rows.get((place, look.role))) is None
            else self._facts(row, look, status)
            for look, place, status in zip(looks, places, statuses, strict=True)
        ]

    def pictures(
        self, paths: Sequence[str], statuses: Sequence[os.stat_result]
    ) -> list[tuple[str, Facts] | None]:
        """The SHA-256 and the kind of many whole files, in their order; None for one of which no
        row tells. A kind is the facts without SHA-256 and size: one object for all that are
        alike, so that 100,000 are not decoded."""
        places = [path.encode("utf-8", "surrogateescape") for path in paths]
        rows = {row[0]: row for row in self.rows(places) if row[1] == "picture"}
        found: list[tuple[str, Facts] | None] = []
        kinds = self._kinds
        for place, status in zip(places, statuses, strict=True):
            row, known = rows.get(place), None
            if row is not None and row[2:6] == _stamp_of_file(status):
                kind, sha256 = kinds.get(row[7]) or self._kind(row[7]), row[6]
                known = (sha256, kind) if kind is not None and isinstance(sha256, str) else None
            found.append(known)
        return found

    def _facts(self, row: Row, look: Looked, status: os.stat_result | Stamp) -> Facts | None:
        """What a row tells of a file, if it still is as it was then."""
        if row[2:6] != (stamp := _stamp(status)):
            return None
        kind, sha256 = self._kind(row[7]), row[6]
        if kind is None or not isinstance(sha256, str):
            return None
        size = look.span[1] if look.span else stamp[0]
        return structs.replace(kind, sha256=sha256, bytes=size)

    def _kind(self, written: object) -> Facts | None:
        """The kind that is written so."""
        known = self._kinds.get(written)
        if known is None and isinstance(written, bytes):
            try:
                known = _decoder.decode(written)
            except msgspec.MsgspecError:
                return None
            if known.looks is None and not known.etag:  # which are each picture's own
                self._kinds[written] = known
        return known

    def put(self, look: Looked, status: os.stat_result | Stamp, facts: Facts) -> None:
        """Remember the facts of a file or an object as it was when `status` was taken, before it
        was read."""
        stamp = _stamp(status)
        size = look.span[1] if look.span else stamp[0]
        is_fresh = isinstance(status, os.stat_result) and time.time_ns() - stamp[1] < FRESH_NS
        if is_fresh or size != facts.bytes:
            return
        kind = _encoder.encode(structs.replace(facts, sha256="", bytes=0))
        self.keep(_place(look), look.role, *stamp, facts.sha256, kind)


def _place(look: Looked) -> bytes:
    """The file, and where in it the picture lies; no path holds a NUL."""
    span = f"\0{look.span[0]}+{look.span[1]}" if look.span else ""
    return os.fsencode(look.path) + span.encode()


def _stamp(status: os.stat_result | Stamp) -> Stamp:
    """Size, times and inode of a file; what an object has in their place."""
    return _stamp_of_file(status) if isinstance(status, os.stat_result) else status


def _stamp_of_file(status: os.stat_result) -> Stamp:
    """Its inode as SQLite can hold it: 64 bits with a sign."""
    inode = status.st_ino
    if inode >= _SIGN:
        inode -= 2 * _SIGN
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode
