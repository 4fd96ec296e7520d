"""Turns and places: what must hold before a request may go, in virtual time."""

from __future__ import annotations

import itertools
import random

import anyio
import anyio.lowlevel
import pytest

from retouch.engine.breaker import OUTAGE_AFTER
from retouch.engine.limiter import LOOK_AGAIN_SECONDS, Limiter, Stop
from retouch.engine.pacing import RETRY_FLOOR
from retouch.errors import RetouchError
from retouch.manifest import Limits
from tests.support.sliding import fullest

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

Sends = list[tuple[float, int, float]]


async def send_all(
    limiter: Limiter, count: int, *, jitter: float = 0.0, seed: int = 1, tokens: float = 0
) -> Sends:
    """Sends so many requests through the limiter at once; each leaves up to `jitter` seconds after
    its turn. Returns (time, images, tokens)."""
    chance, sends, stop = random.Random(seed), Sends(), Stop()

    async def send(images: int, tokens: float, delay: float) -> None:
        permit = await limiter.permit(stop, images=images, tokens=tokens)
        assert permit is not None
        with permit:
            await anyio.sleep(delay)
            permit.leaves()
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
    sends = await send_all(Limiter(limits), 500, jitter=jitter, tokens=1500)
    assert fullest([(at, 1) for at, _, _ in sends]) <= 90
    assert fullest([(at, images) for at, images, _ in sends]) <= 200
    assert fullest([(at, tokens) for at, _, tokens in sends]) <= 100_000


@pytest.mark.parametrize("per_minute", [6, 60, 3000])
async def test_the_only_limit_is_used_to_95_percent(per_minute: int) -> None:
    """What may be sent is sent."""
    limiter = Limiter(Limits(concurrency=1000, requests_per_minute=per_minute))
    count = min(4 * per_minute + 1, 1500)
    sends = await send_all(limiter, count, jitter=0.2)
    minutes = (sends[-1][0] - sends[0][0]) / 60
    assert (count - 1) / minutes >= 0.95 * per_minute


async def test_turns_come_in_the_order_they_were_asked_for() -> None:
    """Nobody waits forever behind those who came later."""
    limiter, order = Limiter(Limits(concurrency=9, requests_per_minute=60)), []

    async def one(number: int) -> None:
        assert await limiter.permit(Stop()) is not None
        order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(9):
            group.start_soon(one, number)
            await anyio.lowlevel.checkpoint()
    assert order == list(range(9))


async def test_retry_after_holds_the_whole_lane_and_then_lets_out_no_burst() -> None:
    """Nothing goes for as long as the server asked; what waited goes on evenly spaced."""
    limiter, times = Limiter(Limits(concurrency=99, requests_per_minute=60)), []

    async def one() -> None:
        permit = await limiter.permit(Stop())
        assert permit is not None
        with permit:
            permit.leaves()
        times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(one)
        await anyio.sleep(5.0)
        limiter.penalize(40.0)
        limiter.penalize(10.0)  # a shorter one changes nothing
        resumes = anyio.current_time() + 40.0
    before = [time for time in times if time < resumes - 1e-6]
    after = [time for time in times if time >= resumes - 1e-6]
    assert len(before) == 5
    gaps = [later - earlier for earlier, later in itertools.pairwise(after)]
    assert min(gaps) >= 1.0


async def test_a_penalty_holds_a_lane_without_limits_too() -> None:
    """Where nothing but concurrency is limited, Retry-After is still honoured."""
    limiter, began = Limiter(Limits(concurrency=2)), anyio.current_time()
    limiter.penalize(30.0)
    assert await limiter.permit(Stop()) is not None
    assert anyio.current_time() - began == pytest.approx(30.0)


async def test_a_stop_ends_all_waiting_for_turns_at_once() -> None:
    """Nobody gets a turn after the stop, and nobody waits for one."""
    limiter, stop, permits = Limiter(Limits(concurrency=99, requests_per_minute=1)), Stop(), []

    async def one() -> None:
        permits.append(await limiter.permit(stop))

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
        await anyio.sleep(1.0)
        stop.set(RetouchError("enough"))
        stop.set(RetouchError("again"))
    assert sum(permit is not None for permit in permits) == 1
    assert anyio.current_time() - began == pytest.approx(1.0)
    assert str(stop.reason) == "enough"


async def test_a_cancelled_wait_takes_nothing() -> None:
    """A request that gave up waiting leaves its turn to the next."""
    limiter = Limiter(Limits(concurrency=9, requests_per_minute=60))
    assert await limiter.permit(Stop()) is not None
    with anyio.move_on_after(0.5):
        await limiter.permit(Stop())
    began = anyio.current_time()
    assert await limiter.permit(Stop()) is not None
    assert anyio.current_time() - began == pytest.approx(0.51, abs=0.01)


async def test_a_turn_that_was_not_used_is_given_back() -> None:
    """A request refused before it was sent does not count against the limit."""
    limiter = Limiter(Limits(concurrency=9, requests_per_minute=2))
    for _ in range(6):
        permit = await limiter.permit(Stop())
        assert permit is not None
        with permit:
            pass
    assert all(each.limit.wait_seconds(anyio.current_time() + 31) == 0 for each in limiter.limited)


async def test_tokens_are_corrected_by_what_the_server_counted() -> None:
    """More than expected holds the lane back; nothing said leaves the expectation."""
    limiter = Limiter(Limits(concurrency=9, tokens_per_minute=1000))
    permit = await limiter.permit(Stop(), tokens=100)
    assert permit is not None
    with permit:
        permit.leaves()
        permit.used(None)
        permit.used(1000)
    began = anyio.current_time()
    assert await limiter.permit(Stop(), tokens=100) is not None
    assert anyio.current_time() - began > 55


async def test_places_are_never_more_than_the_limit_and_all_are_used() -> None:
    """Hundreds of jobs of mixed size through few places: no wake-up is lost."""
    limiter, most, done = Limiter(Limits(concurrency=8)), 0, 0
    chance = random.Random(3)

    async def job(slots: int, seconds: float) -> None:
        nonlocal most, done
        with limiter.placed(slots):
            most = max(most, limiter.in_flight)
            await anyio.sleep(seconds)
            done += 1

    async with anyio.create_task_group() as group:
        for _ in range(300):
            slots = chance.choice([1, 1, 2, 4, 20])
            await limiter.place(slots)
            assert limiter.in_flight <= 8 or limiter.in_flight == slots
            group.start_soon(job, slots, chance.random())
    assert (done, limiter.in_flight) == (300, 0)
    assert most == 20  # the big one, alone


async def test_an_overrun_halves_the_places_once_and_answers_bring_them_back() -> None:
    """All that was in flight at the cut comes back with 429: one cut, not eight."""
    limiter, permits = Limiter(Limits(concurrency=8)), []
    for _ in range(8):
        await limiter.place()
        permit = await limiter.permit(Stop())
        assert permit is not None
        permit.leaves()
        permits.append(permit)
    for permit in permits:
        limiter.overrun(permit)
    assert limiter.concurrency.limit == 4
    permits[0].leaves()  # sent again, and refused again
    limiter.overrun(permits[0])
    assert limiter.concurrency.limit == 2
    for _ in range(200):
        limiter.answered()
    assert limiter.concurrency.limit == 8


async def outage_of(limiter: Limiter) -> None:
    """Enough requests in a row that are not served."""
    for _ in range(OUTAGE_AFTER + 3):
        permit = await limiter.permit(Stop())
        assert permit is not None
        with permit:
            permit.leaves()
            await anyio.sleep(0.1)
            limiter.unserved(permit)


async def test_in_an_outage_single_requests_pass_ever_more_rarely() -> None:
    """Each probe that is not served doubles the pause before the next one."""
    limiter = Limiter(Limits(concurrency=9))
    await outage_of(limiter)
    gaps = []
    for _ in range(4):
        began = anyio.current_time()
        permit = await limiter.permit(Stop())
        assert permit is not None
        gaps.append(anyio.current_time() - began)
        with permit:
            permit.leaves()
            await anyio.sleep(0.1)
            assert limiter.unserved(permit)
    assert gaps == pytest.approx([8, 16, 32, 60])


async def test_only_one_request_probes_at_a_time() -> None:
    """Of those that wait for their turn: the next one passes after another pause."""
    limiter = Limiter(Limits(concurrency=9))
    await outage_of(limiter)
    began = anyio.current_time()
    for number in (1, 2):
        assert await limiter.permit(Stop()) is not None
        assert anyio.current_time() - began == pytest.approx(number * 8)


async def test_who_waits_for_the_next_probe_notices_soon_that_the_outage_is_over() -> None:
    """An answer to another request comes meanwhile: they go on within seconds, not after it."""
    limiter = Limiter(Limits(concurrency=9))
    await outage_of(limiter)
    for _ in range(3):
        limiter.outage.unserved(anyio.current_time() + 1e6, 1e9)  # the next probe is a minute away
    limiter._probe_later()
    began = anyio.current_time()

    async def answer() -> None:
        await anyio.sleep(12)
        limiter.served()

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        assert await limiter.permit(Stop()) is not None
    assert anyio.current_time() - began <= 12 + LOOK_AGAIN_SECONDS


async def test_a_probe_is_within_the_retries_and_counts_as_none() -> None:
    """In an outage every retry is a probe; before and after it they are a few and a tenth."""
    limiter = Limiter(Limits(concurrency=9))
    for _ in range(RETRY_FLOOR):
        assert limiter.may_retry()
    assert not limiter.may_retry()
    await outage_of(limiter)
    assert all(limiter.may_retry() for _ in range(99))
    limiter.served()
    assert limiter.may_retry()  # for the eight requests meanwhile
    assert not limiter.may_retry()
    for _ in range(2):
        assert await limiter.permit(Stop()) is not None
        assert not limiter.may_retry()
    assert await limiter.permit(Stop()) is not None  # the eleventh
    assert limiter.may_retry()
    assert not limiter.may_retry()


async def test_the_longest_penalty_holds() -> None:
    """A shorter one that is asked for later takes nothing from it."""
    limiter = Limiter(Limits(concurrency=9))
    limiter.penalize(30)
    limiter.penalize(5)
    began = anyio.current_time()
    assert await limiter.permit(Stop()) is not None
    assert anyio.current_time() - began == pytest.approx(30)


@pytest.mark.anyio
@pytest.mark.virtual_time
async def test_a_permit_is_for_one_picture_and_no_tokens_unless_it_is_said() -> None:
    """A limit of tokens is not touched by who asks for none; one of pictures, by each for one."""
    tokens = Limiter(Limits(concurrency=99, tokens_per_minute=60))
    pictures = Limiter(Limits(concurrency=99, images_per_minute=60))
    for limiter, seconds in ((tokens, 0.0), (pictures, 19 * 1.01)):
        began = anyio.current_time()
        for _ in range(20):
            permit = await limiter.permit(Stop())
            assert permit is not None
            permit.leaves()
        assert anyio.current_time() - began == pytest.approx(seconds, abs=0.2)
