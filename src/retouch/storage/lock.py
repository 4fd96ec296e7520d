"""One run at a time on an outputs folder: an flock that dies with its process.

The file stays behind on purpose (removing a lock file races with the next holder); what it says
of the holder is information only, the kernel's lock is the truth. Neither the folder nor the file
may be a link: whatever a run writes, it writes in that folder.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from retouch.errors import Refused, StorageFailed
from retouch.storage.durable import FOLDER_FLAGS, storage_failed
from retouch.text import one_clean_line

NAME = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` while the block runs.

    Raises Refused naming the holder when another process has it, StorageFailed when folder or
    lock file cannot be had or are not what they should be.
    """
    descriptor = _opened(folder)
    try:
        _take(descriptor, folder)
        yield
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
        raise Refused(
            f"{folder}: another run holds this outputs folder ({said or 'another process'})",
            hint="wait for it to end, or stop it; nothing was sent",
        ) from None
    except OSError as error:
        raise storage_failed(folder / NAME, error) from error
