"""What was paid for is fetched, whole, by whoever comes next; what may have been charged stays
reserved, counted and on file until it is known. In virtual time."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from msgspec import structs

from retouch.engine.budget import Cap, Purse
from retouch.errors import BudgetReached, Refused
from retouch.job import Picture
from retouch.ledger import Reader
from retouch.ledger.records import Failed
from retouch.manifest import Limits, Model, PayAgain, Poll, Price, RunSettings, UpTo
from retouch.money import Money
from retouch.report import Tally
from retouch.report.charges import Wanted, charge_rows
from retouch.report.rows import review_of
from tests.support import workbench
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import GEMINI, KLING, PRICES, Bench, TestLane, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
ONE = Limits(concurrency=1)
JSON = (("content-type", "application/json"),)
CUT = Mishap(200, b'{"data": [{"b64_js', charged=True)
LONG = Poll(interval=1.0, timeout=3000.0)


def told(status: int, document: object, *headers: tuple[str, str], charged: bool = False) -> Mishap:
    return Mishap(status, json.dumps(document).encode(), (*JSON, *headers), charged=charged)


REFUSED_AFTER_ALL = told(200, {"error": {"message": "sorry, not today"}}, charged=True)
"""A no that may have been charged: behind a status that says yes."""


def money(amount: str) -> Money:
    return Money(Decimal(amount), "CNY")


async def interrupted_with_tasks(work: Bench, given: TestLane) -> None:
    """Run until every Task is out, then press Ctrl-C."""
    await work.stopped(20, [given])
    assert set(work.state.counts()) == {"accepted"}


async def test_a_resumed_task_is_reserved_at_the_ceiling_on_record(in_memory: Path) -> None:
    """The price rose from 0.20 to 2.00 while a Task was out: its end gives back the 0.20 that
    history counted, and the total of 2.45 leaves room for one more, not for two."""
    work = Bench(in_memory, Provider(task_seconds=100.0))
    await interrupted_with_tasks(work, lane(KLING, 1, poll=LONG))
    began = work.records[1].at

    def dearer(_: Model, moment: datetime) -> Price:
        is_old = moment <= datetime.fromisoformat(began)
        return replace_amount(PRICES[KLING], "0.20" if is_old else "2.00")

    work.provider.finish_tasks()
    cap = Cap("the total", money("2.45"), Decimal("0.20"), counts_history=True)
    summary = await work.run(
        [lane(KLING, 3, limits=ONE, poll=LONG)], budget=Purse([cap]), price_at=dearer
    )
    assert isinstance(summary.stopped, BudgetReached)
    assert work.state.totals.confirmed == {"CNY": money("2.20")}


def replace_amount(price: Price, amount: str) -> Price:
    return price.model_copy(update={"per_image": Decimal(amount)})


async def test_a_source_that_changed_is_sent_once_it_is_back(tmp_path: Path) -> None:
    """Changed since it was planned: failed for now and nothing sent; put back, it is edited."""
    path = tmp_path / "0.png"
    path.write_bytes(png("as planned"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    picture = Picture(f"sha256:{digest}", file=str(path), media_type="image/png", bytes=size)
    given = lane(GEMINI, 1)
    [job] = given.all_jobs
    job = replace(job, source=structs.replace(job.source, picture=picture))
    given = TestLane(given.model, given.capabilities, (job,))
    (tmp_path / "out").mkdir()
    work = Bench(tmp_path / "out", Provider())
    path.write_bytes(png("changed"))
    await work.run([given])
    assert (work.state.counts(), work.provider.posts) == (Counter(failed=1), [])
    path.write_bytes(png("as planned"))
    await work.run([given])
    assert (work.state.counts(), len(work.provider.posts)) == (Counter(done=1), 1)


async def test_one_expired_picture_of_several_is_asked_for_anew(in_memory: Path) -> None:
    """The Task is asked for new addresses once more; nothing is submitted again."""
    provider = Provider(file_mishaps=[None, Mishap(403, b"expired")])
    work = Bench(in_memory, provider)
    await work.run([lane(KLING, 1, n=2)])
    [outcome] = work.state.outcomes.values()
    assert (outcome.state, len(outcome.files)) == ("done", 2)
    assert len(provider.posts) == 1


async def test_a_task_that_lost_one_picture_of_two_is_fetched_by_the_next_run(
    in_memory: Path,
) -> None:
    """The other one is paid for and still at the server: not done before both are here."""
    provider = Provider(file_mishaps=[None, Mishap(403, b"x"), None, Mishap(403, b"x")])
    work = Bench(in_memory, provider)
    summary = await work.run([lane(KLING, 1, n=2)])
    assert (work.state.counts(), summary.exit_code) == (Counter(unknown=1), 1)
    assert (await work.run([lane(KLING, 1, n=2)])).exit_code == 0
    [outcome] = work.state.outcomes.values()
    assert (outcome.state, len(outcome.files)) == ("done", 2)
    assert len(provider.posts) == 1


async def test_what_each_attempt_brought_is_kept_apart(in_memory: Path) -> None:
    """Quarantine names the Attempt: two broken replies to one Job are two files."""
    again = PayAgain(retry=1, up_to=UpTo(amount=Decimal(5), currency="CNY"))
    work = Bench(in_memory, Provider(mishaps=[CUT, CUT]), RunSettings(on_unknown=again))
    await work.run([lane(GEMINI, 1)])
    [key] = work.state.outcomes
    kept = sorted(path.name for path in (in_memory / "quarantine").iterdir())
    assert kept == [f"{key}-1.body", f"{key}-2.body"]


@pytest.mark.parametrize(
    ("came", "low", "confirmed"),
    [(0, "0.000000", "0.000000"), (2, "0.400000", "0.000000"), (4, "0.000000", "0.800000")],
)
async def test_pictures_that_nobody_counted_cost_between_came_and_asked_for(
    in_memory: Path, came: int, low: str, confirmed: str
) -> None:
    """Two of four pictures at 0.20 each: the ledger, the review and each row say from 0.40 to
    0.80. All four: 0.80, for sure. None: nobody knows, up to 0.80."""
    pictures = [{"b64_json": base64.b64encode(png(str(each))).decode()} for each in range(came)]
    reply = told(200, {"created": 1, "data": pictures}, charged=True)
    price = Price(currency="CNY", per_image=Decimal("0.20"))
    work = Bench(in_memory, Provider(mishaps=[reply]))
    await work.run([lane(GEMINI, 1, n=4)], price_at=lambda *_: price)
    records = list(Reader(in_memory / "ledger.jsonl"))
    tally = Tally()
    tally.read(records)
    [totals] = review_of(tally).totals
    is_known = confirmed != "0.000000"
    expected = (confirmed, low, "0.000000" if is_known else "0.800000")
    names = ("confirmed", "unknown_low", "unknown_high")
    assert tuple(totals[name] for name in names) == expected
    [row] = charge_rows([("cats", records, 0)], Wanted())
    assert (row["low"], row["high"]) == ((None, None) if is_known else (low, "0.800000"))


async def test_what_may_have_been_charged_holds_its_ceiling(in_memory: Path) -> None:
    """A no that may have been charged is written with its ceiling and frees no budget."""
    provider = Provider(seconds=1.0, mishaps=[None, REFUSED_AFTER_ALL])
    work = Bench(in_memory, provider)
    cap = Cap("the budget", money("0.60"))
    summary = await work.run([lane(KLING, 9, limits=ONE)], budget=Purse([cap]))
    assert isinstance(summary.stopped, BudgetReached)
    assert len(provider.posts) == 3
    [failed] = work.records_of(Failed)
    assert (failed.billed, failed.ceiling and failed.ceiling.money) == ("unknown", money("0.20"))
    assert work.state.unknown_high == {"CNY": money("0.20")}


async def test_refusals_that_may_be_charged_are_losses(in_memory: Path) -> None:
    """A server that takes money and then says no gets a few requests more, not thousands."""
    provider = Provider(seconds=1.0, mishaps=[None] * 5 + [REFUSED_AFTER_ALL] * 1000)
    work = Bench(in_memory, provider, RunSettings(stop_after_losses=10))
    summary = await work.run([lane(GEMINI, 100, limits=ONE)])
    assert isinstance(summary.lane_stops[GEMINI], Refused)
    assert len(provider.posts) == 15


async def test_a_bad_key_leaves_the_tasks(in_memory: Path) -> None:
    """Nothing can be asked for with it: the run ends at once and the Tasks stay on file."""
    bad = told(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
    provider = Provider(seconds=1.0, task_seconds=3600.0, mishaps=[None] * 3 + [bad])
    work = Bench(in_memory, provider)
    began = anyio.current_time()
    summary = await work.run([lane(KLING, 10, limits=Limits(requests_per_minute=30), poll=LONG)])
    assert summary.exit_code == 4
    assert work.state.counts()["accepted"] == 3
    assert anyio.current_time() - began < 60


async def test_tasks_of_an_earlier_run_are_fetched_though_the_lane_stops(in_memory: Path) -> None:
    """The first one is a loss too many and parks the lane; the others are paid for, and come."""
    provider = Provider(task_seconds=1000.0)
    work = Bench(in_memory, provider)
    await interrupted_with_tasks(work, lane(KLING, 4, poll=LONG))
    provider.finish_tasks()
    lost = {"task_id": "image-0", "status": "failed", "quantity": 1, "error": {"message": "no"}}
    provider.poll_mishaps = iter([told(200, lost)])
    work.settings = RunSettings(stop_after_losses=1)
    summary = await work.run([lane(KLING, 4, limits=ONE, poll=LONG)])
    assert isinstance(summary.lane_stops[KLING], Refused)
    assert work.state.counts() == Counter(failed=1, done=3)


async def test_a_task_at_an_address_that_is_named_no_more_is_no_success(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays out, is said, and the run ends with 1."""
    work = Bench(in_memory, Provider(task_seconds=1000.0))
    with monkeypatch.context() as patch:
        patch.setattr(workbench, "BASE_URL", "https://elsewhere.example.com/v1")
        await interrupted_with_tasks(work, lane(KLING, 1, poll=LONG))
    work.provider.finish_tasks()
    summary = await work.run([lane(KLING, 1, poll=LONG)])
    assert (summary.exit_code, work.state.tasks_out) == (1, 1)
    assert any("elsewhere.example.com" in text for text in work.observer.texts)
