"""Reading a ledger with suspicion: every line parsed, chained, and compared with the head.

A torn end is what a crash leaves (see `torn`): it is no record, and the writer cuts it off.
Anything else that does not fit is damage: LedgerDamaged with the line, and nothing may be sent.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger.head import Head, read_head
from retouch.ledger.lines import Position, position
from retouch.ledger.records import VERSION, AnyRecord, decode
from retouch.ledger.recovery import is_beginning, is_torn_group, prev_of
from retouch.ledger.state import Replay
from retouch.storage.durable import open_regular
from retouch.threads import uncollected

FIRST_PREV = "0" * 16
_NOTHING_READ = (0, 0, b"", 0, False, 0, False, 0)  # as an End, and where the last line begins
_NO_RECORD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_BUFFER_BYTES = 1 << 18
_JOB_BYTES = 1536  # of its lines, about
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

    @property
    def end(self) -> End:
        """How far the last reading came."""
        lines, size, digest, torn, unfinished, group_offset, is_clean, _ = self._reached
        prev = prev_of(digest) if digest else FIRST_PREV
        return End(lines, size, prev, torn, unfinished, group_offset, is_clean)

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
        reached = self._reached
        return position(base, reached[7], reached[2])

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
                        record = decode(_unended(line))  # the last may lack its newline
                        if getattr(record, "key", None) in keys:
                            yield number, record
        except OSError as error:
            raise self._unreadable(error) from error

    def _records(self, file: BinaryIO, head: Head | None) -> Iterator[AnyRecord]:
        """Every line costs a parse and a digest, and little else: there may be millions."""
        prev, number, size, group_offset = FIRST_PREV, 0, 0, 0
        run = at = ""
        head_lines = head.lines if head else 0
        for bodies, filling, is_whole in _bodies(file):
            for body in bodies:
                try:
                    record = decode(body)
                except _NO_RECORD as error:
                    fault: str | None = self._no_record(number + 1, body, error)
                else:
                    fault = None
                    if record.prev != prev or record.v != VERSION:
                        fault = self._misplaced(number + 1, record)
                if fault is not None:
                    self._end_torn(file, fault, (run, at), is_cut=not is_whole)
                    return
                if record.at != at or record.run != run:
                    run, at, group_offset = record.run, record.at, size
                digest = sha256(body).digest()
                prev = digest[:8].hex()
                number += 1
                begins, size = size, size + len(body) + is_whole
                is_end = number == head_lines
                if is_end and head is not None and prev != head.digest:
                    raise self._damaged(number, "was changed since the ledger last ended")
                self._reached = (
                    number, size, digest, filling, not is_whole, group_offset, is_end, begins,
                )  # fmt: skip
                yield record

    def _end_torn(
        self, file: BinaryIO, fault: str, before: tuple[str, str], *, is_cut: bool
    ) -> None:
        """The next line has a fault: the reading ends before it, if the rest is what a crash may
        leave. `before` is the group of the line before, `is_cut`: it has no newline."""
        lines, size, digest, _, _, group_offset, *_ = self._reached
        rest = self._rest(file, size)
        prev = prev_of(digest) if digest else FIRST_PREV
        is_cut = is_cut and is_beginning(rest)
        if not is_cut and not is_torn_group(rest, size, prev, before if lines else None):
            raise self._damaged(lines + 1, fault)
        self._reached = (lines, size, digest, len(rest), False, group_offset, False, size)

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

    def _no_record(self, number: int, body: bytes, error: Exception) -> str:
        """What is wrong with a line that cannot be read. Raises LedgerDamaged for a newer one."""
        newer = _newer_version(body)
        if newer is not None:
            raise self._newer(number, newer) from None
        return f"not a record ({error})"

    def _misplaced(self, number: int, record: AnyRecord) -> str:
        """What is wrong with a Record that may not stand here. Raises LedgerDamaged for a newer
        one."""
        if record.v > VERSION:
            raise self._newer(number, record.v)
        if record.v != VERSION:
            return f"not a record of version {VERSION}"
        return (
            f"does not follow line {number - 1}: it was changed" if number > 1 else "is not first"
        )

    def _newer(self, number: int, version: int) -> LedgerDamaged:
        return LedgerDamaged(
            f"{self.path}:{number}: a newer retouch wrote this ledger (records of version "
            f"{version}; this one reads {VERSION})",
            hint="nothing is damaged and nothing was sent; update retouch and run again",
        )


def _bodies(file: BinaryIO) -> Iterator[tuple[list[bytes], int, bool]]:
    """The lines of a file without their newlines, many at once; at last what no newline ends, and
    how many zeros stand in its place (see `_unended`)."""
    held: list[bytes] = []  # the pieces of a line that is not whole yet
    while chunk := file.read(_BUFFER_BYTES):
        first, *bodies = chunk.split(b"\n")
        held.append(first)
        if bodies:
            bodies.insert(0, b"".join(held))
            held = [bodies.pop()]
            yield bodies, 0, True
    if last := b"".join(held):
        text = _unended(last)
        yield [text], len(last) - len(text), False


def _key_of(line: bytes) -> bytes | None:
    """The Key that a Record's line is about; None: only its parse can tell."""
    begin = line.find(_KEY) + len(_KEY)
    key = line[begin : line.find(b'"', begin)]
    return None if begin < len(_KEY) or b"\\" in key else key


def _unended(line: bytes) -> bytes:
    """A last line without newline; if it is a whole record, without the zeros that stand in the
    newline's place."""
    text = line.rstrip(b"\0")
    return text if text.endswith(b"}") else line


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
    take = state.take
    with suppress(OSError):
        state.outcomes.expect(reader.path.stat().st_size // _JOB_BYTES)
    with uncollected():
        for record in reader:
            reached = reader._reached
            take(record, position(base, reached[7], reached[2]))
    state.lines.reach(base, reader.end.size)
    return base
