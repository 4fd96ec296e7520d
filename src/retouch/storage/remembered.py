"""A table in a SQLite file, kept to save time: whatever is lost of it is found out anew.

Damaged, locked or read-only, it is done without, silently and for good; a damaged file is made
anew once. Used by one thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

LOCKED_SECONDS = 0.2  # how long another process's writing is waited for
_FEW = 100  # keys that are looked up one by one
_ASKED_AT_ONCE = 500  # rows: SQLite takes 999 values in a statement of any version

Row = tuple[object, ...]


class Remembered:
    """Rows of `columns`, the first `keys` of which tell them apart; `path` None: none is kept.

    A file of another `schema` is emptied. Rows are written `at_once` so many, and at the end.
    """

    def __init__(
        self, path: Path | None, columns: Sequence[str], *, keys: int, schema: int, at_once: int
    ) -> None:
        self._columns, self._keys, self._schema, self._at_once = columns, keys, schema, at_once
        places = ",".join("?" * len(columns))
        wanted = " and ".join(f"{name}=?" for name in columns[:keys])
        self._insert = f"insert or replace into remembered values ({places})"  # noqa: S608 - constants
        self._select = f"select * from remembered where {wanted}"  # noqa: S608 - constants
        self._database: sqlite3.Connection | None = None
        self._unsaved: dict[Row, Row] = {}
        self._lie_together = True  # what was asked for at once, so far
        if path is not None:
            self._open(path)

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

    def _prepare(self, database: sqlite3.Connection) -> None:
        version = database.execute("pragma user_version").fetchone()[0]
        if version != self._schema:
            database.execute("drop table if exists remembered")
            database.execute(f"pragma user_version = {self._schema:d}")
        database.execute("pragma synchronous = off")  # losing it costs time, never money
        key = ",".join(self._columns[: self._keys])
        database.execute(
            f"create table if not exists remembered ({','.join(self._columns)}, "
            f"primary key ({key})) without rowid"
        )
        database.execute(self._select, (b"",) * self._keys).fetchone()

    def row(self, *key: object) -> Row | None:
        """The row of a key, whole; None where none is kept."""
        if key in self._unsaved:
            return self._unsaved[key]
        if self._database is None:
            return None
        try:
            found: Row | None = self._database.execute(self._select, key).fetchone()
        except (sqlite3.Error, OverflowError):
            self._unsaved = {}
            self.close()
            return None
        return found

    def rows(self, firsts: Sequence[object]) -> Iterator[Row]:
        """The rows whose first key is one of `firsts`, in no order: quicker than one by one. Some
        of others may be among them."""
        wanted_now = set(firsts)
        unsaved = [row for row in self._unsaved.values() if row[0] in wanted_now]
        together = self._rows_between(wanted_now)
        if together is not None:
            yield from together
            yield from unsaved
            return
        for at in range(0, len(firsts), _ASKED_AT_ONCE):
            if self._database is None:
                break
            some = firsts[at : at + _ASKED_AT_ONCE]
            places = ",".join("?" * len(some))
            wanted = f"select * from remembered where {self._columns[0]} in ({places})"  # noqa: S608 - constants
            try:
                yield from self._database.execute(wanted, some).fetchall()
            except (sqlite3.Error, OverflowError):
                self._unsaved = {}
                self.close()
        yield from unsaved

    def _rows_between(self, firsts: set[object]) -> list[Row] | None:
        """All from the least to the greatest of these first keys: files of a folder lie so, and
        are read in one go. None where too many others lie between, or nothing can be read."""
        if self._database is None or not self._lie_together or len(firsts) < _FEW:
            return None
        most = 2 * len(firsts)
        wanted = f"select * from remembered where {self._columns[0]} between ? and ? limit ?"  # noqa: S608 - constants
        try:
            ends = min(firsts), max(firsts)  # type: ignore[type-var] # first keys are of one kind
            found: list[Row] = self._database.execute(wanted, (*ends, most)).fetchall()
        except (sqlite3.Error, OverflowError):
            return None
        self._lie_together = len(found) < most
        return found if self._lie_together else None

    def keep(self, *row: object) -> None:
        """Keep a row, in place of that of the same key."""
        if self._database is None:
            return
        self._unsaved[row[: self._keys]] = row
        if len(self._unsaved) >= self._at_once:
            self.save()

    def save(self) -> None:
        """Write what was kept last."""
        rows, self._unsaved = self._unsaved, {}
        if rows and self._database is not None:
            try:
                self._database.execute("begin")
                self._database.executemany(self._insert, rows.values())
                self._database.execute("commit")
            except (sqlite3.Error, OverflowError):
                self.close()

    def close(self) -> None:
        """Save and let go of the file; afterwards nothing is remembered."""
        self.save()
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
