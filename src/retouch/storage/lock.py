"""One run at a time on an outputs folder: an flock that dies with its process, and a lease where
the kernel's locks do not reach.

The lock file stays behind on purpose (removing it races with the next holder); what it says of
the holder is information only. Neither the folder nor the file may be a link: whatever a run
writes, it writes in that folder. A lock that was taken can still be lost (its file deleted, a
machine asleep for longer than its lease): `Hold.lost` says so, and the ledger asks it before each
commit.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retouch.errors import StorageFailed
from retouch.storage.durable import FOLDER_FLAGS, storage_failed
from retouch.storage.lease import Lease, held_by, leased, lost_to
from retouch.text import one_clean_line

NAME = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Hold:
    """An outputs folder that is this process's alone."""

    folder: Path
    lease: Lease

    def lost(self) -> str | None:
        """Who has the folder in this process's place; None while it is held."""
        other = lost_to(self.folder, self.lease)
        return other.said if other else None


@contextmanager
def exclusive(folder: Path, *, guarded: str = "ledger.jsonl") -> Iterator[Hold]:
    """Hold `folder` while the block runs. `guarded` is the file in it that its holder keeps locked:
    where the lock file was deleted, that one still tells.

    Raises Refused naming the holder when another process has it, StorageFailed when folder or
    lock file cannot be had or are not what they should be.
    """
    descriptor = _opened(folder)
    try:
        _take(descriptor, folder)
        _refuse_locked(folder, guarded)
        with leased(folder, now_there=os.fstat(descriptor).st_mtime) as lease:
            yield Hold(folder, lease)
    finally:
        os.close(descriptor)


def _opened(folder: Path) -> int:
    path = folder
    try:
        inside = os.open(folder, FOLDER_FLAGS)
        try:
            path = folder / NAME
            descriptor = os.open(NAME, _FLAGS, 0o644, dir_fd=inside)
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


def _take(descriptor: int, folder: Path) -> None:
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
        raise storage_failed(folder / NAME, error) from error


def _refuse_locked(folder: Path, guarded: str) -> None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(folder / guarded, flags)
    except OSError:
        return  # it is not there, or opening it to write will be refused
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise held_by(folder, f"another process has {guarded} locked") from None
    except OSError as error:
        raise storage_failed(folder / guarded, error) from error
    finally:
        os.close(descriptor)
