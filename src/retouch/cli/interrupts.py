"""Ctrl-C, SIGTERM and a lost terminal while a run goes on: heard, and never raised anywhere.

The event loop's own way of listening puts the default handlers back before the loop is closed; a
signal just then would break off how the run ends. These handlers stay until the run is over, and
after an interrupted one nothing is heard any more, down to the exit code.

Any of them asks for an orderly end. Only a person escalates, with a second Ctrl-C: SIGTERM comes
twice by itself (make forwards one, systemd sends one to the whole group), and so does a Ctrl-C
that a wrapper passes on within a second. SIGHUP is not listened to where it was ignored (nohup).
"""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import asyncio

SAME_SECONDS = 1.0  # seconds after the first signal in which another one is the same request
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Listens for the length of a `with` block, in the main thread."""

    def __init__(self) -> None:
        import asyncio  # noqa: PLC0415 - start-up time: every command imports this module

        self.count = 0  # 0: go on, 1: end in order, 2: stop now
        self._first_at = 0.0
        self._told = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._before = {
            number: signal.getsignal(number)
            for number in _NUMBERS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }

    def __enter__(self) -> Self:
        for number in self._before:
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
        """Wait for the next request; returns 1 for an orderly end, 2 for stopping now."""
        import asyncio  # noqa: PLC0415 - imported by then

        self._loop = asyncio.get_running_loop()
        while self.count <= self._told:
            self._news.clear()
            await self._news.wait()
        self._told += 1
        return self._told

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.count:
            self.count, self._first_at = 1, now
        elif number == signal.SIGINT and now - self._first_at >= SAME_SECONDS:
            self.count = 2
        if self._loop is not None and not self._loop.is_closed():
            # From within a signal handler: the loop may be asleep.
            self._loop.call_soon_threadsafe(self._news.set)


def end_undisturbed() -> None:
    """Ignore further signals for good: Python puts only handlers of its own back at its end."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
