"""However a Job ends in a run: its last Record, what is told of it, the budget and the provider's
book say the same. In virtual time."""

from __future__ import annotations

import base64
import errno
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from retouch.engine.budget import Cap, Purse, Reservation
from retouch.engine.context import JobEnd
from retouch.engine.outputs import Outputs
from retouch.engine.recorder import Paid
from retouch.errors import StorageFailed
from retouch.job import Job
from retouch.ledger.records import AnyRecord, Done, Failed, Started, TaskAccepted, Unknown, Unsent
from retouch.ledger.terms import terms_of
from retouch.manifest import PayAgain, Poll, Price, RunSettings, UpTo
from retouch.money import Money, total
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import GEMINI, KLING, Bench, TestLane, filed, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
JSON = (("content-type", "application/json"),)


def told(status: int, document: object, *, charged: bool = False) -> Mishap:
    return Mishap(status, json.dumps(document).encode(), JSON, charged=charged)


def refused(status: int, message: str, **more: object) -> Mishap:
    return told(status, {"error": {"message": message, **more}})


USAGE = {"input_tokens": 300, "output_tokens": 1290, "total_tokens": 1590}
PICTURE = {"b64_json": base64.b64encode(png("one")).decode()}
LOST = Mishap(502, b"<html>", (("content-type", "text/html"),), charged=True)
CUT = Mishap(200, b'{"data": [{"b64_js', charged=True)
GONE = Mishap(403, b"expired")
EMPTY = told(200, {"data": [], "usage": USAGE}, charged=True)
UNCOUNTED = told(200, {"data": [PICTURE]}, charged=True)
BOTH_UNCOUNTED = told(200, {"data": [PICTURE, PICTURE]}, charged=True)
NO_TASK = refused(404, "no such task")
TASK_LOST = told(
    200, {"task_id": "image-0", "status": "failed", "quantity": 1, "error": {"message": "sorry"}}
)
TASK_REFUSED = told(
    200, {"task_id": "image-0", "status": "failed", "error": {"message": "sorry, not today"}}
)
BY_PICTURE = Price(currency="CNY", per_image=Decimal("0.20"))
AGAIN = PayAgain(retry=1, up_to=UpTo(amount=Decimal(5), currency="CNY"))
TOKENS = "0.271530"  # 300 in at 2.10 CNY and 1,290 out at 210 CNY a million


@dataclass(frozen=True)
class Way:
    """One way in which a Job ends: what the provider does, and the facts of its last Record."""

    model: str
    ended: str
    record: type[AnyRecord]
    facts: dict[str, Any] = field(default_factory=dict)
    provider: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    n: int = 1
    confirmed: str = "0"
    unknown: str = "0"
    posts: int = 1
    price: Price | None = None  # in place of the usual one
    is_spoilt: bool = False  # its file is another one by the time it is sent


CEILING = "0.5472495"  # what a request for one picture may cost, where nothing is known yet
FAILED = {"billed": "no", "final": True, "task": None, "cost": None, "ceiling": None}
FOR_NOW = FAILED | {"final": False}
PAID = FAILED | {"billed": "yes", "ceiling": CEILING}
WAYS = {
    "a picture": Way(
        GEMINI, "done", Done, {"cost": TOKENS, "task": None, "files": 1, "warnings": ()},
        confirmed=TOKENS,
    ),
    "two pictures": Way(
        GEMINI, "done", Done, {"cost": "0.542430", "files": 2}, n=2, confirmed="0.542430"
    ),
    "a picture that nobody counted": Way(
        GEMINI, "done", Done, {"cost": None, "files": 1}, {"mishaps": [UNCOUNTED]},
        unknown=CEILING,
    ),
    "a task's picture": Way(
        KLING, "done", Done, {"cost": "0.200000", "task": "image-0", "files": 1}, confirmed="0.20"
    ),
    "content refused": Way(
        GEMINI, "failed", Failed, FAILED | {"kind": "content", "status": 400},
        {"mishaps": [refused(400, "rejected by our safety system")]},
    ),
    "refused, and perhaps charged": Way(
        KLING, "failed", Failed,
        FAILED | {"billed": "unknown", "ceiling": "0.200000", "kind": "bad_request"},
        {"mishaps": [told(200, {"error": {"message": "sorry"}}, charged=True)]},
        unknown="0.20",
    ),
    "a bad key": Way(
        GEMINI, "stopped", Failed, FOR_NOW | {"kind": "auth", "status": 401},
        {"mishaps": [refused(401, "Incorrect API key provided", code="invalid_api_key")]},
    ),
    "a model that is not sold": Way(
        GEMINI, "stopped", Failed, FOR_NOW | {"status": 404},
        {"mishaps": [refused(404, "The model does not exist", code="model_not_found")]},
    ),
    "an answer that was lost": Way(
        GEMINI, "unknown", Unknown, {"task": None, "status": 502}, {"mishaps": [LOST]},
        unknown=CEILING,
    ),
    "a reply that was cut": Way(
        GEMINI, "unknown", Unknown, {"task": None, "kind": "broken_reply"}, {"mishaps": [CUT]},
        unknown=CEILING,
    ),
    "no answer in time": Way(
        GEMINI, "unknown", Unknown, {"task": None, "kind": "timeout"}, {"seconds": 900.0},
        unknown=CEILING,
    ),
    "lost twice, though it was paid for again": Way(
        GEMINI, "unknown", Unknown, {"task": None, "attempt": 2}, {"mishaps": [LOST, LOST]},
        {"on_unknown": AGAIN}, unknown="1.0944990", posts=2,
    ),
    "paid for again": Way(
        GEMINI, "done", Done, {"attempt": 2, "cost": TOKENS}, {"mishaps": [LOST]},
        {"on_unknown": AGAIN}, confirmed=TOKENS, unknown=CEILING, posts=2,
    ),
    "no picture": Way(
        GEMINI, "failed", Failed,
        PAID | {"cost": TOKENS, "kind": "content", "message": "the reply holds no picture"},
        {"mishaps": [EMPTY]}, confirmed=TOKENS,
    ),
    "no picture twice, though it was paid for again": Way(
        GEMINI, "failed", Failed, PAID | {"cost": TOKENS, "attempt": 2},
        {"mishaps": [EMPTY, EMPTY]}, {"retry_empty": 1}, confirmed="0.543060", posts=2,
    ),
    "a picture at the second time": Way(
        GEMINI, "done", Done, {"attempt": 2, "cost": TOKENS}, {"mishaps": [EMPTY]},
        {"retry_empty": 1}, confirmed="0.543060", posts=2,
    ),
    "no base64": Way(
        GEMINI, "failed", Failed,
        PAID | {"cost": TOKENS, "kind": "broken_reply"},
        {"mishaps": [told(200, {"data": [{"b64_json": "@"}], "usage": USAGE}, charged=True)]},
        confirmed=TOKENS,
    ),
    "a link that is dead": Way(
        GEMINI, "unknown", Unknown, {"task": None, "kind": "expired"},
        {
            "mishaps": [
                told(200, {"data": [{"url": "http://127.0.0.1/f.png"}], "usage": USAGE},
                     charged=True)
            ],
            "file_mishaps": [GONE],
        },
        unknown=CEILING,
    ),
    "a task's picture that is gone": Way(
        KLING, "unknown", Unknown, {"task": "image-0", "kind": "expired", "ceiling": "0.200000"},
        {"file_mishaps": [GONE, GONE]}, unknown="0.20",
    ),
    "a task that does not end": Way(
        KLING, "unknown", Unknown, {"task": "image-0", "kind": "timeout"}, {"task_seconds": 900.0},
        unknown="0.20",
    ),
    "a task that nobody knows any more": Way(
        KLING, "unknown", Unknown, {"task": "image-0", "kind": "timeout"},
        {"poll_mishaps": [NO_TASK] * 100}, unknown="0.20",
    ),
    "a task that failed and was billed": Way(
        KLING, "failed", Failed,
        FAILED | {
            "billed": "yes", "cost": "0.200000", "task": "image-0", "ceiling": "0.200000",
            "images": 1,
        },
        {"poll_mishaps": [TASK_LOST]}, confirmed="0.20",
    ),
    "a task that failed": Way(
        KLING, "failed", Failed, FAILED | {"task": "image-0"}, {"poll_mishaps": [TASK_REFUSED]},
    ),
    "a key that is bad from the first poll on": Way(
        KLING, "accepted", TaskAccepted, {"task": "image-0", "endpoint": "http://127.0.0.1/v1"},
        {"poll_mishaps": [refused(401, "Incorrect API key provided", code="invalid_api_key")]},
        unknown="0.20",
    ),
    "a file that changed": Way(
        GEMINI, "failed", Failed, FOR_NOW | {"kind": "bad_request", "attempt": 1}, posts=0,
        is_spoilt=True,
    ),
    "one picture of two": Way(
        GEMINI, "done", Done,
        {"cost": TOKENS, "files": 1, "warnings": ("1 of 2 pictures came",)},
        {"mishaps": [told(200, {"data": [PICTURE], "usage": USAGE}, charged=True)]}, n=2,
        confirmed=TOKENS,
    ),
    "one picture of two that nobody counted": Way(
        GEMINI, "done", Done, {"cost": None, "least": "0.200000", "files": 1},
        {"mishaps": [UNCOUNTED]}, n=2, unknown="0.40", price=BY_PICTURE,
    ),
    "three pictures for two": Way(
        GEMINI, "done", Done, {"cost": "0.542430", "files": 2}, {"extra_pictures": 1}, n=2,
        confirmed="0.542430",
    ),
    "two pictures that nobody counted": Way(
        GEMINI, "done", Done, {"cost": "0.400000", "least": None, "files": 2},
        {"mishaps": [BOTH_UNCOUNTED]}, n=2, confirmed="0.40", price=BY_PICTURE,
    ),
    "lost three times, though it was paid for again": Way(
        GEMINI, "unknown", Unknown, {"task": None, "attempt": 3}, {"mishaps": [LOST] * 3},
        {"on_unknown": AGAIN.model_copy(update={"retry": 2})}, unknown="1.6417485", posts=3,
    ),
    "no picture, paid by the picture": Way(
        GEMINI, "failed", Failed, PAID | {"cost": None, "least": None, "ceiling": "0.200000"},
        {"mishaps": [EMPTY]}, unknown="0.20", price=BY_PICTURE,
    ),
    "retries used up": Way(
        GEMINI, "failed", Failed, FOR_NOW | {"kind": "rate", "status": 429, "attempt": 3},
        {"mishaps": [refused(429, "slow down", type="rate_limit_error")] * 3}, {"retries": 2},
        posts=3,
    ),
}  # fmt: skip


def facts_of(record: AnyRecord, names: list[str]) -> dict[str, object]:
    """What a Record says of these."""
    error = getattr(record, "error", None)
    usage = getattr(record, "usage", None)
    ways: dict[str, Callable[[], object]] = {
        "kind": lambda: error and error.kind,
        "status": lambda: error and error.status,
        "code": lambda: error and error.code,
        "message": lambda: error and error.message,
        "images": lambda: usage and usage.images,
        "files": lambda: len(getattr(record, "files", ())),
    }

    def fact(name: str) -> object:
        found = ways[name]() if name in ways else getattr(record, name)
        return getattr(found, "amount", found)

    return {name: fact(name) for name in names}


def one_job(folder: Path, model: str, n: int) -> TestLane:
    """One Job over a file, on a lane with a name of its own."""
    given = lane(model, 1, n=n, file=filed(folder), poll=Poll(interval=1.0, timeout=60.0))
    jobs = tuple(replace(job, lane="studio") for job in given.all_jobs)
    return replace(given, all_jobs=jobs)


def says_its_work(record: AnyRecord, job: Job) -> None:
    """Whatever a Record says of a Job's work is so, and of its source where it was sent or done."""
    assert record.key == job.key  # type: ignore[union-attr]
    if not isinstance(record, Unsent | TaskAccepted):
        words = (job.model, job.prompt.id, job.source.name)
        assert (record.model, record.prompt, record.source) == words  # type: ignore[union-attr]
    if isinstance(record, Started | Done):
        picture = job.source.picture
        source = (f"sha256:{record.source_sha256}", record.source_bytes, record.lane)
        assert source == (picture.digest, picture.bytes, "studio")
    if isinstance(record, Started):
        assert record.terms == terms_of(job)
    if isinstance(record, TaskAccepted):
        assert (record.output, record.repeat) == (job.output, job.repeat)


@dataclass(slots=True)
class Watched(Purse):
    """A purse that keeps every reservation it ever held."""

    held: list[Reservation] = field(default_factory=list)

    def _hold(self, reservation: Reservation) -> Reservation:
        self.held.append(reservation)
        return Purse._hold(self, reservation)


def counted(work: Bench) -> Decimal:
    """What a budget counts by the ledger: what is confirmed, and all that is not known."""
    sums = (work.state.totals.confirmed, work.state.unknown_high)
    return sum((each["CNY"].amount for each in sums if "CNY" in each), Decimal(0))


def agree(work: Bench, purse: Watched, last: AnyRecord, end: JobEnd) -> None:
    """What is told of a Job's end is what its last Record says; the budget has counted what the
    ledger adds up to and holds nothing any more, and it knew each Attempt by its name."""
    words = ("usage", "cost", "least")
    assert end.paid == Paid(*(getattr(last, each, None) for each in words))
    assert end.files == getattr(last, "files", ())
    if end.ended != "accepted":
        assert end.error == getattr(last, "error", None)
        assert end.task == (last.task if isinstance(last, Unknown) else None)
    assert purse.caps[0].counted == counted(work)
    assert not any(purse.reserved.values())
    assert not any(purse.in_flight.values())
    attempts = {(each.key, each.attempt) for each in work.records_of(Started)}
    assert {each.attempt for each in purse.held if each.day} <= attempts


@pytest.mark.parametrize("name", WAYS)
async def test_ledger_budget_and_what_is_told_agree(in_memory: Path, name: str) -> None:
    """The same money in the ledger and in the budget, of which nothing stays held; the word, the
    pictures, the usage and the reason that the user is told are those on record; each line about
    the Job can be read alone."""
    way = WAYS[name]
    purse = Watched([Cap("the budget", Money(Decimal(100), "CNY"))])
    settings = {"timeout": 60.0, "stop_after_outage": 3600.0} | way.settings
    (in_memory / "out").mkdir()
    work = Bench(in_memory / "out", Provider(**way.provider), RunSettings(**settings))
    given = one_job(in_memory, way.model, way.n)
    if way.is_spoilt:
        filed(in_memory, "another")
    prices = (lambda *_: way.price) if way.price else None
    summary = await work.run([given], budget=purse, price_at=prices)
    [job], [end], last = given.all_jobs, work.observer.ends, work.records[-1]
    assert type(last) is way.record
    assert facts_of(last, list(way.facts)) == way.facts
    assert len(work.provider.posts) == way.posts
    assert (end.job, end.ended) == (job, way.ended)
    assert (summary.ended, summary.settled) == (
        Counter([way.ended]),
        Counter({"studio": way.ended in ("done", "failed", "unknown")}),
    )
    is_left = isinstance(last, Unknown) and last.task is not None
    assert summary.unknown_with_task == is_left
    assert summary.again.jobs == ("on_unknown" in way.settings)
    agree(work, purse, last, end)
    assert [each.attempt for each in purse.held] == [
        (job.key, number) for number in range(1, max(1, way.posts) + 1)
    ]
    told_costs = total(each.cost.money for each in (*end.also_paid, end.paid) if each.cost)
    assert told_costs == work.state.totals.confirmed
    assert counted(work) == Decimal(way.confirmed) + Decimal(way.unknown)
    assert told_costs.get("CNY", Money(Decimal(0), "CNY")).amount == Decimal(way.confirmed)
    for record in work.records:
        says_its_work(record, job)


LEFT = {
    name: way
    for name, way in WAYS.items()
    if way.model == KLING and way.ended in ("unknown", "accepted")
}


@pytest.mark.parametrize("name", LEFT)
async def test_what_is_still_at_the_server_is_fetched_at_what_it_was_reserved(
    in_memory: Path, name: str
) -> None:
    """A Task that one run had to leave: the next one gets its picture, sends nothing, and of the
    ceiling that counted as history the cost is what stays in the budget."""
    way = LEFT[name]
    settings = RunSettings(timeout=60.0)
    work = Bench(in_memory, Provider(**way.provider), settings)
    given = lane(KLING, 1, poll=Poll(interval=1.0, timeout=60.0))
    await work.run([given])
    [job] = given.all_jobs
    assert counted(work) == Decimal("0.20")
    provider = work.provider = Provider()
    provider._tasks = {"image-0": (0.0, 1)}
    before = Cap("in total", Money(Decimal(100), "CNY"), Decimal("0.20"), counts_history=True)
    purse = Watched([before])
    work.observer.ends.clear()
    summary = await work.run([given], budget=purse)
    assert (summary.exit_code, provider.posts) == (0, [])
    [end], last = work.observer.ends, work.records[-1]
    assert facts_of(last, ["task", "attempt", "cost"]) == {
        "task": "image-0", "attempt": 1, "cost": "0.200000"
    }  # fmt: skip
    agree(work, purse, last, end)
    [held] = purse.held
    assert (held.attempt, held.ceiling) == ((job.key, 1), Decimal("0.20"))
    assert held.day == work.records_of(Started)[0].at[:10]


async def test_a_task_that_a_later_run_finds_gone_stays_unknown_with_its_id(
    in_memory: Path,
) -> None:
    """The service may know it again tomorrow: never final, never sent again."""
    work = Bench(in_memory, Provider(task_seconds=900.0))
    given = lane(KLING, 1, poll=Poll(interval=1.0, timeout=60.0))
    await work.run([given])
    work.provider.poll_mishaps = iter([NO_TASK])
    await work.run([given])
    last = work.records[-1]
    assert facts_of(last, ["kind", "task", "attempt", "ceiling"]) == {
        "kind": "expired", "task": "image-0", "attempt": 1, "ceiling": "0.200000"
    }  # fmt: skip
    assert isinstance(last, Unknown)
    work.provider.finish_tasks()
    assert (await work.run([given])).exit_code == 0
    assert len(work.provider.posts) == 1


async def test_what_was_paid_for_and_finds_no_disk_says_what_it_cost(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded, counted and told at its cost, as billed; the run stops for the disk."""

    def full(*_: object) -> str:
        raise StorageFailed("no room") from OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Outputs, "_store", full)
    purse = Watched([Cap("the budget", Money(Decimal(100), "CNY"))])
    work = Bench(in_memory, Provider())
    summary = await work.run([lane(GEMINI, 1)], budget=purse)
    assert (summary.exit_code, summary.ended) == (5, Counter(failed=1))
    [end], last = work.observer.ends, work.records[-1]
    assert facts_of(last, ["kind", "code", "billed", "final", "cost"]) == {
        "kind": "broken_reply", "code": "disk", "billed": "yes", "final": True, "cost": TOKENS
    }  # fmt: skip
    assert "no room" in last.error.message  # type: ignore[union-attr]
    agree(work, purse, last, end)
