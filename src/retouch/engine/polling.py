"""One scheduler for all Tasks of a lane: polls are free, but never many timers and never a rush.

A Job hands in its Task and waits; the scheduler asks when each is due, at most a few at once and so
many a second, the one first that has been due longest: of ten thousand none waits forever. It gives
the Job the reading that ends it. What is only a broken poll is asked again until the
Task's deadline, and so is what a service says that has not caught up with itself: no such task,
just after it was accepted, and done without a picture or a reason.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from retouch.dialects.base import Pending, Produced, Rejected, Unreadable
from retouch.engine.limiter import Stop
from retouch.engine.pacing import PollPace

PollReading = Produced | Pending | Rejected | Unreadable
AT_ONCE = 8
A_SECOND = 200  # polls of a lane, evenly: ten thousand Tasks due at once are no rush at the server
POLL_SECONDS = 30.0  # seconds for one poll; a poll that fails is repeated
_LATE_SECONDS = 0.1  # of a late loop that are caught up with
HELD_SECONDS = 2.0  # a poll that takes longer holds up no other


@dataclass(frozen=True, slots=True)
class Answer:
    """One poll's reading, and how long the server asked to be left alone (seconds)."""

    reading: PollReading
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The Task did not end before its deadline; it may be asked for again by a later run."""

    waited_seconds: float
    last_status: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The Task is left to the next run: it goes on at the server and stays on file."""


Ending = Produced | Rejected | TimedOut | Stopped


@dataclass(slots=True)
class _Waiting:
    task: str
    began: float
    ask: Callable[[], Awaitable[Answer]]
    is_new: bool
    asked: int = 0
    status: str = "not asked yet"
    ending: Ending | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)


class Polls:
    """The Tasks of one lane that are waited for; `run` is its loop, in the lane's task group."""

    def __init__(
        self,
        pace: PollPace,
        timeout_seconds: float,
        stop: Stop,
        chance: random.Random,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pace = pace
        self._timeout = timeout_seconds
        self._stop = stop
        self._chance = chance
        self._warn = warn
        self._warned: set[str] = set()  # an unknown status is told once, not once a Task
        self._due: list[tuple[float, int, _Waiting]] = []
        self._sequence = 0
        self._news = anyio.Event()
        self._free = AT_ONCE
        self._next = float("-inf")  # when the next poll may begin

    async def ending(
        self, task: str, ask: Callable[[], Awaitable[Answer]], *, is_new: bool = False
    ) -> Ending:
        """Wait until the Task ends, its deadline comes or Tasks are left to the next run.

        `is_new`: it was accepted just now, so it is not gone when the service does not know it.
        """
        waiting = _Waiting(task, anyio.current_time(), ask, is_new)
        self._schedule(waiting, min(self._timeout, self._pace.wait_seconds(0, self._chance)))
        await waiting.ended.wait()
        return waiting.ending or Stopped()

    async def run(self) -> None:
        """Ask for what is due, until cancelled or Tasks are left to the next run."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._wake_on_stop)
            while not self._stop.leaves_tasks:
                self._news = anyio.Event()
                pause = self._begin_due(group)
                with anyio.move_on_after(pause):
                    await self._news.wait()
            for _, _, waiting in self._due:
                self._end(waiting, Stopped())
            self._due.clear()
            group.cancel_scope.cancel()

    def _begin_due(self, group: TaskGroup) -> float:
        """Begin the polls that are due and have a place; seconds until there may be more."""
        now = anyio.current_time()
        while self._due and self._free:
            begins = max(self._due[0][0], self._next)
            if begins > now:
                return begins - now
            self._next = max(begins, now - _LATE_SECONDS) + 1 / A_SECOND
            self._free -= 1
            group.start_soon(self._poll, heapq.heappop(self._due)[2], group)
        return float("inf")  # until news comes: of a Task, or of a place

    async def _wake_on_stop(self) -> None:
        await self._stop.wait_until_tasks_are_left()
        self._news.set()

    async def _poll(self, waiting: _Waiting, group: TaskGroup) -> None:
        answered = anyio.Event()
        try:
            group.start_soon(self._hold_a_place, answered)
            answer = await waiting.ask()
        except BaseException:
            self._end(waiting, Stopped())
            raise
        finally:
            answered.set()
        waiting.asked += 1
        self._take(waiting, answer)

    async def _hold_a_place(self, answered: anyio.Event) -> None:
        with anyio.move_on_after(HELD_SECONDS):
            await answered.wait()
        self._free += 1
        self._news.set()

    def _take(self, waiting: _Waiting, answer: Answer) -> None:
        """Decide what a reading means: an end, or one more poll."""
        match answer.reading:
            case Produced() as produced if produced.pictures or _is_empty_for_good(produced):
                self._pace.finished(anyio.current_time() - waiting.began)
                return self._end(waiting, produced)
            case Produced():
                waiting.status = "done, without a picture"
            case Rejected(kind="expired") as rejected if waiting.is_new:
                waiting.status = rejected.message
            case Rejected() as rejected if not rejected.retry_safe:
                return self._end(waiting, rejected)
            case Rejected() as rejected:
                waiting.status = rejected.message
            case Unreadable(message=message):
                waiting.status = message
            case Pending(status=status, warning=warning):
                waiting.status = status
                if warning and warning not in self._warned:
                    self._warned.add(warning)
                    self._warn(warning)
        wait = max(
            self._pace.wait_seconds(waiting.asked, self._chance), answer.retry_after_seconds or 0.0
        )
        left = waiting.began + self._timeout - anyio.current_time()
        if left <= 0:
            taken = anyio.current_time() - waiting.began
            return self._end(waiting, TimedOut(taken, waiting.status))
        return self._schedule(waiting, min(wait, left))

    def _schedule(self, waiting: _Waiting, seconds: float) -> None:
        if self._stop.leaves_tasks:
            self._end(waiting, Stopped())
            return
        self._sequence += 1
        due = anyio.current_time() + seconds
        heapq.heappush(self._due, (due, self._sequence, waiting))
        if self._due[0][2] is waiting:  # otherwise the loop wakes in time by itself
            self._news.set()

    def _end(self, waiting: _Waiting, ending: Ending) -> None:
        waiting.ending = ending
        waiting.ended.set()


def _is_empty_for_good(produced: Produced) -> bool:
    """Whether the service says why there is no picture, or that it counted none."""
    return bool(produced.reason) or produced.usage.images == 0
