"""Reading a ledger with suspicion: every line parsed, chained, and compared with the head.

A torn end is what a crash leaves (see `torn`): it is no record, and the writer cuts it off.
Anything else that does not fit is damage: LedgerDamaged with the line, and nothing may be sent.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger.head import Head, read_head
from retouch.ledger.lines import Position, position
from retouch.ledger.records import VERSION, AnyRecord, decode
from retouch.ledger.recovery import digest_of, is_beginning, is_torn_group
from retouch.ledger.state import Replay
from retouch.storage.durable import open_regular

FIRST_PREV = "0" * 16
_NOTHING_READ = (0, 0, FIRST_PREV, 0, False, 0, False)  # the fields of an End
_BUFFER_BYTES = 1 << 18
_KEY = b'"key":"'  # as records are written; a string's own quotes are escaped


class End(msgspec.Struct, frozen=True, gc=False):
    """Where a reading of the ledger ended: whole lines, their bytes, the next `prev`, and how
    many torn bytes follow.

    `unfinished`: the last line lacks nothing but its newline. `group_offset`: where the last
    group of lines begins, which alone may not have reached the disk yet. `is_clean`: it ended
    where its head says, so that all of it has.
    """

    lines: int = 0
    size: int = 0
    prev: str = FIRST_PREV
    torn_bytes: int = 0
    unfinished: bool = False
    group_offset: int = 0
    is_clean: bool = False


class Reader:
    """The Records of a ledger file in order; after each of them, `end` says how far it came.

    Raises LedgerDamaged, and StorageFailed for what is no regular file or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reached = _NOTHING_READ
        self._begins = 0  # the byte at which the last line does

    @property
    def end(self) -> End:
        """How far the last reading came."""
        return End(*self._reached)

    def __iter__(self) -> Iterator[AnyRecord]:
        head = read_head(self.path)  # before the ledger, which may be growing
        self._reached = _NOTHING_READ
        descriptor = open_regular(self.path)
        if descriptor is not None:
            try:
                with os.fdopen(descriptor, "rb", _BUFFER_BYTES) as file:
                    yield from self._records(file, head)
            except OSError as error:
                raise self._unreadable(error) from error
        lines = self._reached[0]
        if head is not None and lines < head.lines:
            raise self._damaged(
                lines + 1, f"is missing: {head.lines} lines were here at the last end"
            )

    def where(self, base: int) -> Position:
        """Where the last Record stands; `base` is this ledger's among the parts of a state."""
        return position(base, self._begins, self._reached[2])

    def of_keys(self, keys: Collection[str]) -> Iterator[tuple[int, AnyRecord]]:
        """The Records of these Keys, each with its line's number (from 1), out of what the last
        reading found whole: its chain is not checked twice, and few other lines are parsed.

        Raises StorageFailed for what cannot be read any more.
        """
        descriptor = open_regular(self.path)
        if descriptor is None:
            return
        wanted = {key.encode() for key in keys}
        try:
            with os.fdopen(descriptor, "rb", _BUFFER_BYTES) as file:
                for number, line in enumerate(islice(file, self._reached[0]), 1):
                    key = _key_of(line)
                    if key is None or key in wanted:
                        record = decode(_unended(line)[0] if number == self._reached[0] else line)
                        if getattr(record, "key", None) in keys:
                            yield number, record
        except OSError as error:
            raise self._unreadable(error) from error

    def _records(self, file: BinaryIO, head: Head | None) -> Iterator[AnyRecord]:
        """Every line costs a parse and a digest, and little else: there may be millions."""
        prev, size, group_offset = FIRST_PREV, 0, 0
        run = at = ""
        head_lines = head.lines if head else 0
        for number, line in enumerate(file, 1):
            is_whole = line.endswith(b"\n")
            body, filling = (line[:-1], 0) if is_whole else _unended(line)
            try:
                record = _parse(body, number - 1, prev)
            except _Newer as newer:
                raise self._newer(number, newer.version) from None
            except _Bad as bad:
                rest = self._rest(file, size)
                before = (run, at) if number > 1 else None
                is_cut = not is_whole and is_beginning(line)
                if not is_cut and not is_torn_group(rest, size, prev, before):
                    raise self._damaged(number, str(bad)) from None
                self._reached = (number - 1, size, prev, len(rest), False, group_offset, False)
                return
            if record.at != at or record.run != run or number == 1:
                run, at, group_offset = record.run, record.at, size
            self._begins = size
            prev, size = digest_of(body), size + len(line) - filling
            is_end = number == head_lines
            if is_end and head is not None and prev != head.digest:
                raise self._damaged(number, "was changed since the ledger last ended")
            self._reached = (number, size, prev, filling, not is_whole, group_offset, is_end)
            yield record

    def _rest(self, file: BinaryIO, offset: int) -> bytes:
        try:
            file.seek(offset)
            return file.read()
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> StorageFailed:
        return StorageFailed(f"{self.path}: cannot be read: {error.strerror}")

    def _damaged(self, number: int, what: str) -> LedgerDamaged:
        return LedgerDamaged(
            f"{self.path}:{number}: {what}",
            hint="nothing was sent; restore the newest copy of the ledger and its .head, or let "
            f"`retouch salvage {self.path}` keep what is whole and hold what may have come after",
        )

    def _newer(self, number: int, version: int) -> LedgerDamaged:
        return LedgerDamaged(
            f"{self.path}:{number}: a newer retouch wrote this ledger (records of version "
            f"{version}; this one reads {VERSION})",
            hint="nothing is damaged and nothing was sent; update retouch and run again",
        )


class _Bad(Exception):
    """A line that is no record, or not the one that must stand here."""


class _Newer(Exception):
    """A line that a newer retouch wrote, whole and in its place."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


def _key_of(line: bytes) -> bytes | None:
    """The Key that a Record's line is about; None: only its parse can tell."""
    begin = line.find(_KEY) + len(_KEY)
    key = line[begin : line.find(b'"', begin)]
    return None if begin < len(_KEY) or b"\\" in key else key


def _unended(line: bytes) -> tuple[bytes, int]:
    """A last line without newline; if it is a whole record, without the zeros that stand in the
    newline's place, which are counted."""
    text = line.rstrip(b"\0")
    return (text, len(line) - len(text)) if text.endswith(b"}") else (line, 0)


def _parse(body: bytes, before: int, prev: str) -> AnyRecord:
    try:
        record = decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        newer = _newer_version(body)
        if newer is not None:
            raise _Newer(newer) from None
        raise _Bad(f"not a record ({error})") from None
    if record.v > VERSION:
        raise _Newer(record.v)
    if record.v != VERSION:
        raise _Bad(f"not a record of version {VERSION}")
    if record.prev != prev:
        raise _Bad(f"does not follow line {before}: it was changed" if before else "is not first")
    return record


def _newer_version(body: bytes) -> int | None:
    """The version of a newer retouch's line; None for what is none."""
    try:
        version = msgspec.json.decode(body, type=dict[str, object]).get("v")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return version if isinstance(version, int) and version > VERSION else None


def take_in(reader: Reader, state: Replay) -> int:
    """Replay a ledger, one of the parts that `state` is of; its base among them. Raises what
    reading raises."""
    base = state.lines.part(reader.path)
    apply, where = state.apply, reader.where
    for record in reader:
        apply(record, where(base))
    state.lines.reach(base, reader.end.size)
    return base
