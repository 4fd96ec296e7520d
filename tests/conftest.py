"""What all tests share: the backend an async test runs on.

`@pytest.mark.anyio` runs on asyncio; with `@pytest.mark.virtual_time` too, on trio under a clock
that jumps over every wait, so that an hour of backing off takes a moment and can be asserted.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio.testing

gc.disable()  # while thousands of tests are collected: they are there to stay


def pytest_configure() -> None:
    """Hear Ctrl-C and a hangup also where the suite was started in the background: a command that a
    test starts would inherit that they are ignored, and never end by them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three tests at once on two cores: a third of the time a test waits for another process."""
    return max(2, 3 * (os.cpu_count() or 2) // 2)


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among the tests."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    """The terminal's width is that of no terminal, whatever a library has put into COLUMNS."""
    os.environ.pop("COLUMNS", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Hear signals after a test as before it: an interrupted command ignores them for good, and a
    process started later would inherit that and never end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        return (yield)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str | tuple[str, dict[str, Any]]:
    """asyncio, or trio in virtual time where the test asks for it."""
    if request.node.get_closest_marker("virtual_time"):
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return "asyncio"


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where syncing costs nothing, for tests that are not about disks."""
    memory = Path("/dev/shm")  # noqa: S108 - made unguessable below
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="retouch-", dir=memory) as folder:
        yield Path(folder)
