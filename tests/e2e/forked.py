"""Processes forked from one that has imported the program: as real as any, and there at once.

Starting Python and importing the program takes a second, and a proof that kills it ten times
would be made of that. What is forked has a session and files for what it prints of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMANDS = ("plan", "reconcile", "report", "resolve", "run", "salvage", "status", "verify")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *(f"retouch.cli.{name}" for name in COMMANDS),
        "tests.proofs.crash.errand",
        "tests.e2e.hasty_server",
        "tests.e2e.provider_server",
        "tests.proofs.faults.server",
    ]
)


@dataclass(frozen=True, slots=True)
class Forked:
    """A process under way; the methods are those of a Popen."""

    process: BaseProcess
    printed: tuple[Path, Path]

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        """Its exit code once it has ended: negative, the signal that killed it."""
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it has printed on stdout and on stderr."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still there after {timeout} s"
        out, errors = (path.read_text() for path in self.printed)
        return out, errors


def start(target: Callable[..., None], *arguments: Any, **options: Any) -> BaseProcess:
    """A process that calls `target` and ends."""
    process = _FORKS.Process(target=_begin, args=(target, arguments, options), daemon=True)
    with chdir(ROOT):  # from where the tests can be imported
        process.start()
    return process


def captured(target: Callable[..., int], *arguments: Any, folder: Path) -> Forked:
    """A process that ends with the exit code `target` returns; what it prints is in `folder`."""
    number = sum(1 for _ in folder.glob("printed-*.out"))
    printed = folder / f"printed-{number}.out", folder / f"printed-{number}.err"
    for path in printed:
        path.touch()
    return Forked(start(_captured, printed, target, arguments), printed)


def program(words: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> Forked:
    """`python -m retouch WORDS...` in `folder`."""
    return captured(_program, words, folder, dict(environment), folder=folder)


def _begin(
    target: Callable[..., None], arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """As in a process of nobody's: what it makes of multiprocessing is not its parent's."""
    multiprocessing.set_start_method(None, force=True)
    target(*arguments, **options)


def _captured(
    printed: tuple[Path, Path], target: Callable[..., int], arguments: tuple[Any, ...]
) -> None:
    os.setsid()
    for descriptor, path in enumerate(printed, 1):
        file = os.open(path, os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    sys.exit(target(*arguments))


def _program(words: tuple[str, ...], folder: Path, environment: dict[str, str]) -> int:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["retouch", *words]
    runpy.run_module("retouch", run_name="__main__", alter_sys=True)
    raise AssertionError("the program exits by itself")
