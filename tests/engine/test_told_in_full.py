"""What a run writes and tells of a Job, in full: every Record of its life, how it was told to end,
and the run's summary, equal to what is expected to the last field. In virtual time."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.context import JobEnd
from retouch.engine.mirror import Copied, Mirror
from retouch.engine.outputs import Outputs
from retouch.engine.recorder import Paid
from retouch.engine.selection import Choice
from retouch.engine.summary import Summary
from retouch.errors import BudgetReached, StorageFailed
from retouch.job import Job, Source
from retouch.ledger.decision import Skip
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    FileRecord,
    Reused,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
    UsageRecord,
)
from retouch.ledger.terms import terms_of
from retouch.manifest import Limits, PayAgain, Price, RunSettings, UpTo
from retouch.money import Money
from retouch.storage import bucket_lease
from tests.engine.test_ends import EMPTY, LOST, TASK_REFUSED, UNCOUNTED, refused
from tests.engine.test_ends import told as mishap
from tests.support.memory_bucket import FOLDER, MemoryBucket
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import GEMINI, KLING, Bench, Recorder, TestLane, filed, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
BEGAN = datetime(2026, 11, 1, 8, tzinfo=UTC)
AGAIN = PayAgain(retry=1, up_to=UpTo(amount=Decimal(5), currency="CNY"))
CEILING = AmountRecord(amount="0.5472453", currency="CNY")
SEEN = AmountRecord(amount="1.8954453", currency="CNY")  # 9,000 tokens out at 210 CNY a million
PER_TOKEN = "price-54e2a83c"
COST = CostRecord(amount="0.271530", currency="CNY", basis="tokens", price=PER_TOKEN)
USAGE = UsageRecord(
    input_tokens=300, output_tokens=1290, total_tokens=1590, text_tokens=42, image_tokens=258
)
PLAIN_USAGE = UsageRecord(input_tokens=300, output_tokens=1290, total_tokens=1590)
BUSY = refused(503, "the server is overloaded")
OVERLOADED = ErrorRecord(kind="transient", status=503, message="the server is overloaded")
NO_PICTURE = ErrorRecord(kind="content", message="the reply holds no picture")


@dataclass
class Told:
    """One Job's run: its Records but for what chains them, its ends, the summary, what was said."""

    job: Job
    records: list[AnyRecord]
    ends: list[JobEnd]
    summary: Summary
    said: list[str]
    folder: Path

    def work(self, attempt: int = 1) -> dict[str, Any]:
        job = self.job
        return {
            "key": job.key, "attempt": attempt, "model": job.model, "prompt": "white",
            "source": "0.png",
        }  # fmt: skip

    def started(self, attempt: int = 1, ceiling: AmountRecord = CEILING, **more: Any) -> Started:
        terms = terms_of(self.job)
        return Started(**self.work(attempt), ceiling=ceiling, terms=terms, **more)

    def files(self, count: int = 1) -> tuple[FileRecord, ...]:
        """As the pictures lie in the folder."""
        found = []
        for number in range(count):
            path = f"images/{self.job.model}/white/0-{number}.png"
            data = (self.folder / path).read_bytes()
            found.append(FileRecord(
                path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data),
                media_type="image/png", width=8, height=8,
            ))  # fmt: skip
        return tuple(found)

    def summed(self, **more: Any) -> None:
        """The run's counts are these, and all else is as in a run of which nothing is told."""
        said = {
            each: getattr(self.summary, each)
            for each in ("ended", "passed", "stopped", "lane_stops", "unknown_with_task", "settled")
        }
        expected: dict[str, Any] = {
            "passed": Counter(), "stopped": None, "lane_stops": {}, "unknown_with_task": 0,
            "settled": Counter({self.job.model: 1}),
        }  # fmt: skip
        assert said == expected | more
        assert self.said == []


async def told(
    folder: Path,
    model: str = GEMINI,
    mishaps: Iterable[Mishap | None] = (),
    *,
    settings: RunSettings | None = None,
    n: int = 1,
    is_filed: bool = False,
    **provider: Any,
) -> Told:
    """One Job done from 08:00:00 on."""
    out = folder / "out"
    out.mkdir()
    work = Bench(out, Provider(mishaps=mishaps, **provider), settings or RunSettings())
    began = anyio.current_time()
    work.now = lambda: BEGAN + timedelta(seconds=anyio.current_time() - began)
    file = filed(folder) if is_filed else None
    given = lane(model, 1, n=n, limits=Limits(concurrency=1), file=file)
    summary = await work.run([given])
    records = work.records
    assert all(record.run == "run-0" for record in records)
    bare = [msgspec.structs.replace(record, run="", prev="") for record in records]
    return Told(given.all_jobs[0], bare, work.observer.ends, summary, work.observer.texts, out)


def equal(told: Told, *expected: AnyRecord) -> None:
    """The Records are these, but for their moments; those do not go back."""
    moments = [record.at[:-2] for record in told.records]  # of the same one a clock may stand
    assert moments == sorted(moments)
    assert all(at.startswith("2026-11-01T08:00:0") for at in moments)
    assert [msgspec.structs.replace(record, at="") for record in told.records] == [*expected]


async def test_a_request_that_is_answered(in_memory: Path) -> None:
    """Two pictures of a file: its digest and size, what was counted, what it cost, how long it
    took."""
    found = await told(in_memory, n=2, is_filed=True, seconds=2.0)
    data = (in_memory / "filed.png").read_bytes()
    source: dict[str, Any] = {
        "source_sha256": hashlib.sha256(data).hexdigest(),
        "source_bytes": len(data),
    }
    usage = msgspec.structs.replace(USAGE, output_tokens=2580, total_tokens=2880)
    cost = msgspec.structs.replace(COST, amount="0.542430")
    equal(
        found,
        found.started(ceiling=AmountRecord(amount="1.0890495", currency="CNY"), **source),
        Done(
            **found.work(), **source, usage=usage, cost=cost, files=found.files(2), seconds=2.0,
        ),
    )  # fmt: skip
    assert [record.at for record in found.records] == [
        "2026-11-01T08:00:00.000000Z", "2026-11-01T08:00:02.000000Z",
    ]  # fmt: skip
    assert found.ends == [JobEnd(found.job, "done", Paid(usage, cost), found.files(2))]
    found.summed(ended=Counter(done=1))
    assert found.summary.exit_code == 0


async def test_a_task_that_is_polled_to_its_end(in_memory: Path) -> None:
    """Where it was taken and where its picture goes, before the first poll."""
    found = await told(in_memory, KLING)
    usage = UsageRecord(images=1)
    ceiling = AmountRecord(amount="0.200000", currency="CNY")
    cost = CostRecord(amount="0.200000", currency="CNY", basis="images", price="price-861f2948")
    accepted, done = found.records[1:]
    assert isinstance(done, Done)
    assert 3 <= done.seconds < 5
    equal(
        found,
        found.started(ceiling=ceiling),
        TaskAccepted(
            key=found.job.key, attempt=1, task="image-0", endpoint="http://127.0.0.1/v1",
            output=f"images/{KLING}/white/0-{{index}}", repeat=0,
        ),
        Done(
            **found.work(), task="image-0", usage=usage, cost=cost, files=found.files(),
            seconds=done.seconds,
        ),
    )  # fmt: skip
    assert accepted.at < "2026-11-01T08:00:01"
    assert found.ends == [JobEnd(found.job, "done", Paid(usage, cost), found.files())]
    found.summed(ended=Counter(done=1))


async def test_a_request_that_is_sent_again(in_memory: Path) -> None:
    """Not charged, then answered: each Attempt has its line, the time counts from the first."""
    found = await told(in_memory, mishaps=[BUSY, None], seconds=1.0)
    last = found.records[-1]
    assert isinstance(last, Done)
    assert 2 < last.seconds < 4
    equal(
        found,
        found.started(),
        Unsent(key=found.job.key, attempt=1, error=OVERLOADED),
        found.started(2),
        Done(**found.work(2), usage=USAGE, cost=COST, files=found.files(), seconds=last.seconds),
    )
    assert found.ends == [JobEnd(found.job, "done", Paid(USAGE, COST), found.files())]
    found.summed(ended=Counter(done=1))


async def test_a_request_that_is_never_served(in_memory: Path) -> None:
    """Its last Attempt is told as failed for now, free; no more than the retries follow."""
    found = await told(in_memory, mishaps=[BUSY] * 9, settings=RunSettings(retries=1))
    equal(
        found,
        found.started(),
        Unsent(key=found.job.key, attempt=1, error=OVERLOADED),
        found.started(2),
        Unsent(key=found.job.key, attempt=2, error=OVERLOADED),
        Failed(**found.work(2), error=OVERLOADED, billed="no", final=False),
    )
    assert found.ends == [JobEnd(found.job, "failed", error=OVERLOADED)]
    found.summed(ended=Counter(failed=1))
    assert found.summary.exit_code == 1


async def test_a_request_that_brings_no_picture_and_is_paid_for_again(in_memory: Path) -> None:
    """Both are charged, and both are told with the end; final, for it would cost again."""
    settings = RunSettings(retry_empty=1)
    found = await told(in_memory, mishaps=[EMPTY, EMPTY], settings=settings)

    def failed(attempt: int) -> Failed:
        return Failed(
            **found.work(attempt), error=NO_PICTURE, billed="yes", usage=PLAIN_USAGE, cost=COST,
            ceiling=CEILING, final=True,
        )  # fmt: skip

    equal(found, found.started(), failed(1), found.started(2), failed(2))
    paid = Paid(PLAIN_USAGE, COST)
    assert found.ends == [JobEnd(found.job, "failed", paid, error=NO_PICTURE, also_paid=(paid,))]
    found.summed(ended=Counter(failed=1))
    again = found.summary.again
    assert (again.empties, again.empties_sent, again.jobs, again.held) == (1, 1, 0, 0)


async def test_a_request_whose_answer_was_lost_and_is_paid_for_again(in_memory: Path) -> None:
    """Unknown, then done: what it cost again is counted apart."""
    found = await told(in_memory, mishaps=[LOST, None], settings=RunSettings(on_unknown=AGAIN))
    first, last = found.records[1], found.records[-1]
    assert isinstance(first, Unknown)
    assert isinstance(last, Done)
    assert (first.error.kind, first.error.status) == ("broken_reply", 502)
    equal(
        found,
        found.started(),
        Unknown(**found.work(), error=first.error, ceiling=CEILING),
        found.started(2),
        Done(**found.work(2), usage=USAGE, cost=COST, files=found.files(), seconds=last.seconds),
    )
    assert found.ends == [JobEnd(found.job, "done", Paid(USAGE, COST), found.files())]
    found.summed(ended=Counter(done=1))
    again = found.summary.again
    assert (again.jobs, again.held, again.spent) == (1, 0, Money(Decimal("0.271530"), "CNY"))
    assert again.purse.in_flight == {GEMINI: 0}


async def test_a_request_that_is_refused(in_memory: Path) -> None:
    """With the server's words and code; free, and final."""
    mishap = refused(400, "rejected by our safety system", code="content_policy")
    found = await told(in_memory, mishaps=[mishap])
    error = ErrorRecord(
        kind="content", status=400, code="content_policy", message="rejected by our safety system"
    )
    equal(found, found.started(), Failed(**found.work(), error=error, billed="no", final=True))
    assert found.ends == [JobEnd(found.job, "failed", error=error)]
    found.summed(ended=Counter(failed=1))


async def test_a_task_that_fails(in_memory: Path) -> None:
    """Its id stays in the Record."""
    found = await told(in_memory, KLING, poll_mishaps=[TASK_REFUSED])
    error = ErrorRecord(kind="task_failed", status=200, message="sorry, not today")
    assert [type(record) for record in found.records] == [Started, TaskAccepted, Failed]
    assert msgspec.structs.replace(found.records[-1], at="") == Failed(
        **found.work(), error=error, billed="no", task="image-0", final=True
    )
    assert found.ends == [JobEnd(found.job, "failed", error=error)]
    found.summed(ended=Counter(failed=1))


async def test_a_request_whose_answer_was_lost(in_memory: Path) -> None:
    """Held at its ceiling."""
    found = await told(in_memory, mishaps=[LOST])
    last = found.records[-1]
    assert isinstance(last, Unknown)
    equal(found, found.started(), Unknown(**found.work(), error=last.error, ceiling=CEILING))
    assert found.ends == [JobEnd(found.job, "unknown", error=last.error)]
    found.summed(ended=Counter(unknown=1))


async def test_a_task_that_does_not_end(in_memory: Path) -> None:
    """Unknown with its Task: the next run fetches it, and the summary counts on that."""
    found = await told(in_memory, KLING, task_seconds=9999.0)
    last = found.records[-1]
    assert isinstance(last, Unknown)
    assert (last.task, last.error.kind) == ("image-0", "timeout")
    assert last.error.message == "not finished after 60 s (last: processing)"
    assert found.ends == [JobEnd(found.job, "unknown", error=last.error, task="image-0")]
    found.summed(ended=Counter(unknown=1), unknown_with_task=1)


async def test_where_a_task_goes_is_on_file_for_each_repeat(in_memory: Path) -> None:
    """So that a later run puts its picture in its place."""
    [job] = lane(KLING, 1).all_jobs
    given = replace(lane(KLING, 1), all_jobs=(replace(job, repeat=2),))
    work = Bench(in_memory, Provider())
    await work.run([given])
    [accepted] = work.records_of(TaskAccepted)
    assert (accepted.repeat, accepted.output) == (2, f"images/{KLING}/white/0-{{index}}")
    [done] = work.records_of(Done)
    assert done.files[0].path == f"images/{KLING}/white/0-2.png"


async def test_a_large_picture_and_a_link_in_one_reply_are_both_kept(in_memory: Path) -> None:
    """What is held aside of the reply's document harms what stands in it."""
    large, small = png("x" * 400_000), png("small")
    provider = Provider()
    entries = [
        {"b64_json": base64.b64encode(large).decode()},
        {"url": "http://127.0.0.1/files/image-9-0.png?e=99&token=sig:SIGNED"},
        {"b64_json": base64.b64encode(small).decode()},
    ]
    body = json.dumps({"data": entries, "usage": {"output_tokens": 3870}}).encode()
    provider.mishaps = iter([Mishap(200, body, charged=True)])
    provider.file_mishaps = iter([Mishap(200, small)])
    work = Bench(in_memory, provider)
    await work.run([lane(GEMINI, 1, n=3)])
    [outcome] = work.state.outcomes.values()
    kept = [(in_memory / file.path).read_bytes() for file in outcome.files]
    assert kept == [large, small, small]


async def test_a_large_picture_in_a_polls_reply_is_kept(in_memory: Path) -> None:
    """As in a request's: most of it is held aside of the document."""
    large = png("x" * 400_000)
    data = [{"b64_json": base64.b64encode(large).decode()}]
    document = {"task_id": "image-0", "status": "succeed", "quantity": 1, "data": data}
    found = await told(in_memory, KLING, poll_mishaps=[mishap(200, document)])
    last = found.records[-1]
    assert isinstance(last, Done)
    assert (found.folder / last.files[0].path).read_bytes() == large


async def test_a_disk_that_takes_nothing_leaves_a_cost_that_nobody_knows(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two pictures came, the server did not count, and each is paid for: held at the
    ceiling, from the one on."""

    def full(*_: object) -> str:
        raise StorageFailed("no room")

    monkeypatch.setattr(Outputs, "_store", full)
    price = Price(id="p", currency="CNY", per_image=Decimal("0.20"))
    work = Bench(in_memory, Provider(mishaps=[UNCOUNTED]))
    summary = await work.run([lane(GEMINI, 1, n=2)], price_at=lambda *_: price)
    [record] = work.records_of(Failed)
    least = AmountRecord(amount="0.200000", currency="CNY")
    ceiling = AmountRecord(amount="0.400000", currency="CNY")
    assert (record.cost, record.least, record.ceiling) == (None, least, ceiling)
    assert (record.billed, record.error.code) == ("yes", "disk")
    assert isinstance(summary.stopped, StorageFailed)


async def test_what_was_counted_raises_the_ceiling_of_what_waits(in_memory: Path) -> None:
    """Two that begin at once under a budget: the second is reserved, and written, at the most that
    the first has shown a picture to take."""
    work = Bench(in_memory, Provider(tokens_per_image=9000, seconds=1.0))
    money = Purse([Cap("the budget", Money(Decimal(100), "CNY"))])
    given = lane(GEMINI, 2, limits=Limits(concurrency=2))
    await work.run([given], budget=money)
    first, second = work.records_of(Started)
    assert (first.ceiling, second.ceiling) == (CEILING, SEEN)
    await work.run([replace(given, all_jobs=lane(GEMINI, 3).all_jobs)], budget=money)
    assert work.records_of(Started)[-1].ceiling == SEEN


async def test_a_task_that_fails_free_has_no_cost(in_memory: Path) -> None:
    """Though the server counts: no picture."""
    document = {
        "task_id": "image-0", "status": "failed", "quantity": 0, "error": {"message": "sorry"},
    }  # fmt: skip
    found = await told(in_memory, KLING, poll_mishaps=[mishap(200, document)])
    last = found.records[-1]
    assert isinstance(last, Failed)
    assert (last.billed, last.cost, last.least, last.ceiling) == ("no", None, None, None)
    assert found.ends[0].paid.cost is None


@pytest.mark.parametrize("is_header", [False, True])
async def test_a_poll_waits_as_long_as_it_is_told(in_memory: Path, *, is_header: bool) -> None:
    """In a header or in the server's words."""
    message = "slow down" if is_header else "slow down, try again in 40s"
    headers = (("content-type", "application/json"), *((("retry-after", "40"),) * is_header))
    body = json.dumps({"error": {"message": message}}).encode()
    work = Bench(in_memory, Provider(task_seconds=3.0, poll_mishaps=[Mishap(429, body, headers)]))
    await work.run([lane(KLING, 1)])
    polls = [
        seen.at for seen in work.provider.seen if seen.method == "GET" and "files" not in seen.path
    ]
    assert 40 <= polls[1] - polls[0] < 45


@dataclass(frozen=True, slots=True)
class WithCopies(TestLane):
    """A lane whose first Job is wanted in a second place, too."""

    def copies(self) -> Iterator[Job]:
        first = self.all_jobs[0]
        yield replace(
            first, source=Source("copy.png", first.source.picture), output="images/copy-{index}"
        )


async def test_a_further_place_is_told_by_its_own_name(in_memory: Path) -> None:
    """Delivered in the first run, passed in the second."""
    given = lane(GEMINI, 1)
    both = WithCopies(given.model, given.capabilities, given.all_jobs)
    work = Bench(in_memory, Provider())
    for _ in range(2):
        noting = Noting()
        work.observer = noting
        await work.run([both])
    assert noting.events == [("0.png", Skip("done")), ("copy.png", Skip("reused"))]


async def test_what_no_budget_is_left_for_is_not_paid_for_again(in_memory: Path) -> None:
    """The terms would allow it: the run stops for its budget, the Job stays unknown, and nothing of
    the terms' sum is spent."""
    money = Purse([Cap("the budget", Money(Decimal(1), "CNY"))])
    work = Bench(in_memory, Provider(mishaps=[LOST] * 3), RunSettings(on_unknown=AGAIN))
    summary = await work.run([lane(GEMINI, 1)], budget=money)
    assert isinstance(summary.stopped, BudgetReached)
    assert summary.ended == Counter(unknown=1)
    assert (summary.again.jobs, summary.again.spent) == (1, Money(Decimal(0), "CNY"))
    assert [type(record) for record in work.records] == [Started, Unknown]
    assert (money.caps[0].counted, money.reserved[None]) == (Decimal(CEILING.amount), Decimal(0))


async def test_what_is_taken_over_is_in_the_mirror_too(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that another manifest has made."""
    monkeypatch.setattr(bucket_lease, "SETTLE_SECONDS", 0.0)
    for name in ("first", "second"):
        (in_memory / name).mkdir()
    await Bench(in_memory / "first", Provider()).run([lane(GEMINI, 1)])
    bucket = MemoryBucket()
    mirror = Mirror(bucket, FOLDER, in_memory / "second", say=lambda _: None)
    mirror.begin("second")
    work = Bench(in_memory / "second", Provider(), reuse=("../first/ledger.jsonl",), mirror=mirror)

    async def read_here(call: Callable[[], Any], *_: Any, **__: Any) -> Any:
        return call()  # a thread would not stop the clock

    monkeypatch.setattr("anyio.to_thread.run_sync", read_here)
    await work.run([lane(GEMINI, 1)])
    [reused] = work.records_of(Reused)
    path = reused.files[0].path
    assert bucket.objects()[path] == (in_memory / "second" / path).read_bytes()
    assert mirror.copied == Copied(put=1)


@dataclass(slots=True)
class Noting(Recorder):
    """Notes what is passed, by name."""

    events: list[tuple[str, Choice]] = field(default_factory=list)

    def passed(self, job: Job, choice: Choice) -> None:
        self.events.append((job.source.name, choice))
