"""Workers' hands on a real provider and real files, without Ray: what a shard's run does with what
the holder lends. The oracle is the provider's book."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from retouch.cli.hands import MARK, ShardHands
from retouch.cluster.wire import Reason, Report
from retouch.errors import BudgetReached, Interrupted, Refused, WorkRefused
from retouch.ledger import read
from tests.e2e.house import House, house
from tests.support.crews import Office, office

MODEL = (
    "  - {model: gemini-2.5-flash-image, price: {currency: CNY, per_image: 0.1}, "
    "limits: {concurrency: 6}}"
)


def bought(place: House) -> Counter[str]:
    return Counter(charge.request for charge in place.book)


def test_a_budget_is_one_for_all_shards_and_all_of_it_is_used(tmp_path: Path) -> None:
    """A budget of 1.25 buys twelve pictures of 0.1, whichever shards they fall in."""
    with house(tmp_path, seconds=0.05) as place:
        place.pictures(30)
        place.manifest(MODEL, run="{budget: {amount: 1.25, currency: CNY}}")
        with office(place, 4) as run:
            anyio.run(run.all)
        assert len(place.book) == len(bought(place)) == 12
        reasons = [end.summary.stopped for end in run.ends.values()]
        assert any(isinstance(reason, BudgetReached) for reason in reasons), reasons
        purse = run.holder.purses["budget"]
        assert purse.caps[0].counted == Decimal("1.2")
        assert sum(purse.reserved.values()) == 0
        assert read(place.outputs / "ledger.jsonl").counts() == {"done": 12}


def test_places_in_flight_are_one_lot_for_all_shards(tmp_path: Path) -> None:
    with house(tmp_path, seconds=0.1) as place:
        place.pictures(24)
        place.manifest(MODEL)
        with office(place, 4) as run:
            anyio.run(run.all)
        assert len(bought(place)) == 24
        begun = read(place.outputs / "ledger.jsonl")
        assert begun.counts() == {"done": 24}
        assert run.holder.lanes["gemini-2.5-flash-image"].in_flight == 0


def test_what_a_lost_worker_had_reserved_is_settled_by_its_ledger(tmp_path: Path) -> None:
    """It dies in the midst of its requests: done ones count what they cost, those in flight their
    ceiling, and the rest of the shard is done by another, within the budget."""
    with house(tmp_path, seconds=1.0) as place:
        place.pictures(12)
        place.manifest(MODEL, run="{budget: {amount: 5, currency: CNY}}")
        with office(place, 1) as run:
            anyio.run(_die_and_go_on, run, place)
        state = read(place.outputs / "ledger.jsonl")
        counts = state.counts()
        assert max(bought(place).values()) == 1
        assert counts["done"] + counts["unknown"] == 12
        assert 0 < counts["unknown"] <= 6
        purse = run.holder.purses["budget"]
        assert purse.caps[0].counted == state.counted("CNY").amount
        assert sum(purse.reserved.values()) == 0


async def _die_and_go_on(run: Office, place: House) -> None:
    """What is in flight when a worker is killed has no end on file: its records stop."""
    async with anyio.create_task_group() as group:
        group.start_soon(run.shard, 1)
        part = place.outputs / "ledger.1-of-1.jsonl"
        while len(place.book) < 3 or not read(part).counts()["sent"]:  # noqa: ASYNC110 - files
            await anyio.sleep(0.01)
        await anyio.sleep(0.3)  # they leave; their answers take a second
        group.cancel_scope.cancel()
    run.holder.is_lost(1, anyio.current_time())
    await run.shard(1)


@pytest.mark.parametrize(
    "what", ["another outputs folder", "no outputs folder", "another manifest"]
)
def test_a_worker_that_sees_other_files_than_the_driver_sends_nothing(
    tmp_path: Path, what: str
) -> None:
    with house(tmp_path) as place:
        place.pictures(2)
        place.manifest(MODEL)
        with office(place, 2) as run:
            order = run.order
            if what == "another outputs folder":
                (place.outputs / MARK).write_text("another run")
            elif what == "no outputs folder":
                order = replace(order, outputs=tmp_path / "elsewhere")
            else:
                place.manifest(MODEL, prompts=2)
            with pytest.raises(Refused, match="worker") as refused:
                ShardHands(order).prepare({"OPENAI_API_KEY": "sk-test-0123456789"})
            assert "one file system" in refused.value.hint
        assert not place.book


@pytest.mark.parametrize("lane", [None, "gemini-2.5-flash-image"])
def test_what_stops_one_shard_stops_all(tmp_path: Path, lane: str | None) -> None:
    """A lane or the run is stopped in another shard: nothing new is sent in any, what is in flight
    ends and is kept, and each says why."""
    with house(tmp_path, seconds=0.3) as place:
        place.pictures(40)
        place.manifest(MODEL, prompts=10)  # no shard is through with its part before the stop
        with office(place, 3) as run:
            anyio.run(_stop_from_elsewhere, run, place, lane)
        for end in run.ends.values():
            stops = end.summary.lane_stops if lane else {lane: end.summary.stopped}
            assert isinstance(stops[lane], WorkRefused), end
        counts = read(place.outputs / "ledger.jsonl").counts()
        assert counts["done"] == len(place.book) < 400
        assert not counts["unknown"]


async def _stop_from_elsewhere(run: Office, place: House, lane: str | None) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run.all)
        part = place.outputs / "ledger.1-of-1.jsonl"
        while len(place.book) < 3 or not read(part).counts()["sent"]:  # noqa: ASYNC110 - files
            await anyio.sleep(0.01)
        await anyio.sleep(0.3)  # they leave; their answers take a second
        other = run.holder.begin(4, anyio.current_time())
        why = Reason.of(WorkRefused("the model serves nothing any more"))
        await run.exchange(Report(4, other.holding, stops=((lane, why),)))


def test_ending_now_leaves_what_is_in_flight_unknown_in_every_shard(tmp_path: Path) -> None:
    """As after a second Ctrl-C: nobody waits for the answers, and every one is held."""
    with house(tmp_path, seconds=90.0) as place:
        place.pictures(20)
        place.manifest(MODEL)
        with office(place, 3) as run:
            anyio.run(_end_now, run, place)
        counts = read(place.outputs / "ledger.jsonl").counts()
        assert counts == {"unknown": place.posts_arrived()}
        assert all(isinstance(end.summary.stopped, Interrupted) for end in run.ends.values())


async def _end_now(run: Office, place: House) -> None:
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(run.all)
            while place.posts_arrived() < 6:  # noqa: ASYNC110 - another process's book
                await anyio.sleep(0.01)
            reason = Reason.of(Interrupted("interrupted; run again to go on"))
            run.holder.stop(reason)
            run.holder.stop(reason, now=True)
