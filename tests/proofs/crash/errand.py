"""One batch in a process of its own, to be hurt.

Ends as the program does: 5 with a message where the disk refuses, else 0 or 1.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from retouch.errors import StorageFailed
from tests.proofs.crash.stage import Stage

JOBS = 6


def run_when_traced(folder: Path, book: Path, seed: int) -> int:
    """Run it, once somebody looks on; returns its exit code."""
    while not _is_traced():
        pass
    try:
        summary = Stage(folder, seed=seed, jobs=JOBS, book_file=book).run()
    except StorageFailed as error:
        sys.stderr.write(error.message)
        return error.exit_code
    if summary.stopped is not None:
        sys.stderr.write(summary.stopped.message)
    return summary.exit_code


def _is_traced() -> bool:
    """Whether a tracer has it, and had a moment to begin."""
    tracer = re.search(r"^TracerPid:\t(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    time.sleep(0.005)
    return tracer is not None and tracer[1] != "0"
