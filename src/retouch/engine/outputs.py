"""Pictures and odd replies written whole: temporary name, fsync, no-clobber name, folder fsync.

A `done` record implies its files, so `keep` returns only when they are durable, and so are the
folders above them, whoever made those. Folders are opened one by one without following links: a
link planted under the outputs folder is refused, before anything is sent (`prepare`), and nothing
outside is ever touched. Bytes are stored exactly as received.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from retouch.errors import StorageFailed
from retouch.ledger.records import FileRecord
from retouch.storage.descriptors import lacks_descriptor
from retouch.storage.durable import (
    FOLDER_FLAGS,
    NEW_FILE_FLAGS,
    require_regular,
    storage_failed,
    write_all,
)
from retouch.storage.gathered import Buffer, Part
from retouch.text import body_without_secrets

Restored = Literal["kept", "changed", "taken"]
SUFFIXES = {
    "image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp",
    "image/gif": ".gif", "image/svg+xml": ".svg",
}  # fmt: skip
ROOM_PER_PICTURE_BYTES = 2_000_000
READ_CAP_BYTES = 256 * 1024 * 1024
PART_FLAGS = NEW_FILE_FLAGS & ~os.O_WRONLY | os.O_RDWR  # what is written is looked through too
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS_HERE = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


class Outputs:
    """The outputs folder of one manifest."""

    def __init__(self, folder: Path, secrets_in_replies: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._root = f"{folder}/"
        self._secrets = secrets_in_replies
        self._durable: set[str] = set()  # folders that this process has made

    def prepare(self, stem: str) -> None:
        """Make the folder that `stem` will be kept in, so that what would refuse a picture (a
        link, a full or read-only disk) is met before it is paid for. Raises StorageFailed."""
        with self._walked(_folders(stem)[0], make=True):
            pass

    def require_room(self, pictures: int) -> None:
        """Raises StorageFailed where so many pictures would not find room: better not sent than
        paid for and lost."""
        try:
            status = os.statvfs(self.folder)
        except OSError as error:
            raise storage_failed(self.folder, error) from error
        free = status.f_bavail * status.f_frsize
        if free < pictures * ROOM_PER_PICTURE_BYTES:
            raise StorageFailed(
                f"{self.folder}: {free / 1e6:,.0f} MB are free, and what is in flight may bring "
                f"{pictures * ROOM_PER_PICTURE_BYTES / 1e6:,.0f} MB",
                hint="sending has stopped before the disk is full; make room and run again",
            )

    def part(self, stem: str) -> Part:
        """A file for a picture that is still coming, where `stem` will be kept. Raises
        StorageFailed."""
        folders, _ = _folders(stem)
        name = f".{secrets.token_hex(8)}.part"
        try:
            with self._walked(folders, make=True) as folder:
                descriptor = os.open(name, PART_FLAGS, 0o644, dir_fd=folder)
                return Part(name, descriptor, os.dup(folder))
        except OSError as error:
            raise storage_failed(self.folder.joinpath(*folders), error) from error

    def keep(
        self,
        stem: str,
        data: Buffer,
        media_type: str,
        width: int,
        height: int,
        *,
        part: Part | None = None,
    ) -> FileRecord:
        """Store one picture under `stem` plus the suffix of its bytes; blocks until durable.

        `part`: the file that holds the bytes already, but for a name.
        A file that is already there is never overwritten: with the same bytes it is the picture
        (a crash came between its name and its record), else the new one is named `stem~2`, ...
        Raises StorageFailed.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._store(stem, SUFFIXES[media_type], data, digest, part)
        return FileRecord(
            path=path,
            sha256=digest,
            bytes=len(data),
            media_type=media_type,
            width=width,
            height=height,
        )

    def restore(self, file: FileRecord, data: bytes) -> Restored:
        """Put a recorded picture back in its place; blocks until durable, raises StorageFailed.
        Bytes that are not the recorded ones are not kept, and nothing is written over."""
        if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
            return "changed"
        if _leads_out(file.path) or os.path.lexists(f"{self.folder}/{file.path}"):
            return "taken"
        stem, dot, suffix = file.path.rpartition(".")
        self._store(stem, dot + suffix, data, file.sha256)
        return "kept"

    def deliver(self, stem: str, there: Outputs, file: FileRecord) -> FileRecord | None:
        """A recorded picture of `there` under one more name here; None where its bytes are gone or
        changed. Within one outputs folder it is a hard link where the disk has these. Blocks until
        durable; raises StorageFailed."""
        data = there.read(file)
        if data is None:
            return None
        if there.folder == self.folder:
            with suppress(OSError):
                path = self._link(stem, file)
                return msgspec.structs.replace(file, path=path)
        return self.keep(stem, data, file.media_type, file.width, file.height)

    def _link(self, stem: str, file: FileRecord) -> str:
        """One more name for a picture's bytes. Raises OSError where no link can be made."""
        folders, last = _folders(stem)
        before, name = _folders(file.path)
        part = f".{secrets.token_hex(8)}.part"
        with self._walked(before) as origin, self._walked(folders, make=True) as folder:
            os.link(name, part, src_dir_fd=origin, dst_dir_fd=folder, follow_symlinks=False)
            try:
                suffix = SUFFIXES[file.media_type]
                linked = part, folder
                name = _name_without_clobbering(folder, linked, last, suffix, file.sha256)
            finally:
                _remove(part, folder)
            os.fsync(folder)
        return "/".join((*folders, name))

    def quarantine(self, name: str, body: bytes) -> str:
        """Keep what came of a 2xx that could not be used, as received but for the key and what
        signs URLs; returns its path relative to the folder. Raises StorageFailed."""
        scrubbed = body_without_secrets(body, self._secrets)
        digest = hashlib.sha256(scrubbed).hexdigest()
        return self._store(f"quarantine/{name}", ".body", scrubbed, digest)

    def is_whole(self, file: FileRecord) -> bool:
        """Whether a recorded picture is still there with its size (digests are `verify`'s)."""
        return self.is_there(file.path, file.bytes)

    def is_there(self, path: str, size: int) -> bool:
        """Whether a file of so many bytes lies at a path, and is none that a link leads to."""
        if _leads_out(path):
            return False
        try:
            status = os.lstat(self._root + path)
        except (OSError, ValueError):
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    def read(self, file: FileRecord) -> bytes | None:
        """A recorded picture's bytes; None where they are gone, changed or behind a link."""
        data = self.read_unrecorded(file.path, file.bytes)
        if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
            return None
        return data

    def read_unrecorded(self, path: str, cap_bytes: int = READ_CAP_BYTES) -> bytes | None:
        """A file's bytes, one more than `cap_bytes` at most; None where there is no plain file."""
        if _leads_out(path):
            return None
        folders, name = _folders(path)
        try:
            with self._walked(folders) as folder:
                descriptor = os.open(name, _READ, dir_fd=folder)
            with os.fdopen(require_regular(descriptor, self.folder / path), "rb") as opened:
                return opened.read(cap_bytes + 1)
        except (StorageFailed, OSError, ValueError):
            return None

    def _store(
        self, stem: str, suffix: str, data: Buffer, digest: str, part: Part | None = None
    ) -> str:
        folders, last = _folders(stem)
        try:
            with self._walked(folders, make=True) as folder:
                if part is not None:
                    os.fsync(part.descriptor)
                    origin = part.name, part.folder
                    name = _name_without_clobbering(folder, origin, last, suffix, digest)
                else:
                    name = _written_whole(folder, data, last, suffix, digest)
                os.fsync(folder)
        except OSError as error:
            raise storage_failed(self.folder.joinpath(*folders), error) from error
        return "/".join((*folders, name))

    @contextmanager
    def _walked(self, folders: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder, made durably where missing if asked, links refused."""
        descriptor, depth = -1, 0
        try:
            descriptor = os.open(self.folder, FOLDER_FLAGS)
            for depth, name in enumerate(folders, 1):
                if make:
                    self._make(name, "/".join(folders[:depth]), descriptor)
                inner = os.open(name, FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            raise storage_failed(self.folder.joinpath(*folders[:depth]), error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _make(self, name: str, at: str, folder: int) -> None:
        """Make a folder; its name is synced once a process, for another Job, or a run that was
        killed, may have made it and not come to that."""
        if at in self._durable:
            return
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        os.fsync(folder)
        self._durable.add(at)


def _folders(path: str) -> tuple[tuple[str, ...], str]:
    """The folders that a relative path leads through, and its last part."""
    place = PurePosixPath(path)
    return place.parent.parts, place.name


def _leads_out(path: str) -> bool:
    """Whether a path may lead elsewhere: a ledger from another place may name anything."""
    return path.startswith("/") or (".." in path and ".." in path.split("/"))


def _written_whole(folder: int, data: Buffer, stem: str, suffix: str, digest: str) -> str:
    """Write `data` into the folder; the name that it got."""
    part = f".{secrets.token_hex(8)}.part"
    try:
        _write_whole(part, data, folder)
        return _name_without_clobbering(folder, (part, folder), stem, suffix, digest)
    finally:
        _remove(part, folder)


def _write_whole(name: str, data: Buffer, folder: int) -> None:
    descriptor = os.open(name, NEW_FILE_FLAGS, 0o644, dir_fd=folder)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_without_clobbering(
    folder: int, origin: tuple[str, int], stem: str, suffix: str, digest: str
) -> str:
    """Give the file at `origin` (its name, its folder) a name in `folder`; which one it is."""
    part, beside = origin
    number = 1
    while True:
        name = f"{stem}{suffix}" if number == 1 else f"{stem}~{number}{suffix}"
        try:
            os.link(part, name, src_dir_fd=beside, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            if _digest(name, folder) == digest:
                return name
            number += 1
        except OSError as error:
            if error.errno not in _NO_LINKS_HERE:
                raise
            # A file system without hard links (exFAT): claim the name, then put the file there.
            try:
                os.close(os.open(name, NEW_FILE_FLAGS, 0o644, dir_fd=folder))
            except FileExistsError:
                if _digest(name, folder) == digest:
                    return name
                number += 1
                continue
            os.rename(part, name, src_dir_fd=beside, dst_dir_fd=folder)
            return name
        else:
            return name


def _digest(name: str, folder: int) -> str | None:
    """The digest of a regular file, which is made durable: nobody knows who wrote it."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if lacks_descriptor(error):  # the file could not be looked at
            raise
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(descriptor)
    return digest


def _remove(name: str, folder: int) -> None:
    with suppress(OSError):  # never made, or already renamed; `verify` finds leftovers
        os.unlink(name, dir_fd=folder)
