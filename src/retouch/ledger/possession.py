"""Whether a ledger is still its writer's own, looked at before and after each commit.

Locks are lost: the lock file is deleted, the ledger replaced by an older copy, a second mount or
machine writes in it. What cannot be lost unseen is the file itself: its path must lead to the
inode that is open here, and it must end where this writer left it. Of two that append at once,
each looks again after it has written, so at most one goes on.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from retouch.errors import LedgerDamaged, LedgerTaken
from retouch.storage.durable import NEW_FILE_FLAGS, sync_folder, write_all
from retouch.storage.lease import held_by
from retouch.storage.lock import Hold
from retouch.storage.part import WHOLE, part_at, part_of

_CHUNK_BYTES = 1 << 20
_DISPLACED = "displaced-"


@dataclass(frozen=True, slots=True)
class Lost:
    """How the ledger was lost. `is_elsewhere`: its path leads to another file, or a shorter one,
    so that what stood in it may be missed there. `is_cut`: some of it is in no file any more."""

    how: str
    is_elsewhere: bool = False
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Possession:
    """The open ledger and what tells that it is this writer's: `descriptor` reads and appends."""

    descriptor: int
    path: Path
    hold: Hold | None = None

    def take(self) -> None:
        """Lock the ledger itself while its descriptor is open. Raises Refused, OSError."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise held_by(self.path.parent, "another process has the ledger locked") from None

    def lost(self, size: int) -> Lost | None:
        """How the ledger was lost; None while it is this writer's and ends at `size` bytes."""
        taker = self.hold.lost() if self.hold else None
        if taker is not None:
            return Lost(f"it was taken over by {taker}")
        ours = os.fstat(self.descriptor)
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return Lost("it was removed while the run wrote it", is_elsewhere=True)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            return Lost("it was replaced while the run wrote it", is_elsewhere=True)
        # A read past the end makes a network file system or a FUSE mount ask for the true size.
        if os.pread(self.descriptor, 1, size):
            return Lost("somebody else writes in it")
        if os.fstat(self.descriptor).st_size < size:
            return Lost("it was cut while the run wrote it", is_elsewhere=True, is_cut=True)
        return None


def refuse_displaced(path: Path) -> None:
    """Raises LedgerDamaged while the end of a run whose ledger was lost lies beside this one."""
    for aside in sorted(path.parent.glob(f"{_DISPLACED}*.jsonl")):
        _, dot, suffix = aside.stem.partition(".")
        part = part_at(dot + suffix) or WHOLE
        raise LedgerDamaged(
            f"{aside}: a run lost its ledger, and wrote here how it ended",
            hint=f"if nothing has been sent since, put it back as {part.ledger}; else move it "
            "away, and `retouch resolve` what is unknown; nothing was sent",
        )


def set_aside(possession: Possession, size: int, run: str) -> tuple[int, Path]:
    """A copy of the first `size` bytes of a ledger that was lost, to write the end of the run in:
    what is in flight is paid for. Returns a descriptor and the path. Raises OSError."""
    part = part_of(possession.path) or WHOLE
    path = possession.path.with_name(f"{_DISPLACED}{run}{part.suffix}.jsonl")
    descriptor = os.open(path, NEW_FILE_FLAGS & ~os.O_WRONLY | os.O_RDWR | os.O_APPEND, 0o644)
    try:
        offset = 0
        while offset < size:
            length = min(_CHUNK_BYTES, size - offset)
            chunk = os.pread(possession.descriptor, length, offset)
            if not chunk:
                break
            write_all(descriptor, chunk)
            offset += len(chunk)
        os.fsync(descriptor)
        sync_folder(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, path


def taken(path: Path, lost: Lost, aside: Path) -> LedgerTaken:
    """What the user is told, and how it goes on."""
    if lost.is_cut:
        hint = (
            f"what was cut off is lost, how this run ended is in {aside}: put it back as "
            f"{path.name} and `retouch salvage` it"
        )
    elif lost.is_elsewhere:
        hint = (
            f"what this run wrote is whole in {aside}: if no other run has written since, put it "
            f"back as {path.name}"
        )
    else:
        hint = f"let one run write in an outputs folder at a time; how this one ended is in {aside}"
    return LedgerTaken(f"{path}: {lost.how}; nothing more was sent", hint=hint)
