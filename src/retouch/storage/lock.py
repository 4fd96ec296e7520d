"""One run at a time on an outputs folder, or one on each shard of it: an flock that dies with its
process, and a lease where the kernel's locks do not reach.

The lock file stays behind on purpose (removing it races with the next holder); what it says of
the holder is information only. Neither the folder nor the file may be a link: whatever a run
writes, it writes in that folder. A lock that was taken can still be lost (its file deleted, a
machine asleep for longer than its lease): `Hold.lost` says so, and the ledger asks it before each
commit.

Which parts go together is looked at under a gate that one process passes at a time, so that of two
that exclude each other one goes on. Each shows its own lock and lease before it looks for others':
where no lock reaches, one of the two still sees the other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retouch.errors import StorageFailed
from retouch.storage import lease as leases
from retouch.storage.durable import FOLDER_FLAGS, storage_failed
from retouch.storage.lease import Lease, held_by, leased, lost_to, refuse_leased
from retouch.storage.part import WHOLE, Part, ledgers_in, part_at, part_of
from retouch.text import one_clean_line

NAME = ".lock"
GATE = ".gate"
GATE_SECONDS = 30.0  # a process passes in milliseconds, a thousand shards one after another
_GATE_LOOK_SECONDS = 0.02
_CANNOT_BE_READ = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Hold:
    """An outputs folder, or one `part` of its work, that is this process's alone."""

    folder: Path
    lease: Lease
    part: Part = WHOLE

    def lost(self) -> str | None:
        """Who has it in this process's place; None while it is held."""
        other = lost_to(self.folder, self.lease, self.part)
        return other.said if other else None


@contextmanager
def exclusive(folder: Path, *, part: Part = WHOLE, guarded: str | None = None) -> Iterator[Hold]:
    """Hold a `part` of what is done in `folder` while the block runs. `guarded` is the file that
    its holder keeps locked (default: the part's ledger): where the lock file was deleted, that one
    still tells.

    Raises Refused naming the holder when another process has it, or a part that excludes it;
    StorageFailed when folder or lock file cannot be had or are not what they should be.
    """
    with ExitStack() as held:
        with _gate(folder):
            descriptor = _opened(folder, NAME + part.suffix)
            held.callback(os.close, descriptor)
            _take(descriptor, folder, NAME + part.suffix)
            _refuse_locked(folder, guarded or part.ledger)
            now_there = os.fstat(descriptor).st_mtime
            lease = held.enter_context(leased(folder, part, now_there=now_there))
            _refuse_others(folder, part, now_there)
        yield Hold(folder, lease, part)


def held_beside(folder: Path, part: Part) -> list[Part]:
    """The other parts that processes hold now. Raises Refused, StorageFailed."""
    try:
        with _gate(folder):
            return [
                other
                for other in sorted(parts_shown(folder) - {part})
                if _is_locked(folder / f"{NAME}{other.suffix}")
            ]
    except OSError as error:
        raise storage_failed(folder, error) from error


def parts_shown(folder: Path) -> set[Part]:
    """Every part that a lock, a lease or a ledger in the folder is of."""
    found = {part_of(path) for path in ledgers_in(folder)}
    for name in os.listdir(folder):  # noqa: PTH208 - no Path for each of very many names
        for kind in (NAME, leases.NAME):
            if name.startswith(kind):
                found.add(part_at(name[len(kind) :]))
    return {part for part in found if part is not None}


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    """One process at a time. Raises StorageFailed, and Refused where one stands in it."""
    descriptor = _opened(folder, GATE)
    try:
        until = time.monotonic() + GATE_SECONDS
        while not _is_taken(descriptor, folder / GATE):
            if time.monotonic() > until:
                raise held_by(folder, f"a process has had {GATE} for {GATE_SECONDS:.0f} s")
            time.sleep(_GATE_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise storage_failed(path, error) from error
    return True


def _refuse_others(folder: Path, part: Part, now_there: float) -> None:
    """Raises Refused where a part that excludes this one is held, StorageFailed."""
    try:
        others = sorted(other for other in parts_shown(folder) - {part} if part.excludes(other))
        for other in others:
            for name in (f"{NAME}{other.suffix}", other.ledger):
                if _is_locked(folder / name):
                    raise held_by(folder, f"another process has {name} locked")
            refuse_leased(folder, other, now_there)
    except OSError as error:
        raise storage_failed(folder, error) from error


def _is_locked(path: Path) -> bool:
    """Whether somebody has the file locked; not one that is not there. Raises OSError.

    A shared lock is tried: NFS gives an exclusive one only to who may write (flock(2)).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _opened(folder: Path, name: str) -> int:
    path = folder
    try:
        inside = os.open(folder, FOLDER_FLAGS)
        try:
            path = folder / name
            descriptor = os.open(name, _FLAGS, 0o644, dir_fd=inside)
        finally:
            os.close(inside)
    except OSError as error:
        raise storage_failed(path, error) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise StorageFailed(
            f"{path}: not a plain file of its own", hint="retouch did not make it: move it away"
        )
    return descriptor


def _take(descriptor: int, folder: Path, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {began}\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
    except BlockingIOError:
        said = one_clean_line(os.pread(descriptor, 200, 0).decode(errors="replace"))
        raise held_by(folder, said or "another process") from None
    except OSError as error:
        raise storage_failed(folder / name, error) from error


def _refuse_locked(folder: Path, guarded: str) -> None:
    try:
        if _is_locked(folder / guarded):
            raise held_by(folder, f"another process has {guarded} locked")
    except OSError as error:
        if error.errno not in _CANNOT_BE_READ:
            raise storage_failed(folder / guarded, error) from error
        # Opening it to write will be refused.
