"""A run that is stopped at once: what an answer said is written whenever the stop comes, and each
Job is told as its last Record leaves it; what a later run finds half told it takes up. In virtual
time."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.job import Job
from retouch.ledger.records import AnyRecord, Done, Failed, TaskAccepted, Unknown, Unsent
from retouch.manifest import Limits, PayAgain, RunSettings, UpTo
from retouch.money import Money
from tests.engine.test_ends import CUT, EMPTY, LOST, UNCOUNTED, refused
from tests.support.ledgers import begins, started, write
from tests.support.provider import Mishap, Provider
from tests.support.workbench import GEMINI, KLING, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
T = TypeVar("T")
AGAIN = PayAgain(retry=1, up_to=UpTo(amount=Decimal(5), currency="CNY"))
BUSY = refused(503, "the server is overloaded")


def purse(limit: str = "10") -> Purse:
    return Purse([Cap("the budget", Money(Decimal(limit), "CNY"))])


async def cut_off(work: Bench, seconds: float, model: str = GEMINI) -> Any:
    """One Job of a run that is cancelled after so many seconds; how it was told to end."""
    scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
    await work.run([lane(model, 1)], scope=scope)
    assert scope.cancel_called
    [end] = work.observer.ends
    return end


@pytest.mark.parametrize(
    ("mishap", "ended", "kind"),
    [
        (refused(400, "rejected by our safety system"), "failed", Failed),
        (refused(401, "Incorrect API key provided", code="invalid_api_key"), "stopped", Failed),
        (LOST, "unknown", Unknown),
        (CUT, "unknown", Unknown),
        (EMPTY, "failed", Failed),
        (UNCOUNTED, "done", Done),
        (None, "done", Done),
    ],
)
async def test_an_answer_that_has_come_is_written_whatever_is_cancelled(
    in_memory: Path, mishap: Mishap | None, ended: str, kind: type[AnyRecord]
) -> None:
    """The stop comes after the answer and before its Record."""
    work = Bench(in_memory, Provider(mishaps=[mishap]))
    scope = anyio.CancelScope()

    work.cancels_once_answered(scope)
    await work.run([lane(GEMINI, 1)], scope=scope)
    assert scope.cancel_called
    assert isinstance(work.records[-1], kind)
    assert [end.ended for end in work.observer.ends] == [ended]


async def test_a_job_between_two_attempts_is_told_as_the_first_left_it(in_memory: Path) -> None:
    """Paid without a picture, lost, or not served: failed, unknown, and nothing."""
    for number, (mishap, settings, ended) in enumerate([
        (EMPTY, RunSettings(retry_empty=2), "failed"),
        (LOST, RunSettings(on_unknown=AGAIN), "unknown"),
        (BUSY, RunSettings(), "stopped"),
    ]):  # fmt: skip
        (in_memory / f"{number}").mkdir()
        work = Bench(in_memory / f"{number}", Provider(mishaps=[mishap] * 9), settings)
        end = await cut_off(work, 0.001)
        assert (end.ended, end.files, end.task) == (ended, (), None)
        assert len(work.provider.posts) == 1


async def test_a_task_that_is_waited_for_is_told_as_accepted(in_memory: Path) -> None:
    """It is on file; the next run fetches it."""
    work = Bench(in_memory, Provider(task_seconds=50.0))
    end = await cut_off(work, 5, KLING)
    assert end.ended == "accepted"
    assert work.state.counts() == Counter(accepted=1)


async def test_what_an_earlier_run_left_is_not_told_as_this_runs(in_memory: Path) -> None:
    """A Job that failed for now, sent once more and broken off while it waits for its turn: nothing
    came of it in this run."""
    work = Bench(in_memory, Provider(mishaps=[BUSY] * 20), RunSettings(retries=0))
    await work.run([lane(GEMINI, 1)])
    assert work.state.counts() == Counter(failed=1)
    work.observer.ends.clear()
    work.provider.mishaps = iter([BUSY] * 20)
    work.settings = RunSettings(retries=5)
    end = await cut_off(work, 0.001)
    assert end.ended == "stopped"
    assert isinstance(work.records[-1], Unsent)


async def test_what_was_broken_off_while_it_was_sent_is_unknown_or_unsent(in_memory: Path) -> None:
    """By how far it had come; told so."""
    work = Bench(in_memory, Provider(seconds=50.0))
    end = await cut_off(work, 5)
    assert end.ended == "unknown"
    [record] = work.records_of(Unknown)
    assert record.error.kind == "network"
    assert record.task is None
    assert record.ceiling is not None


# --- What half a ledger says ---------------------------------------------------------------------


def alone(job: Job, task: str = "task-1", **more: Any) -> TaskAccepted:
    return TaskAccepted(key=job.key, attempt=1, task=task, at=started(0).at, **more)


async def test_a_task_without_a_beginning_is_polled(in_memory: Path) -> None:
    """A ledger whose first lines were lost: nothing is sent for it, and what it may cost is held
    at today's ceiling."""
    given = lane(KLING, 1)
    write(in_memory / "ledger.jsonl", [begins(), alone(given.all_jobs[0])])
    work, money = Bench(in_memory, Provider()), purse()
    summary = await work.run([given], budget=money)
    assert not work.provider.posts
    assert summary.ended == Counter(unknown=1)
    [record] = work.records_of(Unknown)
    assert (record.task, record.error.kind) == ("task-1", "expired")
    assert record.ceiling is not None
    assert (record.ceiling.amount, money.caps[0].counted) == ("0.200000", Decimal("0.200000"))


async def test_a_task_is_polled_where_it_was_taken(in_memory: Path) -> None:
    """At an endpoint that the manifest names no more: said, told as accepted, nothing asked."""
    given = lane(KLING, 1)
    job = given.all_jobs[0]
    words: dict[str, Any] = {"key": job.key, "model": KLING, "prompt": "white", "source": "0.png"}
    taken = alone(job, endpoint="http://127.0.0.9/v1")
    write(in_memory / "ledger.jsonl", [begins(), started(0, **words), taken])
    work = Bench(in_memory, Provider())
    summary = await work.run([given])
    assert not work.provider.seen
    assert work.observer.texts == [
        "0.png: its task is at http://127.0.0.9/v1, which the manifest does not name any more; add "
        "it to `fallback_urls` and run again"
    ]
    assert (summary.ended, summary.exit_code) == (Counter(accepted=1), 1)
    work.fallback_urls = ("http://127.0.0.9/v1",)
    await work.run([given])
    assert [seen.method for seen in work.provider.seen] == ["GET"]


async def test_one_task_for_two_jobs_is_said(in_memory: Path) -> None:
    """Once a lane, by the sources; in the second one's Record too."""
    same = Mishap(200, b'{"task_id": "image-0"}', (("content-type", "application/json"),))
    work = Bench(in_memory, Provider(mishaps=[None, same, same]))
    await work.run([lane(KLING, 3, limits=Limits(concurrency=1))])
    said = [
        f"the server gave the task of 0.png to {number}.png too: one picture may stand for both"
        for number in (1, 2)
    ]
    assert work.observer.texts == [f"{KLING}: {said[0]}"]
    warned = {record.source: record.warnings for record in work.records_of(Done)}
    assert warned == {"0.png": (), "1.png": (said[0],), "2.png": (said[1],)}


async def test_a_lane_that_loses_too_much_is_told_what_to_do(in_memory: Path) -> None:
    """How many in a row, the last reason, what settles it, what allows for more."""
    work = Bench(in_memory, Provider(mishaps=[LOST] * 9), RunSettings(stop_after_losses=3))
    summary = await work.run([lane(GEMINI, 9, limits=Limits(concurrency=1))])
    stop = summary.lane_stops[GEMINI]
    assert stop.message.startswith(
        f"{GEMINI}: 3 answers in a row may have been charged for no picture (last: "
    )
    assert stop.hint == (
        "`retouch status` tells what is unknown, `retouch resolve` settles it; "
        "`run: {stop_after_losses: N}` allows for more"
    )
    assert len(work.provider.posts) == 3
