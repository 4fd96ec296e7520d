"""`python -m tests.crash.errand FOLDER BOOK SEED`: one batch in a process of its own, to be hurt.

Exits as the program does: 5 with a message where the disk refuses, else 0 or 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

from retouch.errors import StorageFailed
from tests.crash.stage import Stage


def main(folder: str, book: str, seed: str) -> int:
    """Run it."""
    try:
        summary = Stage(Path(folder), seed=int(seed), jobs=6, book_file=Path(book)).run()
    except StorageFailed as error:
        sys.stderr.write(error.message)
        return error.exit_code
    if summary.stopped is not None:
        sys.stderr.write(summary.stopped.message)
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
