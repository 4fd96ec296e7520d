"""Tasks polled to their end by one scheduler, in virtual time."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest

from retouch.dialects.base import LinkedPicture, Pending, Produced, Rejected, Unreadable, Usage
from retouch.engine.limiter import Stop
from retouch.engine.pacing import PollPace
from retouch.engine.polling import (
    A_SECOND,
    AT_ONCE,
    Answer,
    Ending,
    PollReading,
    Polls,
    Stopped,
    TimedOut,
)
from retouch.errors import RetouchError

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

DONE = Produced((LinkedPicture("https://e.com/1.png"),), Usage(images=1))
PENDING = Pending("processing")
PASSING = Rejected("transient", 503, None, "try later", retry_safe=True)
GONE = Rejected("expired", 404, None, "no such task")


class Desk:
    """Polls that run while the block does; what was warned of is kept."""

    def __init__(self, timeout: float = 900.0, interval: float = 2.0) -> None:
        self.stop = Stop()
        self.warnings: list[str] = []
        self.polls = Polls(
            PollPace(interval), timeout, self.stop, random.Random(5), self.warnings.append
        )

    async def ending(self, readings: Sequence[PollReading | float]) -> tuple[Ending, list[float]]:
        """How a Task ends that is read so, the last reading again and again; and when it was
        asked for. A number is a Retry-After beside a pending reading."""
        asked: list[float] = []

        async def ask() -> Answer:
            reading = readings[min(len(asked), len(readings) - 1)]
            asked.append(anyio.current_time())
            if isinstance(reading, float):
                return Answer(PENDING, reading)
            return Answer(reading)

        return await self.polls.ending("task", ask), asked

    async def during(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` while the polls run."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.polls.run)
            await work()
            group.cancel_scope.cancel()


@pytest.mark.parametrize("ending", [DONE, GONE], ids=["produced", "rejected"])
async def test_a_task_is_asked_for_until_it_ends(ending: PollReading) -> None:
    """Pending, errors that may pass and unreadable replies are only a reason to ask again."""
    desk = Desk()

    async def work() -> None:
        ended, asked = await desk.ending([PENDING, PASSING, Unreadable("<html>"), ending])
        assert ended == ending
        assert len(asked) == 4
        gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert gaps == sorted(gaps)  # backs off: 2, 3, 4.5 s and a fifth of jitter

    await desk.during(work)


async def test_the_deadline_is_met_exactly_and_says_the_last_status() -> None:
    """The last poll is at the deadline: a Task that ended in time is never missed."""
    desk, began = Desk(timeout=100.0), anyio.current_time()

    async def work() -> None:
        ended, asked = await desk.ending([PASSING])
        assert isinstance(ended, TimedOut)
        assert (round(ended.waited_seconds, 6), ended.last_status) == (100.0, "try later")
        assert asked[-1] - began == pytest.approx(100.0)

    await desk.during(work)


async def test_a_first_wait_longer_than_the_deadline_ends_at_it() -> None:
    """What Tasks of this lane usually take does not let one sleep past its deadline."""
    desk, began = Desk(timeout=10.0, interval=60.0), anyio.current_time()

    async def work() -> None:
        ended, asked = await desk.ending([DONE])
        assert ended == DONE
        assert asked == [began + 10.0]

    await desk.during(work)


async def test_retry_after_is_waited_for() -> None:
    """A server that asks to be left alone for 120 s is."""
    desk = Desk()

    async def work() -> None:
        _, asked = await desk.ending([120.0, DONE])
        assert asked[1] - asked[0] == pytest.approx(120.0)

    await desk.during(work)


async def test_a_stop_ends_every_wait_at_once_and_new_tasks_too() -> None:
    """The Tasks go on at the server; nobody here waits for them any more."""
    desk, endings = Desk(), list[Ending]()
    began = anyio.current_time()

    async def one() -> None:
        endings.append((await desk.ending([PENDING]))[0])

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(one)
            await anyio.sleep(11)
            desk.stop.set(RetouchError("stop"))
        await one()

    await desk.during(work)
    assert endings == [Stopped()] * 31
    assert anyio.current_time() - began == pytest.approx(11)


async def test_a_stop_during_a_poll_ends_it() -> None:
    """A poll that hangs does not hold up the stop."""
    desk, endings = Desk(), list[Ending]()

    async def ask() -> Answer:
        await anyio.sleep(1000)
        return Answer(DONE)

    async def wait() -> None:
        endings.append(await desk.polls.ending("task", ask))

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(10)
            desk.stop.set(RetouchError("stop"))

    await desk.during(work)
    assert endings == [Stopped()]


async def test_an_unknown_status_is_said_once() -> None:
    """A thousand polls of a hundred Tasks with one status nobody knows: one warning."""
    desk = Desk()
    odd = Pending("queued", "unknown status 'queued'")

    async def one() -> None:
        await desk.ending([odd] * 10 + [Pending("held", "unknown status 'held'"), DONE])

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(one)

    await desk.during(work)
    assert desk.warnings == ["unknown status 'queued'", "unknown status 'held'"]


async def test_many_tasks_are_one_scheduler_and_few_polls_at_once() -> None:
    """Hundreds of Tasks: no timer each, never more than a few polls in flight, all end."""
    desk, in_flight, most, tasks = Desk(), 0, 0, 0
    chance = random.Random(2)

    async def one(ends: float) -> None:
        async def ask() -> Answer:
            nonlocal in_flight, most, tasks
            in_flight += 1
            most = max(most, in_flight)
            tasks = max(tasks, anyio.get_current_task().id and len(desk.polls._due))
            await anyio.sleep(0.05)
            in_flight -= 1
            return Answer(DONE if anyio.current_time() >= ends else PENDING)

        assert await desk.polls.ending("task", ask) == DONE

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(one, anyio.current_time() + chance.uniform(1, 60))

    await desk.during(work)
    assert most == AT_ONCE
    assert tasks > 50


async def test_places_that_polls_gave_back_are_all_taken_again() -> None:
    """As many at once after the first have been answered as before."""
    desk, in_flight = Desk(interval=1.0), 0
    most: dict[int, int] = {}
    began = 0.0

    async def one() -> None:
        async def ask() -> Answer:
            nonlocal in_flight
            in_flight += 1
            second = int(anyio.current_time() - began)
            most[second] = max(most.get(second, 0), in_flight)
            await anyio.sleep(1.5)
            in_flight -= 1
            return Answer(PENDING)

        await desk.polls.ending("task", ask)

    async def work() -> None:
        nonlocal began
        began = anyio.current_time()
        with anyio.move_on_after(40):
            async with anyio.create_task_group() as group:
                for _ in range(30):
                    group.start_soon(one)

    await desk.during(work)
    assert max(most[second] for second in most if second > 10) == AT_ONCE
    assert min(most[second] for second in most if 10 < second < 15) == AT_ONCE


async def test_first_polls_come_later_where_tasks_take_long() -> None:
    """Once a Task has taken a minute, the next is not asked for every two seconds."""
    desk, began = Desk(), anyio.current_time()

    async def work() -> None:
        await desk.ending([PENDING] * 12 + [DONE])
        taken = anyio.current_time() - began
        started = anyio.current_time()
        _, asked = await desk.ending([DONE])
        assert asked[0] - started == pytest.approx(0.7 * taken)

    await desk.during(work)


async def test_polls_that_hang_hold_up_no_other() -> None:
    """Eight that never answer cost another Task of their lane two seconds, not their timeout."""

    async def hangs() -> Answer:
        await anyio.sleep_forever()
        raise AssertionError

    async def answers() -> Answer:
        return Answer(Rejected("content", 400, None, "no"))

    polls = Polls(PollPace(1.0), 600.0, Stop(), random.Random(0))
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(polls.run)
        for index in range(8):
            group.start_soon(polls.ending, f"hung-{index}", hangs)
        await anyio.sleep(0.1)
        ending = await polls.ending("other", answers)
        waited = anyio.current_time() - began
        group.cancel_scope.cancel()
    assert isinstance(ending, Rejected)
    assert waited < 5


async def test_tasks_due_at_once_are_asked_for_evenly_and_none_is_starved() -> None:
    """A thousand accepted in one moment, at a server that answers at once: never more polls in a
    second than allowed, none asked for twice before every other was once, and no Task that waits
    longer than its turn and its pause take."""
    desk, count = Desk(timeout=10_000.0), 1000
    chance = random.Random(3)
    asked: dict[int, list[float]] = {number: [] for number in range(count)}
    took: dict[int, float] = {}

    async def one(number: int, ends: float) -> None:
        async def ask() -> Answer:
            asked[number].append(anyio.current_time())
            await anyio.sleep(0.01)
            return Answer(DONE if anyio.current_time() >= ends else PENDING)

        assert await desk.polls.ending(str(number), ask) == DONE
        took[number] = anyio.current_time() - ends

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(one, number, anyio.current_time() + chance.uniform(1, 40))

    await desk.during(work)
    times = sorted(moment for moments in asked.values() for moment in moments)
    assert max(bisect_right(times, at + 1 - 1e-6) - place for place, at in enumerate(times)) <= (
        A_SECOND + 1
    )
    assert bisect_right(times, times[0] + 5) >= 0.98 * 5 * A_SECOND  # and as many as are allowed
    seconds = [moments[1] for moments in asked.values() if len(moments) > 1]
    assert max(moments[0] for moments in asked.values()) <= min(seconds)
    assert max(took.values()) < count / A_SECOND + 8 * 2 * 1.2 + 1  # a turn, and the longest pause


class Even(random.Random):
    """Always the middle of what may be."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


async def test_a_task_is_asked_for_ever_more_rarely_up_to_a_cap() -> None:
    """Each pause is half as long again as the one before, from the interval to eight times it."""
    stop = Stop()
    polls, asked = Polls(PollPace(2.0), 200.0, stop, Even()), list[float]()
    began = anyio.current_time()

    async def ask() -> Answer:
        asked.append(anyio.current_time() - began)
        return Answer(PENDING)

    async with anyio.create_task_group() as group:
        group.start_soon(polls.run)
        assert isinstance(await polls.ending("task", ask), TimedOut)
        group.cancel_scope.cancel()
    gaps = [later - one for one, later in itertools.pairwise(asked)]
    assert asked[0] == pytest.approx(2)
    assert gaps[:-1] == pytest.approx([2, 3, 4.5, 6.75, 10.125, 15.1875, *[16] * 9])
    assert asked[-1] == pytest.approx(200)


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Pending("processing"), "processing"),
        (PASSING, "try later"),
        (GONE, "no such task"),
        (Unreadable("an HTML page"), "an HTML page"),
        (Produced((), Usage()), "done, without a picture"),
    ],
)
async def test_what_was_said_last_is_told_when_the_time_is_over(
    reading: PollReading, said: str
) -> None:
    """Of a Task that was accepted just now, and never ends."""
    polls = Polls(PollPace(2.0), 20.0, Stop(), Even())

    async def ask() -> Answer:
        return Answer(reading)

    async with anyio.create_task_group() as group:
        group.start_soon(polls.run)
        ended = await polls.ending("task", ask, is_new=True)
        group.cancel_scope.cancel()
    assert isinstance(ended, TimedOut)
    assert ended.last_status == said
