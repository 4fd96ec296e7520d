"""Real processes hurt by strace: killed at a system call, or told that the disk failed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.e2e.forked import captured
from tests.proofs.crash.errand import JOBS, run_when_traced
from tests.proofs.crash.stage import Stage

# The calls that change what a crash leaves, and how often an errand makes them at least.
CALLS = {"fsync": 25, "fdatasync": 8, "linkat": 8, "unlinkat": 8, "mkdirat": 5, "rename": 1}


@cache
def why_not() -> str:
    """Why strace cannot be used here; empty when it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    with subprocess.Popen(["sleep", "0.5"]) as process:
        tried = subprocess.run(
            [strace, "-qq", "-e", "trace=fsync", "-p", str(process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
    return "" if tried.returncode == 0 else f"strace may not trace: {tried.stderr.strip()}"


@dataclass(frozen=True, slots=True)
class Hurt:
    """How the process ended: its exit code (negative: the signal) and what it said."""

    code: int
    said: str


def errand(folder: Path, seed: int, *, call: str, fault: str, when: int) -> Hurt:
    """A batch in a process whose `when`-th system call of this kind meets `fault`."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    process = captured(run_when_traced, outputs, folder / "book.jsonl", seed, folder=folder)
    traced = ["-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}"]
    subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *traced, "-p", str(process.pid)], check=True
    )
    _, said = process.communicate()
    assert process.returncode is not None
    return Hurt(process.returncode, said)


def afterwards(folder: Path, seed: int) -> Stage:
    """The same batch taken up again, here, to its end."""
    stage = Stage(folder / "outputs", seed=seed, jobs=JOBS, book_file=folder / "book.jsonl")
    stage.run()
    return stage
