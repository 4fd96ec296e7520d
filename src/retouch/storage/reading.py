"""Opening a file somebody named, safely: regular files only, inside a folder, of bounded size.

Nothing blocks (FIFOs, devices) and no link is followed out of the folder. What the file is, is
asked of the open descriptor, so that nothing can be swapped in between.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from retouch.errors import InputRefused, Problem
from retouch.text import one_clean_line

FILE_CAP_BYTES = 256 * 1024 * 1024

_LOOP = "is not a regular file: is a link that leads to itself"
_FLAGS = (
    os.O_RDONLY
    | os.O_CLOEXEC
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


Why = Literal["missing", "large", "other"]


class UnreadableFile(Exception):
    """Why a file cannot be read, in one clause, and what to do.

    `why`: the kinds that a caller may know a better remedy for.
    """

    def __init__(self, reason: str, remedy: str = "", *, why: Why = "other") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.why = why


def read_regular(
    path: Path,
    within: Path | None = None,
    cap: int = FILE_CAP_BYTES,
    span: tuple[int, int] | None = None,
) -> bytes:
    """The bytes of a regular file of at most `cap` bytes, inside `within`; or those of a `span`
    (offset, length) of it.

    Raises UnreadableFile.
    """
    real = path if within is None and not _is_link(path) else resolved(path, within)
    try:
        with os.fdopen(open_unfollowed(real), "rb") as file:
            offset, size = span or (0, os.fstat(file.fileno()).st_size)
            file.seek(offset)
            # Room for `cap` is never asked for: what is cut off such a block keeps a page of it.
            data = file.read(size if span else size + 1) if size <= cap else b""
            if len(data) > size:  # the file is growing
                data += file.read(cap + 1 - len(data))
            size = max(size, len(data))
            if size > cap:
                what = f"has {size:,} bytes, larger than {cap:,} bytes"
                raise UnreadableFile(what, why="large")
            return data
    except OSError as error:
        raise _translated(error) from None


def open_unfollowed(path: Path) -> int:
    """A descriptor for reading the regular file at `path`, which must be no link.

    The one place that opens what somebody named. Raises UnreadableFile for what is no regular
    file, and OSError, which callers translate: here for inputs, `durable` for the outputs folder.
    """
    _refuse_irregular(os.lstat(path).st_mode)  # checked before opening: opening moves some devices
    descriptor = os.open(path, _FLAGS)
    try:
        _refuse_irregular(os.fstat(descriptor).st_mode)
    except UnreadableFile:
        os.close(descriptor)
        raise
    return descriptor


def resolved(path: Path, within: Path | None = None) -> Path:
    """Where the path leads, every link followed. Raises UnreadableFile if nowhere or outside."""
    try:
        real = path.resolve(strict=True)
        if within is not None and not real.is_relative_to(within.resolve()):
            raise UnreadableFile(
                "leads outside the manifest's folder",
                "copy it into the folder; links out of it are not followed",
            )
    except OSError as error:
        raise _translated(error) from None
    except RuntimeError:  # Python 3.11 and 3.12 say so of a loop of links
        raise UnreadableFile(_LOOP, "remove the link") from None
    except ValueError:  # a NUL
        raise UnreadableFile("is no path", "correct it") from None
    return real


def _is_link(path: Path) -> bool:
    """Whether the path must be followed to where it leads; else it is opened as it stands, for
    resolving looks at each folder above it, 100,000 times."""
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return True


def _refuse_irregular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise UnreadableFile(f"is not a regular file but {kind}", "name a file")


def _translated(error: OSError) -> UnreadableFile:
    if error.errno == errno.ELOOP:
        return UnreadableFile(_LOOP, "remove the link")
    name = os.strerror(error.errno) if error.errno else one_clean_line(str(error))
    if isinstance(error, FileNotFoundError):
        return UnreadableFile(
            "is not there (or is a link to something that is not)",
            "check its name",
            why="missing",
        )
    return UnreadableFile(f"cannot be read: {name} (errno {error.errno})", "check its permissions")


def read_given(path: Path, cap: int, *, if_missing: str, if_large: str) -> bytes:
    """The bytes of the file that the user gave a command, at most `cap` of them.

    `if_missing`, `if_large`: what to do then. Raises InputRefused.
    """
    try:
        return read_regular(path, cap=cap)
    except UnreadableFile as error:
        file = repr(str(path)) if "\0" in str(path) else str(path)
        remedies = {"missing": if_missing, "large": if_large, "other": error.remedy}
        what = "no such file" if error.why == "missing" else error.reason
        raise InputRefused([Problem(file, 0, 0, what, remedies[error.why])]) from None
