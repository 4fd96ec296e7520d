"""Appending to a ledger durably: a Record counts once its line and newline are on disk.

`append` returns only then. Records that gather while one sync runs are written as one group, with
one `at` and one sync; the next group is not written before. A failed write or sync breaks the
ledger for the rest of the run and is never retried: what it lost cannot be known (DESIGN §3). The
next opening cuts a torn end, writes the last group once more where it was and syncs it, before
anything is built on it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import msgspec

from retouch.errors import StorageFailed
from retouch.ledger.head import Head, write_head
from retouch.ledger.reading import End, Reader
from retouch.ledger.records import AnyRecord, encode
from retouch.ledger.recovery import digest_of
from retouch.ledger.state import Replay
from retouch.storage.durable import require_regular, storage_failed, sync_folder, write_all
from retouch.threads import Threads, in_thread

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(slots=True)
class _Group:
    """Records that share one sync."""

    records: list[AnyRecord] = field(default_factory=list)
    is_durable: bool = False


class Ledger:
    """The one writer of a ledger file; `state` is always what its Records say so far."""

    def __init__(
        self,
        descriptor: int,
        path: Path,
        *,
        run: str,
        state: Replay,
        end: End,
        threads: Threads,
        now: Callable[[], datetime],
    ) -> None:
        self.path = path
        self.run = run
        self.state = state
        self._descriptor = descriptor
        self._prev, self._lines = end.prev, end.lines
        self._size = end.size + end.unfinished
        self._is_clean = end.is_clean
        self._gathering = _Group()
        self._lock = anyio.Lock()
        self._broken: StorageFailed | None = None
        self._threads = threads
        self._now = now
        self._last_at = datetime.min.replace(tzinfo=UTC)

    async def append(self, *records: AnyRecord) -> None:
        """Append the Records, next to each other, and return once they are durable.

        Raises StorageFailed (also for every later call) when the disk refuses. A cancellation
        waits for the disk: a Record that was begun is either durable or the ledger is broken.
        """
        group = self._gathering
        group.records.extend(records)
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if not group.is_durable and not self._broken:
                    await self._commit()
        if not group.is_durable:
            raise (
                StorageFailed(*self._broken.args, hint=self._broken.hint)
                if self._broken
                else (StorageFailed(f"{self.path}: not written"))
            )

    async def _commit(self) -> None:
        """Write and sync all that has gathered; whoever holds the lock does it for everybody."""
        group, self._gathering = self._gathering, _Group()
        stamped, lines, prev = self._chained(group.records)
        data = b"".join(lines)
        try:
            await self._threads(lambda: self._write(data))
        except OSError as error:
            self._broken = storage_failed(self.path, error)
            return
        except BaseException as error:
            self._broken = StorageFailed(f"{self.path}: not written: {error}")
            raise
        self._prev, self._is_clean = prev, False
        self._lines += len(lines)
        self._size += len(data)
        group.is_durable = True
        for record in stamped:
            self.state.apply(record)

    def _chained(self, records: list[AnyRecord]) -> tuple[list[AnyRecord], list[bytes], str]:
        """The Records of one group stamped and chained, their lines, and the next `prev`."""
        at = self._group_time().isoformat(timespec="microseconds").replace("+00:00", "Z")
        stamped: list[AnyRecord] = []
        lines: list[bytes] = []
        prev = self._prev
        for record in records:
            one: AnyRecord = msgspec.structs.replace(record, at=at, run=self.run, prev=prev)
            line = encode(one)
            prev = digest_of(line)
            stamped.append(one)
            lines.append(line + b"\n")
        return stamped, lines, prev

    def _group_time(self) -> datetime:
        """Now; never the time of the group before, which tells groups apart (see `torn`)."""
        now = self._now()
        if now == self._last_at:
            now += timedelta(microseconds=1)
        self._last_at = now
        return now

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._descriptor, data)
        except OSError:
            with suppress(OSError):  # what is left of a line is cut by the next opening, too
                os.ftruncate(self._descriptor, self._size)
            raise
        os.fdatasync(self._descriptor)

    def close_cleanly(self) -> None:
        """Say beside the ledger where it ended. Raises StorageFailed."""
        if not self._broken and not self._is_clean and self._lines:
            write_head(self.path, Head(self._lines, self._prev))


@asynccontextmanager
async def open_ledger(
    path: Path,
    run: str,
    *,
    threads: Threads = in_thread,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Say = _silent,
) -> AsyncIterator[Ledger]:
    """Open a ledger for appending, after reading it whole; the caller holds the folder's lock.

    Raises LedgerDamaged, StorageFailed. A torn end is cut off, which is said through `say`.
    """
    reader = Reader(path)
    state = Replay()
    for record in reader:
        state.apply(record)
    end = reader.end
    try:
        descriptor = _open_for_append(path, end, say)
    except OSError as error:
        raise storage_failed(path, error) from error
    try:
        ledger = Ledger(descriptor, path, run=run, state=state, end=end, threads=threads, now=now)
        yield ledger
        try:
            ledger.close_cleanly()
        except StorageFailed as error:  # all that was appended is durable, and how it went is told
            say(f"{error.message}; the ledger is whole, only where it ended could not be noted")
    finally:
        os.close(descriptor)


def _open_for_append(path: Path, end: End, say: Say) -> int:
    """A descriptor at the end of the last whole line, all before it durable. Raises OSError."""
    flags = os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = require_regular(os.open(path, os.O_WRONLY | flags, 0o644), path)
    try:
        if end.torn_bytes:
            os.ftruncate(descriptor, end.size)
            if not end.unfinished:
                say(
                    f"{path}:{end.lines + 1}: the last lines were torn ({end.torn_bytes} bytes) "
                    "and have been cut off; nothing was done on their account"
                )
        if end.unfinished:
            write_all(descriptor, b"\n")
        if not end.is_clean:
            _write_again(path, end)
            os.fdatasync(descriptor)
        sync_folder(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_again(path: Path, end: End) -> None:
    """Write the last group's bytes over themselves: where an earlier run's sync failed, the
    system may take them for written, and would not write them with the next sync."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        length = end.size - end.group_offset
        data = os.pread(descriptor, length, end.group_offset)
        os.lseek(descriptor, end.group_offset, os.SEEK_SET)
        write_all(descriptor, data)
    finally:
        os.close(descriptor)
