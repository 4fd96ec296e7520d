"""A real terminal of a given width, and what a program draws on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def drawn(
    words: Sequence[str], columns: int, folder: Path, variables: Mapping[str, str]
) -> tuple[int, list[str]]:
    """The exit code of a program on a terminal of `columns`, and all lines that it drew there,
    also those that it drew over."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        told = {name: value for name, value in variables.items() if name not in _OWN}
        process = subprocess.Popen(
            words, cwd=folder, env=told, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # EIO: nobody holds the other end any more
        pass
    finally:
        os.close(ours)
    text = _ESCAPES.sub("", b"".join(parts).decode())
    return process.wait(timeout=60), [line.rstrip() for line in re.split(r"[\r\n]+", text)]


_OWN = ("COLUMNS", "LINES")  # what a terminal says itself
