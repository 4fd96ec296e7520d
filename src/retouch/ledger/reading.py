"""Reading a ledger with suspicion: every line parsed, chained, and compared with the head.

A torn end is what a crash leaves (see `torn`): it is no record, and the writer cuts it off.
Anything else that does not fit is damage: LedgerDamaged with the line, and nothing may be sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger.head import Head, read_head
from retouch.ledger.records import VERSION, AnyRecord, decode
from retouch.ledger.recovery import Place, digest_of, is_beginning, is_torn_group, place_of
from retouch.ledger.state import Replay
from retouch.storage.durable import open_regular

FIRST_PREV = "0" * 16


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
        self.end = End()

    def __iter__(self) -> Iterator[AnyRecord]:
        head = read_head(self.path)  # before the ledger, which may be growing
        self.end = End()
        descriptor = open_regular(self.path)
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as file:
                yield from self._records(file, head)
        if head is not None and self.end.lines < head.lines:
            raise self._damaged(
                self.end.lines + 1, f"is missing: {head.lines} lines were here at the last end"
            )

    def _records(self, file: BinaryIO, head: Head | None) -> Iterator[AnyRecord]:
        prev, size, group_offset = FIRST_PREV, 0, 0
        place: Place | None = None
        for number, line in enumerate(self._lines(file), 1):
            body, filling = (line[:-1], 0) if line[-1:] == b"\n" else _unended(line)
            try:
                record = _parse(body, number - 1, prev)
            except _Newer as newer:
                raise self._newer(number, newer.version) from None
            except _Bad as bad:
                rest = self._rest(file, size)
                is_cut = not line.endswith(b"\n") and is_beginning(line)
                if not is_cut and not is_torn_group(rest, size, prev, place):
                    raise self._damaged(number, str(bad)) from None
                self.end = End(number - 1, size, prev, len(rest), group_offset=group_offset)
                return
            if place != (place := place_of(record)):
                group_offset = size
            prev, size = digest_of(body), size + len(line) - filling
            is_end = head is not None and number == head.lines
            if is_end and head is not None and prev != head.digest:
                raise self._damaged(number, "was changed since the ledger last ended")
            unfinished = not line.endswith(b"\n")
            self.end = End(number, size, prev, filling, unfinished, group_offset, is_end)
            yield record

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        try:
            yield from file
        except OSError as error:
            raise self._unreadable(error) from error

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


def read(path: Path) -> Replay:
    """Where every Job of the ledger stands, for commands that only look; a torn end is ignored."""
    state = Replay()
    for record in Reader(path):
        state.apply(record)
    return state
