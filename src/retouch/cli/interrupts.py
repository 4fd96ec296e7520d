"""Ctrl-C and SIGTERM while a run goes on: heard, counted, and never raised anywhere.

The event loop's own way of listening puts the default handlers back before the loop is closed; a
signal just then would break off how the run ends. These handlers stay until the run is over, and
after an interrupted one nothing is heard any more, down to the exit code.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import asyncio

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Listens for the length of a `with` block, in the main thread."""

    def __init__(self) -> None:
        import asyncio  # noqa: PLC0415 - start-up time: every command imports this module

        self.count = 0
        self._told = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._before = {number: signal.getsignal(number) for number in _NUMBERS}

    def __enter__(self) -> Self:
        for number in _NUMBERS:
            signal.signal(number, self._heard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.count:
            end_undisturbed()
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    async def next(self) -> int:
        """Wait for the next signal; returns how many there were with it."""
        import asyncio  # noqa: PLC0415 - imported by then

        self._loop = asyncio.get_running_loop()
        while self.count <= self._told:
            self._news.clear()
            await self._news.wait()
        self._told += 1
        return self._told

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._loop is not None and not self._loop.is_closed():
            # From within a signal handler: the loop may be asleep.
            self._loop.call_soon_threadsafe(self._news.set)


def end_undisturbed() -> None:
    """Ignore further signals for good: Python puts only handlers of its own back at its end."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
