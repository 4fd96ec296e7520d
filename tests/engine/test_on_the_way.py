"""A Job on its way to the server: wherever it is held up, nothing is sent, held or charged that is
not on file, and the next run sends it. In virtual time."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.context import Alone
from retouch.engine.limiter import Limiter, Permit, Stop
from retouch.errors import Refused, WorkRefused
from retouch.job import Picture
from retouch.ledger.records import AnyRecord, Failed, Started, TaskAccepted, Unknown, Unsent
from retouch.manifest import Limits, Model, PayAgain, Poll, RunSettings, UpTo
from retouch.money import Money
from tests.support.provider import Message, Mishap, Provider, Receive, Send, png
from tests.support.workbench import GEMINI, KLING, Bench, TestLane, filed, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
T = TypeVar("T")
ONE = Limits(concurrency=1)
RATE = Mishap(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}')
BUSY = Mishap(503, b'{"error":{"message":"overloaded","type":"server_error"}}')


def purse() -> Purse:
    return Purse([Cap("the budget", Money(Decimal(100), "CNY"))])


def nothing_is_held(money: Purse) -> bool:
    return not any(money.reserved.values()) and not any(money.in_flight.values())


def at_the_rate(folder: Path) -> tuple[TestLane, RunSettings]:
    return lane(GEMINI, 4, limits=Limits(concurrency=4, requests_per_minute=1)), RunSettings()


def at_the_memory(folder: Path) -> tuple[TestLane, RunSettings]:
    """One picture at a time fits, and each is held until the server has read it."""
    picture = filed(folder, "x" * 10_000_000)
    return lane(GEMINI, 4, file=picture), RunSettings(memory="16MB")


def at_the_places(folder: Path) -> tuple[TestLane, RunSettings]:
    return lane(GEMINI, 4, limits=ONE), RunSettings()


class Slow(Provider):
    """Takes 30 s before it reads what is sent."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await anyio.sleep(30)
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize("place", [at_the_rate, at_the_memory, at_the_places])
async def test_a_stop_sends_nothing_of_what_waits(
    in_memory: Path, place: Callable[[Path], tuple[TestLane, RunSettings]]
) -> None:
    """One is out for 30 s when the stop comes: it ends, and those that wait for its lane's rate,
    for memory or for a place are left as they were, and are told as left."""
    (in_memory / "out").mkdir()
    given, settings = place(in_memory)
    work, money = Bench(in_memory / "out", Slow(), settings), purse()
    began = anyio.current_time()
    await work.stopped(10.0, [given], budget=money)
    assert anyio.current_time() - began == pytest.approx(30.0, abs=0.1)
    assert len(work.provider.posts) == len(work.records_of(Started)) == 1
    assert work.state.counts() == Counter(done=1)
    ended = Counter(end.ended for end in work.observer.ends)
    assert ended["done"] == 1
    assert not ended.keys() - {"done", "stopped"}
    assert nothing_is_held(money)
    assert money.caps[0].counted == work.state.totals.confirmed["CNY"].amount


async def test_a_stop_sends_nothing_of_what_waits_for_memory(in_memory: Path) -> None:
    """Its files would be read when the first one's were sent: nothing is on file, or held."""
    (in_memory / "out").mkdir()
    large = msgspec.structs.replace(filed(in_memory), bytes=60_000_000)
    work, money = Bench(in_memory / "out", Provider(), RunSettings(memory="64MB")), purse()

    async def slow(call: Callable[[], T], /) -> T:
        await anyio.sleep(5)
        return call()

    work.threads = slow
    given = lane(GEMINI, 2, file=large, limits=Limits(concurrency=2))
    await work.run([replace(given, all_jobs=given.all_jobs[:1])], budget=money)  # learnt
    work.observer.ends.clear()
    more = replace(given, all_jobs=lane(GEMINI, 3, file=large).all_jobs[1:])
    await work.stopped(2, [more], budget=money)
    assert sorted(end.ended for end in work.observer.ends) == ["done", "stopped"]
    assert len(work.provider.posts) == 2
    assert nothing_is_held(money)


async def test_what_had_not_left_when_all_was_broken_off_is_unsent(in_memory: Path) -> None:
    """A second Ctrl-C while the server has not taken the request: free, for sure, and on file."""
    work, money = Bench(in_memory, Slow()), purse()
    await work.run([lane(GEMINI, 2)], budget=money, scope=anyio.move_on_after(10))
    [unsent] = work.records_of(Unsent)
    assert unsent.error.message == "the run was stopped while this request was in flight"
    assert not work.state.open_charges
    assert nothing_is_held(money)
    assert (await work.run([lane(GEMINI, 2)])).exit_code == 0
    assert len(work.provider.book) == 2


@dataclass
class NoLeave(Alone):
    """Gives leave to send that holds no more when it comes to it: `late` times, then for good."""

    late: int

    def limiter(self, model: Model) -> Limiter:
        return RunsOut(model.limits, self)


class RunsOut(Limiter):
    def __init__(self, limits: Limits, sharing: NoLeave) -> None:
        super().__init__(limits)
        self.sharing = sharing

    async def permit(self, stop: Stop, *, images: int = 1, tokens: float = 0) -> Permit | None:
        given = await super().permit(stop, images=images, tokens=tokens)
        return given and LatePermit(self, images, tokens)


class LatePermit(Permit):
    async def is_due(self) -> bool:
        sharing = self._limiter.sharing  # type: ignore[attr-defined]
        sharing.late -= 1
        return bool(sharing.late < 0)


@dataclass
class Noted(Alone):
    """Notes whose first bytes were on their way: how many requests the server had seen by then."""

    provider: Provider
    wired: list[int] = field(default_factory=list)

    def limiter(self, model: Model) -> Limiter:
        return NotedLimiter(model.limits, self)


class NotedLimiter(Limiter):
    def __init__(self, limits: Limits, sharing: Noted) -> None:
        super().__init__(limits)
        self.sharing = sharing

    async def permit(self, stop: Stop, *, images: int = 1, tokens: float = 0) -> Permit | None:
        given = await super().permit(stop, images=images, tokens=tokens)
        return given and NotedPermit(self, images, tokens)


class NotedPermit(Permit):
    def on_wire(self) -> None:
        sharing = self._limiter.sharing  # type: ignore[attr-defined]
        sharing.wired.append(len(sharing.provider.posts))


async def test_a_shared_limit_is_told_when_a_request_is_on_its_way(in_memory: Path) -> None:
    """Once each, before the server has it."""
    provider = Provider()
    sharing = Noted(provider)
    work = Bench(in_memory, provider, sharing=sharing)
    await work.run([lane(GEMINI, 3, limits=ONE)])
    assert sharing.wired == [0, 1, 2]


async def test_what_has_no_leave_any_more_is_said_and_not_sent(in_memory: Path) -> None:
    """Leave to send that ran out between the record and the wire: unsent on file, nothing held,
    nothing at the server; the next run sends it."""
    work, money = Bench(in_memory, Provider(), sharing=NoLeave(1)), purse()
    given = lane(GEMINI, 2, limits=ONE)
    summary = await work.run([given], budget=money)
    assert [record.error.message for record in work.records_of(Unsent)] == [
        "not sent: its leave to send has run out"
    ]
    assert summary.ended == Counter(stopped=1, done=1)
    assert (len(work.provider.posts), len(work.provider.book)) == (1, 1)
    assert nothing_is_held(money)
    assert (await work.run([given])).exit_code == 0
    assert len(work.provider.book) == 2


OTHER = "http://127.0.0.2/v1"


@dataclass(slots=True)
class TwoAddresses(Provider):
    """Notes at which host each request arrived; one of them is not there."""

    away: str = "127.0.0.1"
    hosts: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        if host == self.away:
            raise OSError("connection refused")
        self.hosts.append((scope["method"], host))
        await Provider.__call__(self, scope, receive, send)


async def test_an_address_that_is_not_there_leads_to_the_next_and_the_task_stays_with_it(
    in_memory: Path,
) -> None:
    """Nothing reached the first; the second takes the Task, is asked for it by this run and the
    next one, and is what the ledger names."""
    provider = TwoAddresses(task_seconds=500.0)
    work = Bench(in_memory, provider, fallback_urls=(OTHER,))
    patient = lane(KLING, 1, poll=Poll(interval=1.0, timeout=30.0))
    await work.run([patient])
    [accepted] = work.records_of(TaskAccepted)
    assert (accepted.endpoint, accepted.attempt) == (OTHER, 2)
    assert provider.hosts.count(("GET", "127.0.0.2")) == len(provider.hosts) - 1 > 3
    provider.finish_tasks()
    provider.away = ""
    assert (await work.run([patient])).exit_code == 0
    assert set(provider.hosts) == {("POST", "127.0.0.2"), ("GET", "127.0.0.2")} | {
        ("GET", "127.0.0.1")  # of the picture, whose address the server tells
    }
    assert len(provider.book) == 1


@pytest.mark.parametrize("mishap", [RATE, BUSY])
async def test_an_address_that_answers_is_asked_again(in_memory: Path, mishap: Mishap) -> None:
    """A limit or a server that is busy is no reason to turn to another address."""
    provider = TwoAddresses(away="", mishaps=[mishap])
    work = Bench(in_memory, provider, fallback_urls=(OTHER,))
    assert (await work.run([lane(GEMINI, 1)])).exit_code == 0
    assert provider.hosts == [("POST", "127.0.0.1")] * 2


AGAIN = PayAgain(retry=1, up_to=UpTo(amount=Decimal(5), currency="CNY"))
LOST = Mishap(502, b"<html>", (("content-type", "text/html"),), charged=True)
EMPTY = Mishap(200, b'{"data": [], "usage": {"input_tokens": 3, "output_tokens": 9}}', charged=True)


@pytest.mark.parametrize(
    ("mishap", "settings", "ended", "last"),
    [
        (RATE, {}, "stopped", Unsent),
        (LOST, {"on_unknown": AGAIN}, "unknown", Unknown),
        (EMPTY, {"retry_empty": 2}, "failed", Failed),
    ],
    ids=["unsent", "lost", "empty"],
)
async def test_a_stop_before_another_attempt_leaves_the_job_as_the_last_one_did(
    in_memory: Path, mishap: Mishap, settings: dict[str, Any], ended: str, last: type[AnyRecord]
) -> None:
    """The answer that would have been tried again comes when the run is being stopped: it is what
    is told, and nothing more is sent, paid for or held."""
    work = Bench(in_memory, Provider(seconds=10.0, mishaps=[mishap]), RunSettings(**settings))
    money = purse()
    await work.stopped(5.0, [lane(GEMINI, 1)], WorkRefused("enough"), budget=money)
    assert (type(work.records[-1]), len(work.provider.posts)) == (last, 1)
    [end] = work.observer.ends
    assert end.ended == ended
    assert end.error == (None if ended == "stopped" else work.records[-1].error)  # type: ignore[union-attr]
    assert nothing_is_held(money)
    assert work.batch is not None
    assert work.batch.summary.again.jobs == 0


async def test_tasks_that_are_left_are_told_as_accepted(in_memory: Path) -> None:
    """An interrupt leaves them at the server."""
    work, money = Bench(in_memory, Provider(task_seconds=900.0)), purse()
    await work.stopped(10.0, [lane(KLING, 3)], budget=money)
    assert [end.ended for end in work.observer.ends] == ["accepted"] * 3
    assert money.caps[0].counted == Decimal("0.60")
    assert nothing_is_held(money)


FETCHED = Mishap(
    200,
    b'{"data": [{"url": "http://127.0.0.1/files/1.png"}], "usage": {"output_tokens": 1290}}',
    charged=True,
)


class SlowFiles(Provider):
    """Takes 20 s for each picture that is fetched."""

    async def _answer(self, scope: Any, body: bytes) -> Any:
        if scope["path"].startswith("/files/"):
            await anyio.sleep(20)
        return await super()._answer(scope, body)


async def test_what_is_fetched_after_a_stop_is_said_with_how_long_it_may_take(
    in_memory: Path,
) -> None:
    """A paid picture that only a URL leads to: waited for, and said."""
    work = Bench(in_memory, SlowFiles(seconds=10.0, mishaps=[FETCHED]), RunSettings(timeout=70.0))
    await work.stopped(5.0, [lane(GEMINI, 1)], WorkRefused("enough"), budget=purse())
    assert work.state.counts() == Counter(done=1)
    assert "fetching a paid result: up to 70 s more" in work.observer.texts
    (in_memory / "other").mkdir()
    other = Bench(in_memory / "other", SlowFiles(mishaps=[FETCHED]))
    await other.run([lane(GEMINI, 1)])
    assert not any("fetching" in text for text in other.observer.texts)


async def test_a_paid_result_that_is_broken_off_while_it_is_fetched_is_unknown(
    in_memory: Path,
) -> None:
    """A second Ctrl-C: on file as unknown, the reply with its URL kept aside, and so told."""
    work, money = Bench(in_memory, SlowFiles(mishaps=[FETCHED])), purse()
    await work.run([lane(GEMINI, 1)], budget=money, scope=anyio.move_on_after(10))
    [unknown] = work.records_of(Unknown)
    assert unknown.error.kind == "network"
    assert unknown.error.message == "stopped while its pictures were fetched"
    [kept] = (in_memory / "quarantine").iterdir()
    assert kept.read_bytes() == FETCHED.body
    assert [end.ended for end in work.observer.ends] == ["unknown"]
    assert unknown.ceiling is not None
    assert money.caps[0].counted == unknown.ceiling.money.amount
    assert nothing_is_held(money)


@dataclass
class NoLink:
    """Can make no link, for this reason."""

    why: Refused

    async def of(self, picture: Picture, data: bytes) -> str:
        raise self.why


@pytest.mark.parametrize("why", [Refused("no bucket"), WorkRefused("no bucket for now")])
async def test_where_no_link_can_be_had_nothing_is_sent(in_memory: Path, why: Refused) -> None:
    """What may pass stops the lane that needs it; what is set up wrong stops the run; nothing is
    on file, or held."""
    (in_memory / "out").mkdir()
    work, money = Bench(in_memory / "out", Provider(seconds=5.0), links=NoLink(why)), purse()
    linked = msgspec.structs.replace(filed(in_memory), by_link=True)
    given = lane(GEMINI, 3, file=linked, limits=ONE)
    summary = await work.run([given, lane(KLING, 3, limits=ONE)], budget=money)
    assert not [each for each in work.provider.posts if each.body["model"] == GEMINI]
    assert [end.ended for end in work.observer.ends if end.job.model == GEMINI] == ["stopped"]
    if isinstance(why, WorkRefused):
        assert (summary.stopped, summary.lane_stops) == (None, {GEMINI: why})
        assert work.state.counts() == Counter(done=3)
    else:
        assert summary.stopped is why
        assert len(work.provider.posts) <= 1
    assert nothing_is_held(money)


async def test_a_limit_of_pictures_counts_each_picture_of_a_request(in_memory: Path) -> None:
    """Four a minute and two a request: no minute sees more than two requests."""
    work = Bench(in_memory, Provider())
    limits = Limits(concurrency=8, images_per_minute=4)
    await work.run([lane(GEMINI, 6, n=2, limits=limits)])
    times = [seen.at for seen in work.provider.posts]
    assert len(times) == 6
    assert all(sum(at <= other < at + 60 for other in times) <= 2 for at in times)
    assert times[-1] - times[0] < 200


REFUSED = Mishap(400, b'{"error":{"message":"rejected by our safety system"}}')
NO_TASK = Mishap(
    200, b'{"task_id": "x", "status": "failed", "error": {"message": "could not be made"}}'
)


async def test_what_costs_nothing_and_is_each_jobs_own_stops_no_lane(in_memory: Path) -> None:
    """Refused content is no loss, however often; tasks that fail alike are no shared mistake: the
    server took each of them."""
    work = Bench(in_memory, Provider(mishaps=[REFUSED] * 12), RunSettings(stop_after_losses=3))
    summary = await work.run([lane(GEMINI, 14, limits=ONE)])
    assert (summary.lane_stops, summary.ended) == ({}, Counter(failed=12, done=2))
    (in_memory / "other").mkdir()
    other = Bench(in_memory / "other", Provider(poll_mishaps=[NO_TASK] * 12))
    summary = await other.run([lane(KLING, 14, limits=ONE)])
    assert (summary.lane_stops, summary.ended) == ({}, Counter(failed=12, done=2))
    assert all(each.final for each in other.records_of(Failed))


async def test_a_large_reply_that_is_broken_in_part_is_kept_as_it_came(in_memory: Path) -> None:
    """The picture that is whole is kept; the body, of which its letters were held aside, is put
    into quarantine byte for byte."""
    picture = png("x" * 400_000)
    entries = [{"b64_json": base64.b64encode(picture).decode()}, {"b64_json": "@@"}]
    body = json.dumps({"data": entries, "usage": {"output_tokens": 2580}}).encode()
    work = Bench(in_memory, Provider(mishaps=[Mishap(200, body, charged=True)]))
    await work.run([lane(GEMINI, 1, n=2)])
    [outcome] = work.state.outcomes.values()
    assert (outcome.state, len(outcome.files)) == ("done", 1)
    assert (in_memory / outcome.files[0].path).read_bytes() == picture
    [kept] = (in_memory / "quarantine").iterdir()
    assert kept.read_bytes() == body
