"""`retouch init`: a commented manifest to start from. Never overwrites anything."""

from __future__ import annotations

import argparse
import contextlib
import errno
import shlex
import sys
from importlib.resources import files
from pathlib import Path

from retouch.cli.output import say
from retouch.errors import InputRefused, Problem, StorageFailed
from retouch.manifest import read

DEFAULT_PATH = Path("manifest.yaml")
_STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write it."""
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        default=DEFAULT_PATH,
        metavar="PATH",
        help=f"the file to write, or a folder to write {DEFAULT_PATH} into; - is stdout "
        f"(default: {DEFAULT_PATH})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the starter; 0, or InputRefused where something is in the way."""
    path: Path = arguments.path
    text = starter()
    if str(path) == "-":
        sys.stdout.write(text.decode())
        return 0
    if path.is_dir():
        path /= DEFAULT_PATH
    read(text, str(path), path.parent)  # the file's name becomes the manifest's: it must fit
    _write_new(path, text)
    name = shlex.quote(str(path))
    say(f"Wrote {path}. Edit it, then: retouch plan {name}")
    return 0


def starter() -> bytes:
    """The commented manifest that is written, UTF-8; it loads as it stands."""
    return files("retouch.manifest").joinpath("starter.yaml").read_bytes()


def _write_new(path: Path, text: bytes) -> None:
    """Write a file that is not there yet, whole or not at all."""
    created = False
    try:
        with path.open("xb") as opened:
            created = True
            opened.write(text)
    except FileExistsError:
        remedy = "name another file; nothing is ever overwritten"
        raise InputRefused([Problem(str(path), 0, 0, "is there already", remedy)]) from None
    except OSError as error:
        if created:
            with contextlib.suppress(OSError):
                path.unlink()
        reason = error.strerror or str(error)
        if error.errno in _STORAGE:
            raise StorageFailed(f"{path}: cannot be written: {reason}") from None
        remedy = "name a place you can write to"
        raise InputRefused(
            [Problem(str(path), 0, 0, f"cannot be written: {reason}", remedy)]
        ) from None
    except ValueError:
        raise InputRefused([Problem(repr(str(path)), 0, 0, "is no path", "correct it")]) from None
