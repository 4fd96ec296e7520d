"""Reading a text file a user named: regular and readable, or InputRefused with the reason."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from retouch.errors import InputRefused, Problem
from retouch.manifest.yaml_reader import MAXIMUM_BYTES


def read_bytes(path: Path, file: str, if_missing: str) -> bytes:
    """The file's bytes, at most one more than is allowed.

    `file` is its name for messages, `if_missing` what to do where there is none.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write into it
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise InputRefused([Problem(file, 0, 0, *_no_file(path))])
            return opened.read(MAXIMUM_BYTES + 1)
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
