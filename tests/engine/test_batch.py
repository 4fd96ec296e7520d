"""Whole runs against the tests' own provider, whose book is the oracle; in virtual time."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from retouch.dialects import DIALECTS
from retouch.dialects.base import Endpoint, Request
from retouch.engine.budget import Cap, Purse
from retouch.engine.outputs import Outputs
from retouch.engine.summary import RunOptions
from retouch.errors import BudgetReached, StorageFailed
from retouch.job import Job
from retouch.ledger.decision import Redo
from retouch.ledger.records import Done, Failed, Started, TaskAccepted, Unknown, Unsent
from retouch.manifest import Limits, Model, Poll, Price, RunSettings
from retouch.money import Money
from tests.support.provider import Message, Mishap, Provider, Receive, Send
from tests.support.sliding import fullest
from tests.support.workbench import CANARY, GEMINI, KLING, Bench, TestLane, lane

T = TypeVar("T")
pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

RATE = Mishap(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}')
CUT = Mishap(200, b'{"created": 1, "data": [{"b64_js', charged=True)


def bench(folder: Path, provider: Provider, **settings: object) -> Bench:
    return Bench(folder, provider, RunSettings(**settings))  # type: ignore[arg-type]


async def test_ledger_equals_the_book(in_memory: Path) -> None:
    """300 synchronous jobs of two pictures and 120 tasks: tokens, images and money agree."""
    provider = Provider(seconds=2.0, task_seconds=11.0)
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 300, n=2), lane(KLING, 120)])
    assert summary.exit_code == 0
    totals = work.state.totals
    assert totals.images == sum(charge.images for charge in provider.book) + 0
    assert totals.input_tokens == sum(charge.input_tokens for charge in provider.book)
    assert totals.output_tokens == sum(charge.output_tokens for charge in provider.book)
    expected = Decimal("2.1") * 300 * 300 / 10**6 + Decimal(210) * 2580 * 300 / 10**6
    assert totals.confirmed == {"CNY": Money(expected + 120 * Decimal("0.20"), "CNY")}
    assert len(provider.book) == len(provider.posts) == 420
    for record in work.records:
        if isinstance(record, Done):
            for file in record.files:
                assert (in_memory / file.path).stat().st_size == file.bytes


async def test_finished_manifest_sends_nothing(in_memory: Path) -> None:
    """A second run of a finished manifest makes no request at all."""
    provider = Provider()
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 5), lane(KLING, 3)])
    seen = len(provider.seen)
    summary = await work.run([lane(GEMINI, 5), lane(KLING, 3)])
    assert len(provider.seen) == seen
    assert summary.exit_code == 0
    assert summary.passed["done"] == 8


async def test_authorization_stays_with_the_endpoint(in_memory: Path) -> None:
    """Submits and polls carry the key, downloads never; no file holds the key or a signature."""
    provider = Provider()
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 3), lane(KLING, 3)])
    files = [seen for seen in provider.seen if seen.path.startswith("/files/")]
    assert len(files) == 3
    assert all(seen.authorization is None for seen in files)
    others = [seen for seen in provider.seen if not seen.path.startswith("/files/")]
    assert all(seen.authorization == f"Bearer {CANARY}" for seen in others)
    for path, data in work.bytes_written():
        assert CANARY.encode() not in data, path
        assert b"SIGNED" not in data, path


@pytest.mark.parametrize("per_minute", [30, 60, 600])
async def test_requests_keep_to_the_limit(in_memory: Path, per_minute: int) -> None:
    """No sliding minute holds more POSTs than the limit, and at least 95 % of it is used."""
    provider = Provider(seconds=5.0)
    work = bench(in_memory, provider)
    limits = Limits(requests_per_minute=per_minute, concurrency=200)
    await work.run([lane(GEMINI, per_minute * 2, limits=limits)])
    times = [seen.at for seen in provider.posts]
    assert fullest([(at, 1) for at in times]) <= per_minute
    assert len(times) / (times[-1] - times[0]) >= 0.95 * per_minute / 60


async def test_concurrency_is_never_passed(in_memory: Path) -> None:
    """At most `concurrency` requests are in flight, tasks included."""
    provider = Provider(seconds=3.0)
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 40, limits=Limits(concurrency=5))])
    assert provider.most_in_flight == 5


async def test_slow_lane_starves_no_other(in_memory: Path) -> None:
    """A lane of slow tasks and a fast lane run side by side."""
    provider = Provider(seconds=1.0, task_seconds=300.0)
    work = bench(in_memory, provider)
    slow = lane(KLING, 4, limits=Limits(concurrency=1), poll=Poll(interval=5, timeout=900))
    await work.run([slow, lane(GEMINI, 20, limits=Limits(concurrency=2))])
    posts = [(seen.at, seen.body) for seen in provider.posts]
    last_fast = max(at for at, body in posts if body["model"] == GEMINI)
    last_slow = max(at for at, body in posts if body["model"] == KLING)
    assert last_fast - posts[0][0] < 15
    assert last_slow - posts[0][0] > 600


async def test_retry_after_holds_the_whole_lane(in_memory: Path) -> None:
    """A 429 with Retry-After: 30 lets no request of the lane pass for 30 seconds."""
    told = Mishap(429, RATE.body, (("retry-after", "30"), ("content-type", "application/json")))
    provider = Provider(seconds=1.0, mishaps=[told])
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 10, limits=Limits(concurrency=4))])
    times = [seen.at for seen in provider.posts]
    assert times[3] == times[0]
    assert times[4] - times[0] >= 30
    assert len(provider.book) == 10
    assert work.state.counts() == Counter(done=10)


async def test_rejections_are_retried_and_never_charged_twice(in_memory: Path) -> None:
    """429s and unbilled 5xx are `unsent` and sent again; each picture is bought once."""
    busy = Mishap(503)
    provider = Provider(mishaps=[RATE, None, busy, None, Mishap(500), None, Mishap(521)])
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 6)])
    assert summary.exit_code == 0
    assert len(provider.book) == 6
    assert sum(isinstance(record, Unsent) for record in work.records) == 4
    assert not work.state.open_charges


async def test_used_up_retries_fail_for_now(in_memory: Path) -> None:
    """After 1 + retries attempts a job is failed, not final: the next run sends it again."""
    provider = Provider(mishaps=[Mishap(500)] * 3)
    work = bench(in_memory, provider, retries=2)
    summary = await work.run([lane(GEMINI, 1)])
    assert summary.exit_code == 1
    assert len(provider.posts) == 3
    failed = work.records[-1]
    assert isinstance(failed, Failed)
    assert not failed.final
    assert failed.billed == "no"
    assert (await work.run([lane(GEMINI, 1)])).exit_code == 0
    assert len(provider.book) == 1


async def test_outage_is_not_hammered(in_memory: Path) -> None:
    """While everything fails, retries stay within a tenth of the requests and a few more."""
    provider = Provider(mishaps=[Mishap(500)] * 10_000)
    work = bench(in_memory, provider, retries=5)
    await work.run([lane(GEMINI, 100)])
    assert len(provider.posts) - 100 <= 10 + 0.1 * len(provider.posts) + 1


async def test_cut_reply_is_unknown_held_and_said(in_memory: Path) -> None:
    """A 2xx that breaks off may have been charged: kept, held, sent again only when told to."""
    provider = Provider(mishaps=[CUT])
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 1)])
    assert summary.exit_code == 1
    unknown = work.records[-1]
    assert isinstance(unknown, Unknown)
    assert unknown.ceiling is not None
    [body] = (in_memory / "quarantine").iterdir()
    assert body.read_bytes() == CUT.body
    held = await work.run([lane(GEMINI, 1)])
    assert held.passed["held"] == 1
    assert held.exit_code == 1
    assert len(provider.posts) == 1
    again = await work.run([lane(GEMINI, 1)], redo=Redo(unknown=True))
    assert again.exit_code == 0
    assert len(provider.book) == 2
    assert len(work.state.open_charges) == 1


async def test_timeout_after_the_last_byte_is_unknown(in_memory: Path) -> None:
    """A request that was sent whole and not answered in time may have been charged."""
    provider = Provider(seconds=400.0)
    work = bench(in_memory, provider, timeout=30.0)
    await work.run([lane(GEMINI, 1)])
    unknown = work.records[-1]
    assert isinstance(unknown, Unknown)
    assert unknown.error.kind == "timeout"
    assert len(provider.posts) == 1


@pytest.mark.parametrize(
    ("mishap", "code"),
    [
        (Mishap(401, b'{"error":{"message":"bad key","type":"invalid_request_error"}}'), 4),
        (Mishap(403, b'{"error":{"message":"no money","type":"quota_exceeded_error"}}'), 4),
    ],
)
async def test_bad_key_and_no_money_stop_the_run(
    in_memory: Path, mishap: Mishap, code: int
) -> None:
    """The first such answer stops everything; nothing of it is final."""
    provider = Provider(seconds=1.0, mishaps=[mishap] * 1000)
    work = bench(in_memory, provider)
    one = Limits(concurrency=1)
    summary = await work.run([lane(GEMINI, 50, limits=one)])
    assert summary.exit_code == code
    assert len(provider.posts) == 1


async def test_unknown_model_stops_its_lane_alone(in_memory: Path) -> None:
    """503 'the price of the model is not set' is permanent: one request, other lanes go on."""
    said = "the price of the model is not set (model: x)"
    body = {"error": {"message": said, "type": "quota_exceeded_error"}}
    provider = Provider(mishaps=[Mishap(503, json.dumps(body).encode())], mishaps_of=GEMINI)
    work = bench(in_memory, provider)
    one = Limits(concurrency=1)
    summary = await work.run([lane(GEMINI, 5, limits=one), lane(KLING, 5)])
    assert summary.exit_code == 4
    assert Counter(charge.model for charge in provider.book) == {KLING: 5}


async def test_tasks_are_polled_to_their_end(in_memory: Path) -> None:
    """Broken polls are asked again; a task is submitted once."""
    html = Mishap(502, b"<html>bad gateway</html>", (("content-type", "text/html"),))
    provider = Provider(task_seconds=20.0, poll_mishaps=[html, RATE, Mishap(500)])
    work = bench(in_memory, provider)
    summary = await work.run([lane(KLING, 1)])
    assert summary.exit_code == 0
    assert len(provider.posts) == 1
    assert work.state.totals.images == 1


async def test_stuck_task_is_polled_on_by_the_next_run(in_memory: Path) -> None:
    """poll.timeout ends in unknown with the task's id; the next run polls and never submits."""
    provider = Provider(task_seconds=200.0)
    work = bench(in_memory, provider)
    patient = lane(KLING, 1, poll=Poll(interval=1.0, timeout=30.0))
    assert (await work.run([patient])).exit_code == 1
    unknown = work.records[-1]
    assert isinstance(unknown, Unknown)
    assert unknown.task == "image-0"
    await anyio.sleep(200)
    assert (await work.run([patient])).exit_code == 0
    assert len(provider.posts) == 1
    assert not work.state.open_charges


async def test_expired_result_is_asked_for_once_more(in_memory: Path) -> None:
    """A result URL that is gone makes the task be polled again, never submitted again."""
    provider = Provider(file_mishaps=[Mishap(403, b"expired")])
    work = bench(in_memory, provider)
    assert (await work.run([lane(KLING, 1)])).exit_code == 0
    assert len(provider.posts) == 1


async def test_result_that_cannot_be_fetched_stays_on_file(in_memory: Path) -> None:
    """When a paid result cannot be downloaded the task is kept, and fetched by the next run."""
    provider = Provider(file_mishaps=[Mishap(403, b"expired")] * 2)
    work = bench(in_memory, provider)
    assert (await work.run([lane(KLING, 1)])).exit_code == 1
    assert (await work.run([lane(KLING, 1)])).exit_code == 0
    assert len(provider.posts) == 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "content"),
        (b'{"b64_json":"@@@"}', "broken_reply"),
        (b'{"b64_json":"aGVsbG8="}', "broken_reply"),
    ],
)
async def test_paid_for_and_no_picture_is_final_and_billed(
    in_memory: Path, data: bytes, kind: str
) -> None:
    """A whole 2xx without a usable picture is failed, billed by its usage, and not sent again."""
    usage = b'{"input_tokens":300,"output_tokens":1290}'
    body = b'{"created":1,"data":[' + data + b'],"usage":' + usage + b"}"
    provider = Provider(mishaps=[Mishap(200, body, charged=True)])
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 1)])
    failed = work.records[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.kind, failed.billed, failed.final) == (kind, "yes", True)
    assert failed.cost is not None
    assert (in_memory / "quarantine").exists()
    await work.run([lane(GEMINI, 1)])
    assert len(provider.posts) == 1


async def test_budget_is_never_passed(in_memory: Path) -> None:
    """With eight lanes' worth of concurrency, what is charged stays within the budget."""
    provider = Provider(seconds=2.0)
    work = bench(in_memory, provider)
    cap = Cap("the budget", Money(Decimal("1.05"), "CNY"))
    summary = await work.run([lane(KLING, 50)], budget=Purse([cap]))
    assert isinstance(summary.stopped, BudgetReached)
    assert summary.exit_code == 6
    assert len(provider.book) == 5


async def test_interrupt_lets_requests_end_and_tasks_stay(in_memory: Path) -> None:
    """Stopped in order: synchronous requests finish, tasks stay accepted for the next run."""
    provider = Provider(seconds=5.0, task_seconds=500.0)
    work = bench(in_memory, provider)
    lanes = [lane(GEMINI, 20, limits=Limits(concurrency=2)), lane(KLING, 3)]

    summary = await work.stopped(12, lanes)
    assert summary.exit_code == 130
    counts = work.state.counts()
    assert counts["accepted"] == 3
    assert counts["done"] == len(provider.book) - 3
    assert not counts["sent"]
    await anyio.sleep(500)
    assert (await work.run(lanes)).exit_code == 0
    assert Counter(charge.model for charge in provider.book) == {GEMINI: 20, KLING: 3}


@pytest.mark.parametrize("path", ["/v1/images/tasks/", "/files/"], ids=["polls", "downloads"])
async def test_a_stop_waits_for_nothing_that_hangs(in_memory: Path, path: str) -> None:
    """CASES C21: eight polls or downloads that never end do not hold up an orderly stop; the tasks
    stay on file, and the next run fetches them, free."""

    class Hanging(Provider):
        hangs = True

        async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
            if self.hangs and scope["path"].startswith(path):
                await anyio.sleep_forever()
            await super().__call__(scope, receive, send)

    provider = Hanging(seconds=1.0, task_seconds=2.0)
    work = bench(in_memory, provider)
    lanes = [lane(KLING, 8)]
    stopped_at = 20.0
    began = anyio.current_time()

    summary = await work.stopped(stopped_at, lanes)
    assert summary.exit_code == 130
    assert anyio.current_time() - began < stopped_at + 1
    assert work.state.counts() == Counter(accepted=8)
    provider.hangs = False
    assert (await work.run(lanes)).exit_code == 0
    assert (work.state.counts(), len(provider.book)) == (Counter(done=8), 8)


async def test_second_interrupt_records_what_was_in_flight(in_memory: Path) -> None:
    """Stopped at once: every request in flight is unknown on file, none is forgotten."""
    provider = Provider(seconds=50.0)
    work = bench(in_memory, provider)
    scope = anyio.CancelScope()

    async with anyio.create_task_group() as group:

        async def interrupt() -> None:
            await anyio.sleep(12)
            scope.cancel()

        group.start_soon(interrupt)
        await work.run([lane(GEMINI, 20, limits=Limits(concurrency=3))], scope=scope)
    assert work.state.counts() == Counter(unknown=3)
    assert len(work.state.open_charges) == 3


@pytest.mark.parametrize("seconds", [0.5, 3.5, 7.5, 12.5, 30.5])
async def test_a_run_stopped_at_once_says_what_its_ledger_says(
    in_memory: Path, seconds: float
) -> None:
    """Whenever that is: done, unknown and accepted as on file, and what only waited was not sent;
    so does the run that goes on and is stopped again."""
    work = bench(in_memory, Provider(seconds=5.0, task_seconds=6.0))
    lanes = [
        lane(GEMINI, 9, limits=Limits(concurrency=3)),
        lane(KLING, 5, limits=Limits(concurrency=2)),
    ]
    before: Counter[str] = Counter()
    for _ in range(2):
        scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        summary = await work.run(lanes, scope=scope)
        assert summary.ended
        del summary.ended["stopped"]
        assert summary.ended == work.state.counts() - before
        before = work.state.counts()
        del before["accepted"]  # what is out is told by each run


async def test_limit_sends_so_many_and_no_more(in_memory: Path) -> None:
    """`--limit 4` sends four jobs over all lanes."""
    provider = Provider()
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 10), lane(KLING, 10)], run_options=RunOptions(limit=4, seed=1))
    assert len(provider.posts) == 4


async def test_intent_is_on_file_before_the_first_byte(in_memory: Path) -> None:
    """When a request arrives, its `started` record is in the file already."""
    ledger = in_memory / "ledger.jsonl"
    started: list[int] = []

    class Looking(Provider):
        def _submitted(self, asked):  # type: ignore[no-untyped-def]
            started.append(ledger.read_bytes().count(b'"started"') - len(started))
            return super()._submitted(asked)

    work = bench(in_memory, Looking())
    await work.run([lane(GEMINI, 6, limits=Limits(concurrency=1))])
    assert started == [1] * 6


async def test_accepted_is_on_file_before_the_first_poll(in_memory: Path) -> None:
    """No poll leaves before the task's id is durable."""
    ledger = in_memory / "ledger.jsonl"
    on_file: list[bool] = []

    class Looking(Provider):
        def _polled(self, task):  # type: ignore[no-untyped-def]
            on_file.append(f'"task":"{task}"'.encode() in ledger.read_bytes())
            return super()._polled(task)

    work = bench(in_memory, Looking())
    await work.run([lane(KLING, 4)])
    assert all(on_file)
    assert on_file
    assert sum(isinstance(record, TaskAccepted) for record in work.records) == 4
    assert sum(isinstance(record, Started) for record in work.records) == 4


async def test_unpriced_model_says_so(in_memory: Path) -> None:
    """Without a price there is no cost, and it is counted apart, never as zero."""
    work = bench(in_memory, Provider())
    await work.run([lane(GEMINI, 2)], priced=False)
    assert work.state.totals.unpriced == 2
    assert work.state.totals.confirmed == {}


async def test_what_cannot_be_said_is_not_begun(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dialect that cannot build the request: nothing is `started`, so nothing is unknown."""

    def refuse(job: Job, endpoint: Endpoint) -> Request:
        raise ValueError("no such field")

    monkeypatch.setattr(DIALECTS["qiniu"], "submit", refuse)
    work = bench(in_memory, Provider())
    summary = await work.run([lane(GEMINI, 1)])
    assert summary.exit_code == 1
    assert [type(record) for record in work.records] == [Failed]
    assert not work.state.open_charges


async def test_a_task_is_counted_once(in_memory: Path) -> None:
    """Tasks of an earlier run that end while the lane is still gone through are not passed too."""
    provider = Provider(seconds=1.0, task_seconds=500.0)
    work = bench(in_memory, provider)
    await work.run([lane(KLING, 3)], scope=anyio.move_on_after(50))
    assert work.state.counts() == Counter(accepted=3)
    work.observer.choices.clear()
    await anyio.sleep(500)
    slow = lane(KLING, 6, limits=Limits(concurrency=1), poll=Poll(interval=1, timeout=900))
    summary = await work.run([slow])
    assert (summary.ended["done"], sum(summary.passed.values())) == (6, 0)


async def test_a_finished_lane_gives_others_their_turn(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for tasks among very many finished jobs holds up nothing else."""
    work = bench(in_memory, Provider(task_seconds=500.0))
    finished = lane(GEMINI, 300)
    await work.run([finished])
    await work.run([lane(KLING, 1)], scope=anyio.move_on_after(100))
    turns, seen = 0, []

    class Watched(TestLane):
        def jobs(self) -> Iterator[Job]:
            for job in self.all_jobs:
                seen.append(turns)
                yield job

    given = anyio.lowlevel.checkpoint

    async def counted() -> None:
        nonlocal turns
        turns += 1
        await given()

    monkeypatch.setattr(anyio.lowlevel, "checkpoint", counted)
    watched = Watched(finished.model, finished.capabilities, finished.all_jobs)
    summary = await work.run([watched])
    assert summary.passed["done"] == 300
    assert seen[299] - seen[0] >= 3


@pytest.mark.virtual_time
async def test_under_a_budget_the_first_request_of_a_model_goes_alone(tmp_path: Path) -> None:
    """CASES A10: usage far above the ceiling passes a budget once, not once a request in flight."""
    provider = Provider(seconds=1.0, tokens_per_image=129_000)
    bench = Bench(tmp_path, provider)
    cap = Cap("the budget", Money(Decimal(5), "CNY"))
    summary = await bench.run([lane(GEMINI, 20)], budget=Purse([cap]))
    assert len(provider.book) == 1
    assert bench.state.totals.confirmed["CNY"].amount > 5
    assert isinstance(summary.stopped, BudgetReached)


@pytest.mark.virtual_time
async def test_once_a_model_is_learnt_the_others_go_side_by_side(tmp_path: Path) -> None:
    """Only the first waits for; without a budget none does."""
    provider = Provider(seconds=1.0)
    bench = Bench(tmp_path, provider)
    cap = Cap("the budget", Money(Decimal(500), "CNY"))
    began = anyio.current_time()
    await bench.run([lane(GEMINI, 17)], budget=Purse([cap]))
    assert len(provider.book) == 17
    assert anyio.current_time() - began < 5
    assert provider.most_in_flight == 8


@pytest.mark.virtual_time
async def test_a_disk_too_full_for_what_is_in_flight_is_seen_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CASES B13: exit 5 with what is free; nothing was paid for."""
    real = os.statvfs(tmp_path)
    free = os.statvfs_result((*real[:4], 1_000_000 // real.f_frsize, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    bench = Bench(tmp_path, Provider())
    summary = await bench.run([lane(GEMINI, 3)])
    assert summary.stopped is not None
    assert summary.stopped.exit_code == 5
    assert "1 MB are free" in summary.stopped.message
    assert not bench.provider.book


@pytest.mark.virtual_time
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
async def test_what_was_paid_for_and_finds_no_room_is_recorded_with_its_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """CASES B1, B13: a full disk, or no descriptor for as long as is waited for one: the pictures
    are lost, what they cost is not; and each is counted as sent."""

    def full(*_: object) -> str:
        raise StorageFailed(os.strerror(number)) from OSError(number, "refused")

    monkeypatch.setattr(Outputs, "_store", full)
    monkeypatch.setattr("retouch.storage.descriptors.WAIT_SECONDS", 0.1)
    bench = Bench(tmp_path, Provider(seconds=1.0))
    summary = await bench.run([lane(GEMINI, 20)])
    assert isinstance(summary.stopped, StorageFailed)
    lost = [record for record in bench.records if isinstance(record, Failed)]
    assert len(lost) == len(bench.provider.book) == summary.ended["failed"] == 8
    assert all(record.usage and record.cost and record.billed == "yes" for record in lost)
    assert bench.state.totals.confirmed["CNY"].amount > 2


@pytest.mark.virtual_time
async def test_a_second_interrupt_between_reply_and_record_loses_neither(tmp_path: Path) -> None:
    """CASES B14: an answer that has come, and cannot be used, is kept with its body."""
    mishap = Mishap(200, b'{"data": [{"b64_js', charged=True)
    bench = Bench(tmp_path, Provider(mishaps=[mishap]))
    scope = anyio.CancelScope()

    async def threads(call: Callable[[], T], /) -> T:
        if bench.provider.book:
            scope.cancel()  # the reply is here, its record is not
        await anyio.lowlevel.checkpoint()
        return call()

    bench.threads = threads
    await bench.run([lane(GEMINI, 1)], scope=scope)
    assert scope.cancel_called
    assert [type(record) for record in bench.records] == [Started, Unknown]
    (body,) = (tmp_path / "quarantine").iterdir()
    assert body.read_bytes() == mishap.body


@pytest.mark.virtual_time
async def test_a_second_interrupt_drops_no_picture_that_is_here(tmp_path: Path) -> None:
    """The reply has come with its picture: it is kept and recorded, whatever is cancelled."""
    bench = Bench(tmp_path, Provider())
    scope = anyio.CancelScope()

    bench.cancels_once_answered(scope)
    await bench.run([lane(GEMINI, 1)], scope=scope)
    assert scope.cancel_called
    assert bench.state.counts() == Counter(done=1)
    assert not bench.state.open_charges


MIDNIGHT = datetime(2026, 10, 31, 16, tzinfo=UTC)  # in China the 1st of November begins


PATIENT = Poll(interval=1.0, timeout=600.0)


def dearer_in_november(_: Model, moment: datetime) -> Price:
    """0.20 CNY a picture until midnight in China, 0.40 from then on."""
    amount = "0.20" if moment < MIDNIGHT else "0.40"
    return Price(id=amount, currency="CNY", per_image=Decimal(amount))


def near_midnight(folder: Path, provider: Provider, seconds_before: float) -> Bench:
    work = bench(folder, provider)
    began = anyio.current_time()

    def now() -> datetime:
        return MIDNIGHT + timedelta(seconds=anyio.current_time() - began - seconds_before)

    work.now = now
    return work


async def test_each_attempt_has_the_price_of_its_beginning(in_memory: Path) -> None:
    """Twelve jobs over the end of a month: the first at the old price though it ends after
    midnight, eleven at the new one; ceilings likewise."""
    work = near_midnight(in_memory, Provider(task_seconds=90.0), 60.0)
    limits = Limits(concurrency=1)
    await work.run([lane(KLING, 12, limits=limits, poll=PATIENT)], price_at=dearer_in_november)
    assert work.state.totals.confirmed == {"CNY": Money(Decimal("4.60"), "CNY")}
    bounds = [each.ceiling and each.ceiling.amount for each in work.records_of(Started)]
    assert bounds == ["0.200000"] + ["0.400000"] * 11


async def test_the_budget_holds_over_a_change_of_price(in_memory: Path) -> None:
    """What is about to begin is reserved at the price that it will have."""
    work = near_midnight(in_memory, Provider(task_seconds=90.0), 60.0)
    purse = Purse([Cap("the budget", Money(Decimal("2.60"), "CNY"))])
    limits = Limits(concurrency=1)
    await work.run(
        [lane(KLING, 12, limits=limits, poll=PATIENT)], price_at=dearer_in_november, budget=purse
    )
    assert work.state.totals.confirmed == {"CNY": Money(Decimal("2.60"), "CNY")}


async def test_a_job_that_waits_over_midnight_is_reserved_anew(in_memory: Path) -> None:
    """A job that waited for its turn at the lane's rate while the price rose has the new one."""
    work = near_midnight(in_memory, Provider(task_seconds=1.0), 30.0)
    limits = Limits(concurrency=4, requests_per_minute=1)
    purse = Purse([Cap("the budget", Money(Decimal("0.70"), "CNY"))])
    summary = await work.run(
        [lane(KLING, 4, limits=limits)], price_at=dearer_in_november, budget=purse
    )
    assert work.state.totals.confirmed == {"CNY": Money(Decimal("0.60"), "CNY")}
    bounds = [each.ceiling and each.ceiling.amount for each in work.records_of(Started)]
    assert bounds == ["0.200000", "0.400000"]
    assert summary.ended == Counter(done=2, stopped=2)


async def test_more_pictures_than_asked_are_not_kept(in_memory: Path) -> None:
    """The first n are kept; the bill is what the server says, and the body is put aside."""
    work = bench(in_memory, Provider(extra_pictures=5))
    await work.run([lane(GEMINI, 1)])
    (done,) = work.records_of(Done)
    assert len(done.files) == 1
    assert "6 pictures came, 1 were asked for" in done.warnings[0]
    assert list((in_memory / "quarantine").iterdir())
