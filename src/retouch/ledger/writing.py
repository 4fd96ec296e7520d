"""Appending to a ledger durably: a Record counts once its line and newline are on disk.

`append` returns only then. Records that gather while one sync runs are written as one group, with
one `at` and one sync; the next group is not written before. A failed write or sync breaks the
ledger for the rest of the run and is never retried: what it lost cannot be known (DESIGN §3). The
next opening cuts a torn end, writes the last group once more where it was and syncs it, before
anything is built on it.

One file has one writer, looked at before and after each group (see `possession`). A ledger that
was lost takes no beginning any more, so nothing is sent; how what was in flight ended goes into a
copy beside it.

Of a ledger in parts (see `parts`) one is written and all are read. Its lines are stamped later than
those of every part that was written by runs divided otherwise, whatever the clock says: Records of
one Job may lie in both, and are read in that order.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import anyio
import msgspec

from retouch.errors import LedgerTaken, Refused, StorageFailed
from retouch.ledger.head import Head, write_head
from retouch.ledger.lines import Position, position
from retouch.ledger.parts import Keeps, Together, read_together
from retouch.ledger.possession import Lost, Possession, refuse_displaced, set_aside, taken
from retouch.ledger.reading import End, Reader
from retouch.ledger.records import AnyRecord, RunBegins, Started, encode
from retouch.ledger.recovery import prev_of
from retouch.ledger.spending import SharedSpending
from retouch.ledger.state import Replay
from retouch.storage.durable import require_regular, storage_failed, sync_folder, write_all
from retouch.storage.lock import Hold
from retouch.threads import Threads, in_own_thread

Say = Callable[[str], None]
_Written = tuple[AnyRecord, Position]
HEAD_SECONDS = 30.0  # how much of a ledger may be cut off unseen while a run goes on
AHEAD = timedelta(minutes=10)  # how far the clocks of two machines may be apart


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(slots=True)
class _Group:
    """Records that share one sync."""

    records: list[AnyRecord] = field(default_factory=list)
    is_durable: bool = False


class Ledger:
    """The one writer of a ledger file; `state` is always what its Records say so far, and those of
    the other parts as they were at its opening.

    `taken` says how the ledger was lost to somebody else, once it was. `shared`: of a shard, what
    counts towards its share of the money; else None, and `state` tells.
    """

    def __init__(
        self,
        possession: Possession,
        *,
        run: str,
        state: Replay,
        base: int,
        end: End,
        threads: Threads,
        now: Callable[[], datetime],
        say: Say = _silent,
        shared: SharedSpending | None = None,
    ) -> None:
        self.path = possession.path
        self.run = run
        self.state = state
        self.shared = shared
        self.taken: LedgerTaken | None = None
        self._base = base
        self._possession = possession
        self._descriptor = possession.descriptor
        self._prev, self._lines = end.prev, end.lines
        self._size = end.size + end.unfinished
        self._is_clean = end.is_clean
        self._gathering = _Group()
        self._lock = anyio.Lock()
        self._broken: StorageFailed | None = None
        self._threads = threads
        self.now = now
        self._say = say
        self._last_at = datetime.min.replace(tzinfo=UTC)
        self._head_at: datetime | None = None

    @property
    def durable_bytes(self) -> int:
        """How long the ledger is, as far as it is surely on disk; 0 once it was lost."""
        return 0 if self.taken is not None else self._size

    def is_counted(self, key: str, attempt: int) -> bool:
        """Whether an open Attempt is counted towards this run's budgets: not one that a part of
        runs divided otherwise has begun."""
        return self.shared is None or (key, attempt) in self.shared.own.open_charges

    async def append(self, *records: AnyRecord) -> None:
        """Append the Records, next to each other, and return once they are durable.

        Raises StorageFailed (also for every later call) when the disk refuses, and LedgerTaken
        for what begins something in a ledger that was lost. A cancellation waits for the disk: a
        Record that was begun is either durable or the ledger is broken.
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
        if self.taken is not None and any(map(_begins_something, records)):
            raise LedgerTaken(self.taken.message, hint=self.taken.hint)

    async def _commit(self) -> None:
        """Write and sync all that has gathered; whoever holds the lock does it for everybody."""
        group, self._gathering = self._gathering, _Group()
        try:
            stamped = await self._threads(partial(self._committed, group.records))
        except OSError as error:
            self._broken = storage_failed(self.path, error)
            return
        except BaseException as error:
            self._broken = StorageFailed(f"{self.path}: not written: {error}")
            raise
        group.is_durable = True
        for record, where in stamped:
            self.state.apply(record, where)
        self.state.lines.reach(self._base, self._size)

    def _committed(self, records: list[AnyRecord]) -> list[_Written]:
        """Write the Records where they belong and return them as written, with where they stand.
        Raises OSError."""
        if self.taken is None:
            stamped, lines, prev = self._chained(records)
            data = b"".join(lines)
            lost = self._possession.lost(self._size)
            if lost is None:
                self._write(data)
                lost = self._possession.lost(self._size + len(data))
            if lost is None:
                self._advance(len(lines), len(data), prev)
                self._renew_head()
                return stamped
            self._move_aside(lost)
        stamped, lines, prev = self._chained([one for one in records if not _begins_something(one)])
        data = b"".join(lines)
        self._write(data)
        self._advance(len(lines), len(data), prev)
        return stamped

    def _advance(self, lines: int, size: int, prev: str) -> None:
        self._prev, self._is_clean = prev, False
        self._lines += lines
        self._size += size

    def _move_aside(self, lost: Lost) -> None:
        """Go on in a copy of what was this run's; where the ledger is another file now, its head
        keeps what stood there from being missed."""
        if lost.is_elsewhere and self._lines:
            with suppress(StorageFailed):
                write_head(self.path, Head(self._lines, self._prev))
        self._descriptor, aside = set_aside(self._possession, self._size, self.run)
        self.state.lines.move(self._base, aside)
        self.taken = taken(self.path, lost, aside)

    def _chained(self, records: list[AnyRecord]) -> tuple[list[_Written], list[bytes], str]:
        """The Records of one group stamped and chained, with where they will stand, their lines,
        and the next `prev`."""
        at = self._group_time().isoformat(timespec="microseconds").replace("+00:00", "Z")
        stamped: list[_Written] = []
        lines: list[bytes] = []
        prev, offset = self._prev, self._size
        for record in records:
            one: AnyRecord = msgspec.structs.replace(record, at=at, run=self.run, prev=prev)
            line = encode(one)
            digest = sha256(line).digest()
            prev = prev_of(digest)
            stamped.append((one, position(self._base, offset, digest)))
            lines.append(line + b"\n")
            offset += len(line) + 1
        return stamped, lines, prev

    def _group_time(self) -> datetime:
        """Now; never the time of the group before, which tells groups apart (see `recovery`)."""
        now = self.now()
        if now == self._last_at:
            now += timedelta(microseconds=1)
        self._last_at = now
        return now

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._descriptor, data)
        except OSError:
            with suppress(OSError):  # the next opening cuts the rest of a line
                os.ftruncate(self._descriptor, self._size)
            raise
        os.fdatasync(self._descriptor)

    def _renew_head(self) -> None:
        """Say now and then where the ledger has come to, so that an older copy put in its place
        is known for one."""
        since = self._last_at - self._head_at if self._head_at else None
        if since is None or not timedelta(0) <= since < timedelta(seconds=HEAD_SECONDS):
            self._head_at = self._last_at
            self._write_head()

    def close_cleanly(self) -> None:
        """Say beside the ledger where it ended."""
        if not self._broken and not self.taken and not self._is_clean and self._lines:
            self._write_head()

    def _write_head(self) -> None:
        """A head that cannot be written stops nobody: what was appended is durable."""
        try:
            write_head(self.path, Head(self._lines, self._prev))
        except StorageFailed as error:
            self._say(f"{error.message}; the ledger is whole, only where it ended is not noted")
        else:
            self._is_clean = True

    def release(self) -> None:
        """Close what was opened beside the ledger."""
        if self._descriptor != self._possession.descriptor:
            os.close(self._descriptor)


def _begins_something(record: AnyRecord) -> bool:
    """Whether something is sent on this Record's account."""
    return isinstance(record, Started | RunBegins)


@asynccontextmanager
async def open_ledger(
    path: Path,
    run: str,
    *,
    hold: Hold | None = None,
    threads: Threads | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Say = _silent,
    keeps: Keeps | None = None,
    is_alone: bool = False,
) -> AsyncIterator[Ledger]:
    """Open a ledger for appending, after reading it whole, with all other parts in its folder but
    where it `is_alone`; `hold` is the caller's on the folder, or on this part of it. `keeps`: of a
    shard, which Keys are its own; of others nothing is read.

    Raises LedgerDamaged, StorageFailed, Refused where another has it or its clock is behind. A torn
    end is cut off, which is said through `say`. Syncs have a thread of their own, unless `threads`
    is given.
    """
    try:
        descriptor = _opened(path)
    except OSError as error:
        raise storage_failed(path, error) from error
    try:
        possession = Possession(descriptor, path, hold)
        found, end = _read_whole(possession, keeps, is_alone=is_alone)
        now = _not_before(now, found.latest, path)
        try:
            _make_ready(descriptor, path, end, say)
        except OSError as error:
            raise storage_failed(path, error) from error
        ledger = Ledger(
            possession,
            run=run,
            state=found.state,
            base=found.base,
            end=end,
            threads=threads or in_own_thread(),
            now=now,
            say=say,
            shared=found.shared,
        )
        try:
            yield ledger
        finally:
            ledger.release()
        ledger.close_cleanly()
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    flags = os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return require_regular(os.open(path, os.O_RDWR | flags, 0o644), path)


def _read_whole(
    possession: Possession, keeps: Keeps | None, *, is_alone: bool
) -> tuple[Together, End]:
    """What the parts say together, read under the ledger's own lock, and where the one that is
    written ended. Raises as `open_ledger`."""
    try:
        possession.take()
    except OSError as error:
        raise storage_failed(possession.path, error) from error
    refuse_displaced(possession.path)
    own = Reader(possession.path)
    return read_together(own, keeps, is_alone=is_alone), own.end


def _not_before(now: Callable[[], datetime], latest: str, path: Path) -> Callable[[], datetime]:
    """The time, and at least just after `latest`. Raises Refused where that is long to come."""
    if not latest:
        return now
    floor = datetime.fromisoformat(latest) + timedelta(microseconds=1)
    if floor - now() > AHEAD:
        raise Refused(
            f"{path.parent}: a part of the ledger there was last written at {latest}, which is "
            "still to come by the clock of this machine; nothing was sent",
            hint="set the clock right, and run again",
        )
    return lambda: max(now(), floor)


def _make_ready(descriptor: int, path: Path, end: End, say: Say) -> None:
    """Cut a torn end, and make all before it durable. Raises OSError."""
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
