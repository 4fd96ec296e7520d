"""One purse and one set of limits for many workers, in virtual time; the server's book judges."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.cluster.wire import LEASE_SECONDS
from retouch.manifest import Limits
from tests.support.shared import CLOCKS_APART, LANE, Sea, Worker, lose
from tests.support.sliding import fullest
from tests.support.virtual import run_in_virtual_time

WINDOWS = (1.0, 10.0, 60.0)


def keys(shard: int, count: int) -> list[str]:
    return [f"{shard}-{number}" for number in range(count)]


def kept(sea: Sea, per_minute: float) -> None:
    """No window of the server's holds more than its share."""
    for window in WINDOWS:
        most = math.ceil(per_minute * window / 60)
        assert fullest(sea.arrivals(), window) <= most, window


@pytest.mark.parametrize("per_minute", [60, 600, 2400])
@pytest.mark.parametrize("late", [0.0, 1.0])
def test_the_limit_holds_over_all_workers_and_is_used(per_minute: int, late: float) -> None:
    """Any 1, 10 and 60 s window as the server sees it; at least 95 % used, though every tenth
    request of one worker is late for its slot."""
    jobs = 100 if per_minute < 600 else per_minute * 3 // 4

    async def main() -> Sea:
        sea = Sea(Limits(requests_per_minute=per_minute, concurrency=60))
        workers = [Worker(sea, shard, keys(shard, jobs // 4)) for shard in range(4)]
        workers[0].late = late
        async with anyio.create_task_group() as group:
            for worker in workers:
                group.start_soon(worker.work)
        return sea

    sea = run_in_virtual_time(main, seed=3)
    assert max(Counter(key for _, key in sea.book).values()) == 1
    assert len(sea.book) == jobs // 4 * 4
    kept(sea, per_minute)
    arrived = sorted(at for at, _ in sea.book)
    last = int(len(arrived) * 0.9)  # the end, when fewer ask, is another matter
    assert last / (arrived[last] - arrived[0]) >= 0.95 * per_minute / 60


def test_places_are_never_more_than_the_lanes_concurrency() -> None:
    """Four workers, ten places."""

    async def main() -> tuple[Sea, float]:
        sea = Sea(Limits(concurrency=10))
        async with anyio.create_task_group() as group:
            for shard in range(4):
                group.start_soon(Worker(sea, shard, keys(shard, 100)).work)
        return sea, anyio.current_time()

    sea, seconds = run_in_virtual_time(main, seed=1)
    assert len(sea.book) == 400
    assert sea.most_in_flight <= 10
    assert seconds < 400 / 10 * 0.33  # a request takes 0.2 s: places do not lie idle


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cap=st.integers(1, 60),
    deaths=st.lists(st.tuples(st.integers(0, 2), st.floats(0.1, 8.0)), max_size=3),
    late=st.sampled_from([0.0, 0.5]),
    concurrency=st.integers(1, 12),
)
def test_whoever_dies_nothing_is_bought_twice_and_no_cap_is_passed(
    seed: int, cap: int, deaths: list[tuple[int, float]], late: float, concurrency: int
) -> None:
    """Workers that die, are late and give back: each job at the server once at most, the cap never
    passed by what was charged or may have been, all of it used, the limit kept."""
    limits = Limits(requests_per_minute=600, concurrency=concurrency)
    limit = Decimal(cap) / 10

    async def main() -> tuple[Sea, list[Worker]]:
        sea = Sea(limits, cap=limit, seed=seed)
        workers = [Worker(sea, shard, keys(shard, 20)) for shard in range(3)]
        workers[1].late = late

        async def living(worker: Worker) -> None:
            for at in [at for shard, at in deaths if shard == worker.shard]:
                with anyio.move_on_after(at) as scope:
                    await worker.work()
                if not scope.cancelled_caught:
                    return
                await anyio.sleep(await lose(sea, worker, scope))
            await worker.work()

        async with anyio.create_task_group() as group:
            for worker in workers:
                group.start_soon(living, worker)
        return sea, workers

    sea, workers = run_in_virtual_time(main, seed)
    assert max(Counter(key for _, key in sea.book).values(), default=0) <= 1
    assert len(sea.book) * sea.price <= limit
    purse = sea.holder.purses["budget"]
    assert purse.caps[0].counted <= limit
    assert sum(purse.reserved.values()) == 0
    unknown = sum(list(worker.ledger.values()).count("unknown") for worker in workers)
    assert unknown <= concurrency * max(1, len(deaths))
    done = sum(list(worker.ledger.values()).count("done") for worker in workers)
    assert purse.caps[0].counted == (done + unknown) * sea.price
    assert done + unknown == min(60, cap)
    kept(sea, 600)
    assert sea.holder.lanes[LANE].in_flight == 0


@pytest.mark.parametrize("rate", [None, 600.0])
def test_a_worker_that_is_cut_off_stops_by_itself_before_its_shard_is_done_again(
    rate: float | None,
) -> None:
    """It lives on, with all it was lent: it sends nothing once its lease has run out, and nobody
    takes its shard before. Nothing is bought twice, nothing is left."""
    cut = 1.5

    async def main() -> tuple[Sea, dict[str, str], float]:
        sea = Sea(Limits(requests_per_minute=rate, concurrency=6), cap=Decimal(10))
        sea.cut[1] = cut
        zombie = Worker(sea, 1, keys(1, 60))
        async with anyio.create_task_group() as group:
            group.start_soon(zombie.work)
            await anyio.sleep(cut + 0.5)
            await anyio.sleep(sea.holder.is_lost(1, anyio.current_time() + CLOCKS_APART))
            begun_again = anyio.current_time()
            await Worker(sea, 1, zombie.jobs, ledger=zombie.ledger).work()
        return sea, zombie.ledger, begun_again

    sea, ledger, begun_again = run_in_virtual_time(main, seed=2)
    arrived = Counter(key for _, key in sea.book)
    assert max(arrived.values()) == 1
    assert set(ledger) == set(keys(1, 60))
    assert cut + LEASE_SECONDS * 0.9 < begun_again
    early = [at for at, _ in sea.book if at < begun_again]
    assert max(early) < cut + LEASE_SECONDS
    assert len(early) < 60
