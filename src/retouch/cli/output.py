"""Messages for people on stderr, documents for programs on stdout, and the streams they go to.

A terminal obeys nothing that is printed. Every command imports this, so it imports little.

A closed descriptor is filled first of all, or the ledger would be opened in its place and written
to by whoever reports an error. What is said to people goes to a stream that never raises: its
reader may have gone (`2>&1 | head`), the terminal may be dead; money is spent meanwhile, and no
message is worth it. Documents on stdout do raise, for half of one must not look like all of it.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from retouch.errors import StorageFailed
from retouch.text import fit_for_terminal

_ESCAPED = "retouch.escaped"


def say(text: str) -> None:
    """A message on stderr; what could move the cursor is shown instead of obeyed."""
    print(fit_for_terminal(text), file=sys.stderr)


def json_text(document: object) -> str:
    """A document for programs, the same values also where a person's terminal is what reads it."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    lines = (line if line.isprintable() else _shown(line) for line in text.split("\n"))
    return "\n".join(lines)


def _shown(line: str) -> str:
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)


class _Sink(io.FileIO):
    """Descriptor 2, whatever may have become of it."""

    def write(self, data: Any, /) -> int:
        """Write what can be written; all of it counts as taken."""
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


class _Documents(io.FileIO):
    """Descriptor 1. Raises StorageFailed where it is a file that cannot take all of a document."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            let_stdout_go()
            raise StorageFailed(f"standard output: {error.strerror}") from error


def guard_streams() -> None:
    """Make the process's own streams safe; those that a caller has put in their place stay."""
    if sys.stderr is not sys.__stderr__ or sys.stdout is not sys.__stdout__:
        return
    _fill_descriptors()
    codecs.register_error(_ESCAPED, _escaped)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - the process's own
    sys.stdout = _text(_Documents(1, "w", closefd=False), sys.stdout, errors=_ESCAPED)
    sys.stderr = _text(_Sink(2, "w", closefd=False), sys.stderr, errors="backslashreplace")


def _text(file: io.FileIO, was: TextIO | None, *, errors: str) -> io.TextIOWrapper:
    """A text stream over `file`, in the encoding of the one that was there."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=was.encoding if was else "utf-8",
        errors=errors,
        line_buffering=file.fileno() == 2 or file.isatty(),
    )


def let_stdout_go() -> None:
    """Nobody reads stdout any more: what is left of it goes nowhere, without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _fill_descriptors() -> None:
    """Open `/dev/null` in place of each of the three that is closed."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, as JSON escapes it: a document stays the same document."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end
