"""What was once found out about a file, so that a second plan reads no picture again.

An entry holds as long as the file's path, size, modification and change times (ns) and inode do: a
file rewritten in place may keep its modification time, never its change time. The cache is
a convenience: damaged, locked or read-only, it is done without, silently and for good. What is
sent is checked against its digest all the same.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from retouch.pictures import Facts, Role

LOCKED_SECONDS = 0.2  # how long another plan's writing is waited for
FRESH_NS = 50_000_000  # a file this young may be written again within one tick of its clock
_SCHEMA = 2
_COMMIT_EVERY = 2_000
_TABLE = """create table if not exists facts (
    path blob, role text, size integer, mtime_ns integer, ctime_ns integer,
    inode integer, facts blob,
    primary key (path, role)) without rowid"""
_INSERT = "insert or replace into facts values (?,?,?,?,?,?,?)"

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


class DigestCache:
    """The cache at a path; `None`: one that remembers nothing. Used by one thread."""

    def __init__(self, path: Path | None) -> None:
        self._database: sqlite3.Connection | None = None
        self._unsaved: list[tuple[object, ...]] = []
        if path is not None:
            self._open(path)

    @classmethod
    def open(cls, outputs: Path) -> DigestCache:
        """The cache of an outputs folder."""
        return cls(outputs / ".cache" / "digests.sqlite3")

    def _open(self, path: Path) -> None:
        for is_second_try in (False, True):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                database = sqlite3.connect(path, timeout=LOCKED_SECONDS, isolation_level=None)
                self._database = database
                self._prepare(database)
            except (sqlite3.Error, OSError) as error:
                self.close()
                damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
                    error, sqlite3.OperationalError
                )
                if not damaged or is_second_try or path.is_symlink():
                    return
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                return

    @staticmethod
    def _prepare(database: sqlite3.Connection) -> None:
        version = database.execute("pragma user_version").fetchone()[0]
        if version != _SCHEMA:
            database.execute("drop table if exists facts")
            database.execute(f"pragma user_version = {_SCHEMA:d}")
        database.execute("pragma synchronous = off")  # losing it costs time, never money
        database.execute(_TABLE)
        database.execute("select count(*) from facts where path = x''").fetchone()

    def get(self, look: Looked, status: os.stat_result) -> Facts | None:
        """The facts of a file, if it still is the one they were found on."""
        row = self._do("select size, mtime_ns, ctime_ns, inode, facts from facts "
                       "where path=? and role=?",
                       _place(look), look.role)  # fmt: skip
        if row is None or row[:4] != (
            status.st_size, status.st_mtime_ns, status.st_ctime_ns, _inode(status)
        ):  # fmt: skip
            return None
        try:
            return _decoder.decode(row[4]) if isinstance(row[4], bytes) else None
        except msgspec.MsgspecError:
            return None

    def put(self, look: Looked, status: os.stat_result, facts: Facts) -> None:
        """Remember the facts of a file as it was when `status` was taken, before it was read."""
        size = look.span[1] if look.span else status.st_size
        if time.time_ns() - status.st_mtime_ns < FRESH_NS or size != facts.bytes:
            return
        self._unsaved.append((
            _place(look), look.role, status.st_size, status.st_mtime_ns,
            status.st_ctime_ns, _inode(status), _encoder.encode(facts)
        ))  # fmt: skip
        if len(self._unsaved) >= _COMMIT_EVERY:
            self.save()

    def save(self) -> None:
        """Make what was put last."""
        rows, self._unsaved = self._unsaved, []
        if rows and self._database is not None:
            try:
                self._database.execute("begin")
                self._database.executemany(_INSERT, rows)
                self._database.execute("commit")
            except (sqlite3.Error, OverflowError):
                self.close()

    def _do(self, statement: str, *values: object) -> tuple[object, ...] | None:
        if self._database is None:
            return None
        try:
            row: tuple[object, ...] | None = self._database.execute(statement, values).fetchone()
        except (sqlite3.Error, OverflowError):
            self._unsaved = []
            self.close()
            return None
        return row

    def close(self) -> None:
        """Save and let go of the file; afterwards nothing is remembered."""
        self.save()
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def __enter__(self) -> DigestCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _place(look: Looked) -> bytes:
    """The file, and where in it the picture lies; no path holds a NUL."""
    span = f"\0{look.span[0]}+{look.span[1]}" if look.span else ""
    return os.fsencode(look.path) + span.encode()


def _inode(status: os.stat_result) -> int:
    """The inode as SQLite can hold it: 64 bits with a sign."""
    return status.st_ino - 2**64 if status.st_ino >= 2**63 else status.st_ino
