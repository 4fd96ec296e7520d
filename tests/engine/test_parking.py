"""A lane whose daily quota is gone parks; a deadline stops starting in time. In virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.summary import RunOptions
from retouch.errors import BudgetReached, DeadlineReached, Interrupted, Refused
from retouch.ledger.records import Failed
from retouch.manifest import Limits, RunSettings
from retouch.money import Money
from tests.support.provider import Mishap, Provider
from tests.support.workbench import GEMINI, KLING, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

ONE = Limits(concurrency=1)
BODY = b'{"error":{"message":"daily quota exceeded for this model","type":"quota_exceeded"}}'


def quota_gone_after(answered: int, *headers: tuple[str, str]) -> Iterator[Mishap | None]:
    """So many requests are answered, then the day's allowance is used up."""
    yield from [None] * answered
    while True:
        yield Mishap(429, BODY, (("content-type", "application/json"), *headers))


async def test_a_lane_without_quota_parks_and_the_others_go_on(in_memory: Path) -> None:
    """One refusal is enough; what is left is sent by the next run, what is done stays done."""
    provider = Provider(seconds=1.0, mishaps=quota_gone_after(3), mishaps_of=GEMINI)
    work = Bench(in_memory, provider)
    lanes = [lane(GEMINI, 10, limits=ONE), lane(KLING, 6, limits=ONE)]
    summary = await work.run(lanes)
    assert summary.exit_code == 4
    assert summary.stopped is None
    assert isinstance(summary.lane_stops[GEMINI], Refused)
    assert Counter(charge.model for charge in provider.book) == {GEMINI: 3, KLING: 6}
    assert len(provider.posts) == 3 + 1 + 6
    assert summary.settled == {GEMINI: 3, KLING: 6}
    assert summary.ended["failed"] == 0  # nothing is wrong with the job that was refused
    provider.mishaps = iter(())
    again = await work.run(lanes)
    assert again.exit_code == 0
    assert Counter(charge.model for charge in provider.book) == {GEMINI: 10, KLING: 6}


@pytest.mark.parametrize(
    ("said", "hours"), [("18000", 5), (None, None), ("-5", None), ("soon", None), ("99999999", 744)]
)
async def test_when_to_come_back_is_told_if_the_server_said_so(
    in_memory: Path, said: str | None, hours: int | None
) -> None:
    """Retry-After beyond what a run would wait for is a time of day, capped at a month."""
    headers = () if said is None else (("retry-after", said),)
    provider = Provider(mishaps=quota_gone_after(0, *headers))
    work = Bench(in_memory, provider)
    before = datetime.now(UTC)
    summary = await work.run([lane(GEMINI, 5, limits=ONE)])
    hint = summary.lane_stops[GEMINI].hint
    if hours is None:
        assert hint == ""
    else:
        told = datetime.strptime(hint.split("after ")[1][:16], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        assert abs(told - before - timedelta(hours=hours)) <= timedelta(minutes=2)
    assert len(provider.posts) == 1


async def test_requests_in_flight_when_the_quota_goes_are_left_too(in_memory: Path) -> None:
    """All that were out at once are refused once each: none of them final, none charged."""
    provider = Provider(seconds=2.0, mishaps=quota_gone_after(0))
    work = Bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 40, limits=Limits(concurrency=4))])
    assert len(provider.posts) == 4
    assert summary.settled[GEMINI] == 0
    assert not any(one.final for one in work.records if isinstance(one, Failed))
    assert not work.state.open_charges


async def test_a_lane_that_parks_fetches_what_it_has_paid_for(in_memory: Path) -> None:
    """Tasks that were accepted before the quota was gone are polled to their end by this run."""
    provider = Provider(seconds=1.0, task_seconds=30.0, mishaps=quota_gone_after(3))
    work = Bench(in_memory, provider)
    summary = await work.run([lane(KLING, 10, limits=Limits(requests_per_minute=30))])
    assert isinstance(summary.lane_stops[KLING], Refused)
    assert work.state.counts() == Counter(done=3, failed=1)
    assert summary.settled == {KLING: 3}


async def test_a_lane_at_the_end_of_its_budget_parks_and_the_others_go_on(in_memory: Path) -> None:
    """A budget of one model is no reason for another to stop; the exit code says what is left."""
    provider = Provider(seconds=1.0, task_seconds=30.0)
    work = Bench(in_memory, provider)
    cap = Cap("the budget of kling", Money(Decimal("0.65"), "CNY"), model=KLING)
    summary = await work.run([lane(KLING, 10), lane(GEMINI, 5)], budget=Purse([cap]))
    assert (summary.stopped, summary.exit_code) == (None, 6)
    assert isinstance(summary.lane_stops[KLING], BudgetReached)
    assert summary.is_budget_reached
    assert summary.settled == {KLING: 3, GEMINI: 5}


async def test_no_money_left_leaves_no_paid_task_behind(in_memory: Path) -> None:
    """Arrears stop the run: nothing more is sent, that is said at once, and Tasks that were paid
    for are fetched; their addresses would expire before tomorrow's run."""
    arrears = Mishap(403, b'{"error":{"message":"account in arrears","type":"billing_error"}}')
    provider = Provider(seconds=1.0, task_seconds=30.0, mishaps=[None, None, None, arrears])
    work = Bench(in_memory, provider)
    summary = await work.run([lane(KLING, 10, limits=Limits(requests_per_minute=30))])
    assert isinstance(summary.stopped, Refused)
    assert summary.exit_code == 4
    assert work.state.counts() == Counter(done=3, failed=1)
    assert any("in arrears; ending what is in flight" in text for text in work.observer.texts)


async def test_an_interrupt_leaves_the_tasks_even_when_something_else_stopped_first(
    in_memory: Path,
) -> None:
    """Whoever presses Ctrl-C wants to go: what a parked lane still waited for stays on file."""
    provider = Provider(seconds=1.0, task_seconds=3600.0, mishaps=quota_gone_after(3))
    work = Bench(in_memory, provider)
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(work.run, [lane(KLING, 10, limits=Limits(requests_per_minute=30))])
        await anyio.sleep(50.0)
        assert work.batch is not None
        work.batch.stop(Interrupted("interrupted"))
    assert anyio.current_time() - began == pytest.approx(50.0)
    assert work.state.counts() == Counter(accepted=3, failed=1)


async def test_a_deadline_stops_starting_and_lets_what_is_out_end(in_memory: Path) -> None:
    """Nothing starts after it; what was in flight is answered and recorded; the rest is left."""
    provider = Provider(seconds=10.0, task_seconds=3600.0)
    work = Bench(in_memory, provider)
    lanes = [lane(GEMINI, 50, limits=Limits(concurrency=2)), lane(KLING, 3)]
    began = anyio.current_time()
    summary = await work.run(lanes, run_options=RunOptions(deadline_seconds=35.0, seed=1))
    assert isinstance(summary.stopped, DeadlineReached)
    assert summary.exit_code == 1
    assert "run again" in summary.stopped.hint
    assert max(seen.at for seen in provider.posts) - began < 35.0
    assert 35.0 <= anyio.current_time() - began <= 45.0
    counts = work.state.counts()
    assert counts == Counter(done=8, accepted=3)
    assert +summary.settled == Counter({GEMINI: 8})
    await anyio.sleep(3600.0)
    assert (await work.run(lanes)).exit_code == 0
    assert Counter(charge.model for charge in provider.book) == {GEMINI: 50, KLING: 3}


async def test_a_deadline_ends_waiting_for_a_retry(in_memory: Path) -> None:
    """A lane held back by Retry-After does not outlast the deadline; the job is left, unsent."""
    slow = Mishap(429, b'{"error":{"message":"slow down"}}', (("retry-after", "300"),))
    provider = Provider(mishaps=[slow])
    work = Bench(in_memory, provider, RunSettings(retries=5))
    began = anyio.current_time()
    summary = await work.run(
        [lane(GEMINI, 1)], run_options=RunOptions(deadline_seconds=60.0, seed=1)
    )
    assert anyio.current_time() - began <= 61.0
    assert summary.exit_code == 1
    assert len(provider.posts) == 1
    assert (await work.run([lane(GEMINI, 1)])).exit_code == 0


async def test_a_deadline_that_never_comes_changes_nothing(in_memory: Path) -> None:
    """A run that ends before it exits 0 and does not wait for it."""
    work = Bench(in_memory, Provider(seconds=1.0))
    began = anyio.current_time()
    summary = await work.run([lane(GEMINI, 3)], run_options=RunOptions(deadline_seconds=3600.0))
    assert summary.exit_code == 0
    assert anyio.current_time() - began < 60.0


async def test_an_outage_costs_the_time_it_lasts_and_hardly_a_job(in_memory: Path) -> None:
    """While nothing is served, single requests ask now and then; when it is over all goes on."""
    began = anyio.current_time()

    def closed_for_twenty_minutes() -> Iterator[Mishap | None]:
        while True:
            minutes = (anyio.current_time() - began) / 60
            yield Mishap(503) if 1 <= minutes < 21 else None

    provider = Provider(seconds=1.0, mishaps=closed_for_twenty_minutes())
    work = Bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 1000)])
    assert summary.lane_stops == {}
    assert summary.ended["done"] >= 985
    assert len(provider.book) == summary.ended["done"]
    refused = len(provider.posts) - len(provider.book)
    assert refused <= 8 + 6 + 20  # those in flight, the first probes, then one a minute
    assert any("nothing is served any more" in text for text in work.observer.texts)
    assert (await work.run([lane(GEMINI, 1000)])).exit_code == 0
    assert len(provider.book) == 1000


@pytest.mark.parametrize(("served", "minutes"), [(0, 1), (8, 10)])
async def test_a_lane_gives_up_on_an_outage_that_does_not_end(
    in_memory: Path, served: int, minutes: int
) -> None:
    """After `stop_after_outage`; sooner where nothing was ever served: what is left stays unsent,
    nothing was charged for it, and the other lane goes on."""

    def never_again() -> Iterator[Mishap | None]:
        yield from [None] * served
        while True:
            yield Mishap(503)

    provider = Provider(seconds=1.0, mishaps=never_again(), mishaps_of=GEMINI)
    work = Bench(in_memory, provider, RunSettings(stop_after_outage=600.0))
    began = anyio.current_time()
    summary = await work.run([lane(GEMINI, 1000), lane(KLING, 30)])
    assert isinstance(summary.lane_stops[GEMINI], Refused)
    assert summary.exit_code == 4
    assert "run again" in summary.lane_stops[GEMINI].hint
    assert 60 * minutes <= anyio.current_time() - began <= 60 * (minutes + 2.5)
    assert Counter(charge.model for charge in provider.book) == +Counter(
        {GEMINI: served, KLING: 30}
    )
    assert len(provider.posts) < 8 + served + 30 + 6 + 2 * minutes + 8
    assert not work.state.open_charges


@pytest.mark.parametrize(
    "mishap",
    [
        Mishap(200, b"<html>welcome</html>", charged=True),
        Mishap(200, b'{"data": []}', charged=True),
    ],
    ids=["unknown", "no picture"],
)
async def test_a_losing_streak_parks_the_lane(in_memory: Path, mishap: Mishap) -> None:
    """A server that takes money and gives nothing gets a few requests more, not thousands."""
    provider = Provider(seconds=1.0, mishaps=[None] * 5 + [mishap] * 1000)
    work = Bench(in_memory, provider, RunSettings(stop_after_losses=10))
    summary = await work.run([lane(GEMINI, 1000)])
    assert isinstance(summary.lane_stops[GEMINI], Refused)
    assert "10 answers in a row" in summary.lane_stops[GEMINI].message
    assert 15 <= len(provider.posts) < 15 + 8


async def test_losses_among_gains_park_nothing(in_memory: Path) -> None:
    """Every second answer lost is a bad day, and the user's to judge."""
    lost = Mishap(200, b'{"data": []}', charged=True)
    provider = Provider(seconds=1.0, mishaps=[None, lost] * 100)
    work = Bench(in_memory, provider, RunSettings(stop_after_losses=10))
    summary = await work.run([lane(GEMINI, 200, limits=ONE)])
    assert summary.lane_stops == {}
    assert len(provider.posts) == 200
