"""What every durable write shares: folders made and synced, links refused, a disk's no translated.

A name is durable only when its folder was synced, and a run that was killed may have made a name
without syncing it: so whoever builds on a name syncs it, even if it was there before.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from pathlib import Path

from retouch.errors import StorageFailed
from retouch.storage.reading import UnreadableFile, open_unfollowed

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = "is a link, and links in the outputs are not followed"
_LINK_HINT = "put the real thing there, or remove it"


def storage_failed(path: Path, error: OSError) -> StorageFailed:
    """A disk's refusal as the message the user gets."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
        return StorageFailed(f"{path}: {_LINK}", hint=_LINK_HINT)
    return StorageFailed(
        f"{path}: {error.strerror or error}",
        hint="sending has stopped and nothing recorded is lost; mend the disk and run again",
    )


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it, all of it durable on return.

    The entries of the folder and of its parent are synced even if they were there: a run that was
    killed may have made them a moment ago. Raises StorageFailed.
    """
    folder = folder.absolute()
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in dict.fromkeys((*made, folder, folder.parent)):
            sync_folder(place.parent)
    except OSError as error:
        raise storage_failed(folder, error) from error


def open_regular(path: Path) -> int | None:
    """A descriptor for reading the regular file `path`; None where there is nothing.

    Raises StorageFailed for a link, a folder, a pipe or what cannot be read.
    """
    try:
        return open_unfollowed(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_failed(path, error) from error
    except UnreadableFile as error:
        raise _irregular(path, error.reason) from None


def require_regular(descriptor: int, path: Path) -> int:
    """The descriptor again if it is that of a regular file, else closed and StorageFailed."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _irregular(path, "is not a regular file")


def _irregular(path: Path, reason: str) -> StorageFailed:
    if path.is_symlink():
        return StorageFailed(f"{path}: {_LINK}", hint=_LINK_HINT)
    return StorageFailed(f"{path}: {reason}", hint="move it away and run again")


def write_all(descriptor: int, data: bytes | mmap) -> None:
    """Write all of `data`, however little the file system takes at once. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_whole(path: Path, data: bytes) -> None:
    """Put `data` under `path` at once or not at all, durably; of several at once the last stands.
    Raises StorageFailed."""
    _put(path, data, lambda part: part.replace(path))


def keep_first(path: Path, data: bytes) -> None:
    """The same, unless something is there: of several at once the first stays."""

    def link(part: Path) -> None:
        try:
            path.hardlink_to(part)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            part.replace(path)
            return
        part.unlink()

    _put(path, data, link)


def _put(path: Path, data: bytes, name: Callable[[Path], object]) -> None:
    # A name of its own: another process may be writing the same file.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(part, NEW_FILE_FLAGS, 0o644)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        name(part)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise storage_failed(path, error) from error
