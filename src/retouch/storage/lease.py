"""Who writes in an outputs folder, or in a part of it, said in a file beside it: for file systems
whose locks do not reach every machine (network disks, FUSE mounts).

The holder renews its lease every few seconds. A lease of a process on this machine holds for as
long as that process is there; one of another machine for as long as it is renewed, by the clock
of the file system itself, so that clocks that differ do no harm.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from retouch.errors import Refused, StorageFailed
from retouch.storage.durable import NEW_FILE_FLAGS, storage_failed, write_all
from retouch.storage.part import WHOLE, Part
from retouch.text import one_clean_line

NAME = ".lease"
BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0
_READ_BYTES = 4096


class Lease(msgspec.Struct, frozen=True):
    """One holder. `boot` and `namespace` say on which machine, started when, its `pid` counts;
    `began` is that process's start in the kernel's ticks; `token` is this holding's own."""

    host: str
    boot: str
    namespace: str
    pid: int
    began: str
    token: str
    since: str
    heartbeat: str

    @property
    def said(self) -> str:
        """The holder, for people."""
        return one_clean_line(f"process {self.pid} on {self.host} since {self.since}", 200)

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process can be looked for here."""
        return (self.host, self.boot, self.namespace) == _machine()

    @property
    def has_ended(self) -> bool:
        """Whether its process, one of this machine, is there no more."""
        began = _began(self.pid)
        return began is None or (bool(self.began) and began != self.began)


def lease_path(folder: Path, part: Part = WHOLE) -> Path:
    """Where the lease on a folder, or on a part of it, is said."""
    return folder / f"{NAME}{part.suffix}"


def read_lease(folder: Path, part: Part = WHOLE) -> Lease | None:
    """The lease in `folder`; None where there is none, or nothing that is one."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(lease_path(folder, part), flags)
    except OSError:
        return None
    try:
        return msgspec.json.decode(os.read(descriptor, _READ_BYTES), type=Lease)
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError):
        return None
    finally:
        os.close(descriptor)


@contextmanager
def leased(folder: Path, part: Part = WHOLE, *, now_there: float) -> Iterator[Lease]:
    """Hold a lease on `folder` or a part of it, renewed in the background, while the block runs.

    `now_there`: the file system's own time, in seconds. Raises Refused naming the holder where
    somebody else's lease still holds, StorageFailed where none can be written.
    """
    refuse_leased(folder, part, now_there)
    mine, path = _new_lease(), lease_path(folder, part)
    try:
        _write(path, mine)
    except OSError as error:
        raise storage_failed(path, error) from error
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(folder, part, mine, over), daemon=True)
    beating.start()
    try:
        yield mine
    finally:
        over.set()
        beating.join(BEAT_SECONDS)
        if lost_to(folder, mine, part) is None:
            with suppress(OSError):
                path.unlink()


def lost_to(folder: Path, mine: Lease, part: Part = WHOLE) -> Lease | None:
    """Whoever has taken the folder from the holder of `mine`. A lease that was deleted is still
    held: it comes back with the next beat."""
    there = read_lease(folder, part)
    return there if there is not None and there.token != mine.token else None


def refuse_leased(folder: Path, part: Part, now_there: float) -> None:
    """Raises Refused naming the holder while the lease on a part holds."""
    other = read_lease(folder, part)
    if other is None:
        return
    if other.is_of_this_machine:
        if not other.has_ended:
            raise held_by(folder, other.said)
        return
    with suppress(OSError):
        silent = now_there - lease_path(folder, part).lstat().st_mtime
        if silent < STALE_SECONDS:
            raise held_by(
                folder,
                f"{other.said}, last heard of {max(silent, 0):.0f} s ago",
                f"if that process is dead, run again in {STALE_SECONDS:.0f} s; nothing was sent",
            )


def held_by(
    folder: Path, holder: str, hint: str = "wait for it to end, or stop it; nothing was sent"
) -> Refused:
    """The refusal of a second run, which says who holds the folder."""
    return Refused(f"{folder}: another run holds this outputs folder ({holder})", hint=hint)


def _new_lease() -> Lease:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    host, boot, namespace = _machine()
    pid = os.getpid()
    return Lease(host, boot, namespace, pid, _began(pid) or "", secrets.token_hex(8), now, now)


def _beat(folder: Path, part: Part, mine: Lease, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        if lost_to(folder, mine, part) is not None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError, StorageFailed):  # a renewal that fails is tried at the next beat
            path = lease_path(folder, part)
            _write(path, msgspec.structs.replace(mine, heartbeat=now))


def _write(path: Path, lease: Lease) -> None:
    """Replaced whole, not synced: after a crash of the machine nobody holds anything."""
    part = path.with_name(f"{NAME}.{lease.token}.part")
    try:
        descriptor = os.open(part, NEW_FILE_FLAGS, 0o644)
        try:
            write_all(descriptor, msgspec.json.encode(lease) + b"\n")
        finally:
            os.close(descriptor)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _machine() -> tuple[str, str, str]:
    boot = _text(Path("/proc/sys/kernel/random/boot_id"))
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return socket.gethostname(), boot, namespace


def _began(pid: int) -> str | None:
    """When a process of this machine began; "" where that cannot be told, None where it is not
    there, or dead and not yet taken notice of."""
    if not Path("/proc/self/stat").exists():
        return "" if _is_there(pid) else None
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
