"""What was once found out about a file, so that a second plan reads no picture again.

An entry holds as long as the file's path, size, modification and change times (ns) and inode do: a
file rewritten in place may keep its modification time, never its change time. What is sent is
checked against its digest all the same.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

import msgspec

from retouch.pictures import Facts, Role
from retouch.storage.remembered import Remembered

FRESH_NS = 50_000_000  # a younger file may be written again without its time changing
_SCHEMA = 3
_AT_ONCE = 2_000
_COLUMNS = ("path", "role", "size", "mtime_ns", "ctime_ns", "inode", "facts")

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

    @classmethod
    def open(cls, outputs: Path) -> DigestCache:
        """The cache of an outputs folder."""
        return cls(outputs / ".cache" / "digests.sqlite3")

    def get(self, look: Looked, status: os.stat_result) -> Facts | None:
        """The facts of a file, if it still is the one they were found on."""
        row = self.row(_place(look), look.role)
        if row is None or row[2:6] != (
            status.st_size, status.st_mtime_ns, status.st_ctime_ns, _inode(status)
        ):  # fmt: skip
            return None
        try:
            return _decoder.decode(row[6]) if isinstance(row[6], bytes) else None
        except msgspec.MsgspecError:
            return None

    def put(self, look: Looked, status: os.stat_result, facts: Facts) -> None:
        """Remember the facts of a file as it was when `status` was taken, before it was read."""
        size = look.span[1] if look.span else status.st_size
        if time.time_ns() - status.st_mtime_ns < FRESH_NS or size != facts.bytes:
            return
        self.keep(
            _place(look), look.role, status.st_size, status.st_mtime_ns,
            status.st_ctime_ns, _inode(status), _encoder.encode(facts),
        )  # fmt: skip


def _place(look: Looked) -> bytes:
    """The file, and where in it the picture lies; no path holds a NUL."""
    span = f"\0{look.span[0]}+{look.span[1]}" if look.span else ""
    return os.fsencode(look.path) + span.encode()


def _inode(status: os.stat_result) -> int:
    """The inode as SQLite can hold it: 64 bits with a sign."""
    return status.st_ino - 2**64 if status.st_ino >= 2**63 else status.st_ino
