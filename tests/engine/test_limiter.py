"""Turns and places: what must hold before a request may go, in virtual time."""

from __future__ import annotations

import itertools
import random

import anyio
import anyio.lowlevel
import pytest

from retouch.engine.limiter import Gate, Stop
from retouch.errors import RetouchError
from retouch.manifest import Limits
from tests.support.sliding import fullest

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

Sends = list[tuple[float, int, float]]


async def send_all(
    gate: Gate, count: int, *, jitter: float = 0.0, seed: int = 1, tokens: float = 0
) -> Sends:
    """Sends so many requests through the gate at once; each leaves up to `jitter` seconds after
    its turn. Returns (time, images, tokens)."""
    chance, sends, stop = random.Random(seed), Sends(), Stop()

    async def send(images: int, tokens: float, delay: float) -> None:
        turn = await gate.turn(stop, images=images, tokens=tokens)
        assert turn is not None
        with turn:
            await anyio.sleep(delay)
            turn.leaves()
            sends.append((anyio.current_time(), images, tokens))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(
                send,
                chance.randint(1, 4),
                chance.uniform(0.5, 1) * tokens,
                chance.random() * jitter,
            )
    return sends


@pytest.mark.parametrize("jitter", [0.0, 0.5, 7.0])
async def test_every_limit_is_kept_at_once_whatever_passes_before_the_send(jitter: float) -> None:
    """Requests, images and tokens: no sliding minute of actual sends holds more than any."""
    limits = Limits(
        concurrency=500,
        requests_per_minute=90,
        images_per_minute=200,
        tokens_per_minute=100_000,
    )
    sends = await send_all(Gate(limits), 500, jitter=jitter, tokens=1500)
    assert fullest([(at, 1) for at, _, _ in sends]) <= 90
    assert fullest([(at, images) for at, images, _ in sends]) <= 200
    assert fullest([(at, tokens) for at, _, tokens in sends]) <= 100_000


@pytest.mark.parametrize("per_minute", [6, 60, 3000])
async def test_the_only_limit_is_used_to_95_percent(per_minute: int) -> None:
    """What may be sent is sent."""
    gate = Gate(Limits(concurrency=1000, requests_per_minute=per_minute))
    count = min(4 * per_minute + 1, 1500)
    sends = await send_all(gate, count, jitter=0.2)
    minutes = (sends[-1][0] - sends[0][0]) / 60
    assert (count - 1) / minutes >= 0.95 * per_minute


async def test_turns_come_in_the_order_they_were_asked_for() -> None:
    """Nobody waits forever behind those who came later."""
    gate, order = Gate(Limits(concurrency=9, requests_per_minute=60)), []

    async def one(number: int) -> None:
        assert await gate.turn(Stop()) is not None
        order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(9):
            group.start_soon(one, number)
            await anyio.lowlevel.checkpoint()
    assert order == list(range(9))


async def test_retry_after_holds_the_whole_lane_and_then_lets_out_no_burst() -> None:
    """Nothing goes for as long as the server asked; what waited goes on evenly spaced."""
    gate, times = Gate(Limits(concurrency=99, requests_per_minute=60)), []

    async def one() -> None:
        turn = await gate.turn(Stop())
        assert turn is not None
        with turn:
            turn.leaves()
        times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(one)
        await anyio.sleep(5.0)
        gate.penalize(40.0)
        gate.penalize(10.0)  # a shorter one changes nothing
        resumes = anyio.current_time() + 40.0
    before = [time for time in times if time < resumes - 1e-6]
    after = [time for time in times if time >= resumes - 1e-6]
    assert len(before) == 5
    gaps = [later - earlier for earlier, later in itertools.pairwise(after)]
    assert min(gaps) >= 1.0


async def test_a_penalty_holds_a_lane_without_limits_too() -> None:
    """Where nothing but concurrency is limited, Retry-After is still honoured."""
    gate, began = Gate(Limits(concurrency=2)), anyio.current_time()
    gate.penalize(30.0)
    assert await gate.turn(Stop()) is not None
    assert anyio.current_time() - began == pytest.approx(30.0)


async def test_a_stop_ends_all_waiting_for_turns_at_once() -> None:
    """Nobody gets a turn after the stop, and nobody waits for one."""
    gate, stop, turns = Gate(Limits(concurrency=99, requests_per_minute=1)), Stop(), []

    async def one() -> None:
        turns.append(await gate.turn(stop))

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
        await anyio.sleep(1.0)
        stop.set(RetouchError("enough"))
        stop.set(RetouchError("again"))
    assert sum(turn is not None for turn in turns) == 1
    assert anyio.current_time() - began == pytest.approx(1.0)
    assert str(stop.reason) == "enough"


async def test_a_cancelled_wait_takes_nothing() -> None:
    """A request that gave up waiting leaves its turn to the next."""
    gate = Gate(Limits(concurrency=9, requests_per_minute=60))
    assert await gate.turn(Stop()) is not None
    with anyio.move_on_after(0.5):
        await gate.turn(Stop())
    began = anyio.current_time()
    assert await gate.turn(Stop()) is not None
    assert anyio.current_time() - began == pytest.approx(0.51, abs=0.01)


async def test_a_turn_that_was_not_used_is_given_back() -> None:
    """A request refused before it was sent does not count against the limit."""
    gate = Gate(Limits(concurrency=9, requests_per_minute=2))
    for _ in range(6):
        turn = await gate.turn(Stop())
        assert turn is not None
        with turn:
            pass
    assert all(each.limit.wait_seconds(anyio.current_time() + 31) == 0 for each in gate.limited)


async def test_tokens_are_corrected_by_what_the_server_counted() -> None:
    """More than expected holds the lane back; nothing said leaves the expectation."""
    gate = Gate(Limits(concurrency=9, tokens_per_minute=1000))
    turn = await gate.turn(Stop(), tokens=100)
    assert turn is not None
    with turn:
        turn.leaves()
        turn.used(None)
        turn.used(1000)
    began = anyio.current_time()
    assert await gate.turn(Stop(), tokens=100) is not None
    assert anyio.current_time() - began > 55


async def test_places_are_never_more_than_the_limit_and_all_are_used() -> None:
    """Hundreds of jobs of mixed size through few places: no wake-up is lost."""
    gate, most, done = Gate(Limits(concurrency=8)), 0, 0
    chance = random.Random(3)

    async def job(slots: int, seconds: float) -> None:
        nonlocal most, done
        with gate.placed(slots):
            most = max(most, gate.in_flight)
            await anyio.sleep(seconds)
            done += 1

    async with anyio.create_task_group() as group:
        for _ in range(300):
            slots = chance.choice([1, 1, 2, 4, 20])
            await gate.place(slots)
            assert gate.in_flight <= 8 or gate.in_flight == slots
            group.start_soon(job, slots, chance.random())
    assert (done, gate.in_flight) == (300, 0)
    assert most == 20  # the big one, alone


async def test_an_overrun_halves_the_places_once_and_answers_bring_them_back() -> None:
    """All that was in flight at the cut comes back with 429: one cut, not eight."""
    gate, turns = Gate(Limits(concurrency=8)), []
    for _ in range(8):
        await gate.place()
        turn = await gate.turn(Stop())
        assert turn is not None
        turn.leaves()
        turns.append(turn)
    for turn in turns:
        gate.overrun(turn)
    assert gate.concurrency.limit == 4
    turns[0].leaves()  # sent again, and refused again
    gate.overrun(turns[0])
    assert gate.concurrency.limit == 2
    for _ in range(200):
        gate.answered()
    assert gate.concurrency.limit == 8
