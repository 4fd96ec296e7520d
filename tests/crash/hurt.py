"""Real processes hurt by strace: killed at a system call, or told that the disk failed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.crash.stage import Stage

CALLS = "fsync,fdatasync,rename,linkat,unlinkat,mkdirat,ftruncate"
ROOT = Path(__file__).parents[2]


@cache
def why_not() -> str:
    """Why strace cannot be used here; empty when it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run(
        [strace, "-e", "trace=fsync", "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"strace may not trace: {tried.stderr.strip()}"


@dataclass(frozen=True, slots=True)
class Hurt:
    """How the process ended: its exit code (negative: the signal) and what it said."""

    code: int
    said: str


def errand(folder: Path, seed: int, *, calls: str, fault: str, when: int) -> Hurt:
    """A batch in a process whose `when`-th of these system calls meets `fault`."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    ran = subprocess.run(
        [
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
            "-e", f"inject={calls}:{fault}:when={when}",
            sys.executable, "-m", "tests.crash.errand", str(outputs), str(folder / "book.jsonl"),
            str(seed),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return Hurt(ran.returncode, ran.stderr)


def afterwards(folder: Path, seed: int) -> Stage:
    """The same batch taken up again, here, to its end."""
    stage = Stage(folder / "outputs", seed=seed, jobs=6, book_file=folder / "book.jsonl")
    stage.run()
    return stage
