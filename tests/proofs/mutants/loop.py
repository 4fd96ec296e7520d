"""The tests, collected once, against one mutant after another: each in a process of its own.

A mutant's process is forked after the collection and before any test, so that it costs nothing but
the tests that come to its function, the quickest files first, up to the first that fails; nothing
that a test left behind (a cache that is filled) hides a mutant. Which tests come to which function
a process of its own finds out, and another that without a mutant they all pass in this order. A
function that runs while modules are loaded would need an interpreter for each of its mutants: they
are told, and not judged.

Processes are limited by their own seconds of CPU, which a busy machine does not shorten; one that
waits for ever ends by the clock, and is tried once more, alone.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mutmut.configuration import config
from mutmut.mutation.trampoline import get_mutant_under_test, set_mutant_under_test
from mutmut.state import state

CPU_SECONDS, CPU_TIMES = 5, 6  # a mutant may take so many seconds and as many times its tests' own
WALL_SECONDS, WALL_TIMES = 60, 30
_ENDED = {0: "survived", 1: "killed"}


@dataclass(frozen=True, slots=True)
class Reached:
    """Which tests, by number, come to a function, and the CPU seconds each takes."""

    tests: dict[str, list[int]]
    seconds: list[float]


class Loop:
    """A pytest plugin that runs the tests so; `verdicts` by mutant's name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.verdicts: dict[str, str] = {}
        self._is_forked = False
        self._folder = Path(tempfile.mkdtemp(prefix="loop-", dir=Path.cwd()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first failure is enough."""
        if self._is_forked and report.failed:
            if get_mutant_under_test() in ("", "stats"):
                sys.stderr.write(f"\n{report.nodeid}\n{report.longreprtext[-3000:]}\n")
                sys.stderr.flush()
            os._exit(1)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """All mutants, instead of all tests."""
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        imported = frozenset(state()._stats)  # by no test, while their modules were loaded
        set_mutant_under_test("")
        reached = self._reached(session)
        order = _ordered(session.items, range(len(session.items)), reached.seconds)
        if self._in_process("", session, order) != 0:
            raise session.Interrupted("without a mutant the tests fail in this order")
        if self._in_process("fail", session, order) != 1:
            raise session.Interrupted("the tests do not notice that every function fails")
        todo = {name: reached.tests.get(name.partition("__mutmut_")[0], []) for name in self.names}
        early = [name for name in todo if name.partition("__mutmut_")[0] in imported]
        self.verdicts = {name: "no tests" for name, tests in todo.items() if not tests}
        self.verdicts |= dict.fromkeys(early, "while loading")
        todo = {name: tests for name, tests in todo.items() if tests and name not in early}
        self._try(session, reached, todo, at_once=os.cpu_count() or 1)
        late = {name: todo[name] for name, how in self.verdicts.items() if how == "late"}
        self._try(session, reached, late, at_once=1)
        return True

    def _reached(self, session: pytest.Session) -> Reached:
        """What comes to what, found out in a process of its own."""
        path = self._folder / "reached.json"

        def look() -> int:
            tests: dict[str, list[int]] = defaultdict(list)
            seconds = []
            set_mutant_under_test("stats")
            for number, item in enumerate(session.items):
                began = time.process_time()
                following = session.items[number + 1 :][:1]
                state()._stats.clear()
                item.ihook.pytest_runtest_protocol(item=item, nextitem=next(iter(following), None))
                seconds.append(time.process_time() - began)
                for function in state()._stats:
                    tests[function].append(number)
            path.write_text(json.dumps([tests, seconds]))
            return 0

        if self._forked(look) != 0:
            raise session.Interrupted("without a mutant the tests fail")
        return Reached(*json.loads(path.read_text()))

    def _try(
        self,
        session: pytest.Session,
        reached: Reached,
        todo: dict[str, list[int]],
        *,
        at_once: int,
    ) -> None:
        """Judge mutants, the quickest first, some at once."""
        cost = {name: sum(reached.seconds[n] for n in tests) for name, tests in todo.items()}
        waiting = sorted(todo, key=cost.__getitem__, reverse=True)
        running: dict[int, tuple[str, float]] = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop()
                order = _ordered(session.items, todo[name], reached.seconds)
                pid = self._begun(lambda: self._run(name, session, order), cost[name])  # noqa: B023
                running[pid] = name, time.monotonic() + WALL_SECONDS + WALL_TIMES * cost[name]
            for pid, how in _ended(running):
                name, _ = running.pop(pid)
                self.verdicts[name] = how
                shutil.rmtree(self._folder / str(pid), ignore_errors=True)
                known = how in ("killed", "timeout")  # what lives is worth reading at once
                sys.stderr.write(how[0] if known else f"\n{how}: {name}\n")
                sys.stderr.flush()

    def _in_process(self, mutant: str, session: pytest.Session, order: Sequence[int]) -> int:
        return self._forked(lambda: self._run(mutant, session, order))

    def _run(self, mutant: str, session: pytest.Session, order: Sequence[int]) -> int:
        set_mutant_under_test(mutant)
        items = [session.items[number] for number in order]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        return 0

    def _forked(self, call: Callable[[], int]) -> int:
        pid = self._begun(call)
        _, status = os.waitpid(pid, 0)
        shutil.rmtree(self._folder / str(pid), ignore_errors=True)
        return os.waitstatus_to_exitcode(status)

    def _begun(self, call: Callable[[], int], seconds: float | None = None) -> int:
        """A process that does this, in a group and with a folder of its own."""
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            self._work(call, seconds)
        return pid

    def _work(self, call: Callable[[], int], seconds: float | None) -> NoReturn:
        code = 1
        try:
            os.setpgid(0, 0)
            folder = self._folder / str(os.getpid())
            folder.mkdir()
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
            if seconds is not None:
                limit = ceil(time.process_time() + CPU_SECONDS + CPU_TIMES * seconds)
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            self._is_forked = True
            code = call()
        finally:
            os._exit(code)


def _ended(running: dict[int, tuple[str, float]]) -> Iterator[tuple[int, str]]:
    """Those that have come to an end, or are brought to it; waits a moment where none has."""
    found = []
    for pid, (_, deadline) in running.items():
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            slow = code in (-signal.SIGXCPU, -signal.SIGKILL)
            found.append((pid, "timeout" if slow else _ENDED.get(code, "killed")))
        elif time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            found.append((pid, "late"))
    for pid, _ in found:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what its tests had started
    if not found:
        time.sleep(0.005)
    yield from found


def _ordered(
    items: Sequence[pytest.Item], tests: Sequence[int], seconds: Sequence[float]
) -> list[int]:
    """The quickest files first, in each the quickest tests: what files set up is set up once."""
    files: dict[str, list[int]] = defaultdict(list)
    for number in tests:
        files[items[number].nodeid.partition("::")[0]].append(number)
    means = {name: sum(map(seconds.__getitem__, each)) / len(each) for name, each in files.items()}
    return [
        number
        for name in sorted(files, key=means.__getitem__)
        for number in sorted(files[name], key=seconds.__getitem__)
    ]


def main(asked: str, answer: str, *arguments: str) -> int:
    """Judge the mutants named in a file, by what pytest's arguments select."""
    config()  # reads the working folder, which tests leave
    set_mutant_under_test("stats")
    loop = Loop(json.loads(Path(asked).read_text()))
    path = Path(answer).absolute()
    code: Any = pytest.main([*arguments, "-p", "no:cacheprovider"], plugins=[loop])
    path.write_text(json.dumps(loop.verdicts))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
