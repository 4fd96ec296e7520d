"""Opening a file somebody named, safely: regular files only, inside a folder, of bounded size.

Nothing blocks (FIFOs, devices) and no link is followed out of the folder. What the file is, is
asked of the open descriptor, so that nothing can be swapped in between.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from retouch.errors import InputRefused, Problem
from retouch.text import one_clean_line

FILE_CAP_BYTES = 256 * 1024 * 1024

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableFile(Exception):
    """Why a file cannot be read, in one clause, and what to do."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


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
    real = resolved(path, within)
    try:
        _refuse_irregular(os.lstat(real).st_mode)
        descriptor = os.open(real, _FLAGS | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _refuse_irregular(status.st_mode)
            offset, size = span or (0, status.st_size)
            if size > cap:
                raise UnreadableFile(f"has {size:,} bytes; at most {cap:,} are read")
            file.seek(offset)
            return file.read(size if span else cap + 1)
    except OSError as error:
        raise _translated(error) from None


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
    except (RuntimeError, ValueError) as error:  # a loop of links (Python 3.11, 3.12); a NUL
        what = "is a link that leads to itself" if isinstance(error, RuntimeError) else "is no path"
        raise UnreadableFile(f"is not a regular file: {what}") from None
    return real


def _refuse_irregular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise UnreadableFile(f"is not a regular file but {kind}", "name a picture's file")


def _translated(error: OSError) -> UnreadableFile:
    name = os.strerror(error.errno) if error.errno else one_clean_line(str(error))
    if isinstance(error, FileNotFoundError):
        return UnreadableFile(
            "is not there (or is a link to something that is not)", "check its name"
        )
    return UnreadableFile(f"cannot be read: {name} (errno {error.errno})", "check its permissions")


def read_bytes(path: Path, file: str, if_missing: str, cap: int) -> bytes:
    """The file's bytes, at most one more than `cap`.

    `file` is its name for messages, `if_missing` what to do where there is none.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write into it
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise InputRefused([Problem(file, 0, 0, *_no_file(path))])
            return opened.read(cap + 1)
    except FileNotFoundError:
        raise InputRefused([Problem(file, 0, 0, "no such file", if_missing)]) from None
    except IsADirectoryError:
        raise InputRefused([Problem(file, 0, 0, *_no_file(path))]) from None
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise InputRefused([Problem(file, 0, 0, what, "make it readable")]) from None
    except ValueError:
        raise InputRefused([Problem(repr(file), 0, 0, "no path", "correct it")]) from None


def _no_file(path: Path) -> tuple[str, str]:
    if path.is_dir():
        return "is a folder", "name the file in it"
    return "is not a regular file", "name a file"
