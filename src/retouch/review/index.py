"""Where in a ledger each Job's Records, pictures and sources are: what the live view remembers of
what it has read.

The index is a temporary SQLite file that nobody else sees and that vanishes with the process, so
what is held in memory does not grow with the ledger. Used under its owner's lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger.records import AnyRecord, FileRecord, RunBegins, RunEnds, Salvaged, decode
from retouch.storage.durable import open_regular

DIGITS = 32  # of a SHA-256 in hex: enough to tell pictures apart
_AT_ONCE = 4096
_PART_SHIFT = 48
_OFFSET_BITS = (1 << _PART_SHIFT) - 1
_SCHEMA = """
pragma journal_mode = off;
pragma synchronous = off;
pragma cache_size = -1024;
create table job (number integer primary key, key text unique not null);
create table line (number integer primary key, offset integer not null, job integer not null);
create index line_of_job on line (job, number);
create table path (name text primary key, offset integer not null) without rowid;
create table digest (start text primary key, offset integer not null) without rowid;
create table source (number integer primary key, name text unique not null);
"""


def place_of(part: int, offset: int) -> int:
    """The place of a line that begins at a byte of a part."""
    return part << _PART_SHIFT | offset


class Index:
    """The index of one ledger, in as many parts as `ledgers` comes to have. A place is the number
    of a part and a byte in it (see `place_of`). Raises StorageFailed where its own file cannot
    grow."""

    def __init__(self, ledgers: list[Path]) -> None:
        self._ledgers = ledgers
        self._descriptors: dict[int, int] = {}
        with self._spoken():
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of both files."""
        self._database.close()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is added inside is written at once, which is quicker."""
        with self._spoken():
            self._database.execute("begin")
            try:
                yield
            finally:
                self._database.execute("commit")

    # --- Adding ----------------------------------------------------------------------------

    def add(self, line: int, offset: int, key: str, files: Sequence[FileRecord]) -> None:
        """One more line (from 1) of a Job, which begins at a place of the ledger."""
        self._do("insert or ignore into job (key) values (?)", key)
        self._do("insert into line select ?, ?, number from job where key = ?", line, offset, key)
        for file in files:
            self._do("insert or replace into path values (?, ?)", file.path, offset)
            self._do("insert or ignore into digest values (?, ?)", file.sha256[:DIGITS], offset)

    def add_source(self, name: str) -> None:
        """A source, numbered from 0 in the order in which it is first met."""
        self._do(
            "insert or ignore into source select coalesce(max(number) + 1, 0), ? from source", name
        )

    # --- Asking ----------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether any line is of this Job."""
        return bool(self._rows("select 1 from job where key = ?", key))

    def jobs(self) -> Iterator[str]:
        """Every Job, in the order in which they were first met."""
        seen = 0
        while rows := self._rows(
            "select number, key from job where number > ? order by number limit ?", seen, _AT_ONCE
        ):
            yield from (key for _, key in rows)
            seen = rows[-1][0]

    def changed_after(self, line: int) -> list[str]:
        """The Jobs that have later lines, the latest last."""
        rows = self._rows(
            "select key from job join (select job, max(number) as latest from line "
            "where number > ? group by job) on job = job.number order by latest", line
        )  # fmt: skip
        return [key for (key,) in rows]

    def records(self, key: str) -> list[tuple[int, AnyRecord]]:
        """A Job's lines, read anew. Raises LedgerDamaged where they are no longer what they were,
        StorageFailed."""
        rows = self._rows(
            "select line.number, offset from line join job on job = job.number "
            "where key = ? order by line.number", key
        )  # fmt: skip
        return [(number, self._record(offset)) for number, offset in rows]

    def file_at(self, path: str) -> FileRecord | None:
        """The picture that was last recorded under a path."""
        rows = self._rows("select offset from path where name = ?", path)
        found = (each for (at,) in rows for each in files_of(self._record(at)))
        return next((each for each in found if each.path == path), None)

    def file_of(self, digest: str) -> FileRecord | None:
        """A picture by the first digits of its SHA-256."""
        rows = self._rows("select offset from digest where start = ?", digest)
        found = (each for (at,) in rows for each in files_of(self._record(at)))
        return next((each for each in found if each.sha256.startswith(digest)), None)

    def sources(self) -> list[str]:
        """Every source's name, by number."""
        return [name for (name,) in self._rows("select name from source order by number")]

    def source_number(self, name: str) -> int:
        """A source's number; -1 where it was not met."""
        rows = self._rows("select number from source where name = ?", name)
        return rows[0][0] if rows else -1

    def source_name(self, number: int) -> str | None:
        """The source of a number."""
        rows = self._rows("select name from source where number = ?", number)
        return rows[0][0] if rows else None

    # --- Files -----------------------------------------------------------------------------

    def _record(self, place: int) -> AnyRecord:
        part, offset = place >> _PART_SHIFT, place & _OFFSET_BITS
        ledger, line = self._ledgers[part], b""
        try:
            while b"\n" not in line[-_AT_ONCE:]:
                more = os.pread(self._opened(part), _AT_ONCE, offset + len(line))
                if not more:
                    break
                line += more
            return decode(line.partition(b"\n")[0].rstrip(b"\0"))
        except OSError as error:
            raise StorageFailed(f"{ledger}: cannot be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise LedgerDamaged(f"{ledger}: was changed while it was read ({error})") from None

    def _opened(self, part: int) -> int:
        if part not in self._descriptors:
            descriptor = open_regular(self._ledgers[part])
            if descriptor is None:
                raise LedgerDamaged(f"{self._ledgers[part]}: is gone")
            self._descriptors[part] = descriptor
        return self._descriptors[part]

    def _do(self, statement: str, *values: object) -> None:
        with self._spoken():
            self._database.execute(statement, values)

    def _rows(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._spoken():
            return self._database.execute(statement, values).fetchall()

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageFailed(
                f"the review's temporary index: {error}",
                hint="make room where temporary files lie, or name another place in SQLITE_TMPDIR",
            ) from error


def files_of(record: AnyRecord) -> tuple[FileRecord, ...]:
    """The pictures that a Record names."""
    found: tuple[FileRecord, ...] = getattr(record, "files", ())
    return found


def is_of_job(record: AnyRecord) -> bool:
    """Whether the Record speaks of one Job."""
    return not isinstance(record, RunBegins | RunEnds | Salvaged)
