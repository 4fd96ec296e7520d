"""A Job on its way to the server: wherever it is held up, nothing is sent, held or charged that is
not on file, and the next run sends it. In virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.context import Alone
from retouch.engine.limiter import Limiter, Permit, Stop
from retouch.errors import Interrupted
from retouch.ledger.records import Started, TaskAccepted, Unsent
from retouch.manifest import Limits, Model, Poll, RunSettings
from retouch.money import Money
from tests.support.provider import Message, Mishap, Provider, Receive, Send
from tests.support.workbench import GEMINI, KLING, Bench, TestLane, filed, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
ONE = Limits(concurrency=1)
RATE = Mishap(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}')
BUSY = Mishap(503, b'{"error":{"message":"overloaded","type":"server_error"}}')


def purse() -> Purse:
    return Purse([Cap("the budget", Money(Decimal(100), "CNY"))])


def nothing_is_held(money: Purse) -> bool:
    return not any(money.reserved.values()) and not any(money.in_flight.values())


async def stopped_after(seconds: float, work: Bench, given: TestLane, money: Purse) -> float:
    """Run until it was stopped in order at so many seconds; how many it took."""
    began = anyio.current_time()
    async with anyio.create_task_group() as group:

        async def interrupt() -> None:
            await anyio.sleep(seconds)
            assert work.batch is not None
            work.batch.stop(Interrupted("interrupted"))

        group.start_soon(interrupt)
        await work.run([given], budget=money)
    return anyio.current_time() - began


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
    took = await stopped_after(10.0, work, given, money)
    assert took == pytest.approx(30.0, abs=0.1)
    assert len(work.provider.posts) == len(work.records_of(Started)) == 1
    assert work.state.counts() == Counter(done=1)
    ended = Counter(end.ended for end in work.observer.ends)
    assert ended["done"] == 1
    assert not ended.keys() - {"done", "stopped"}
    assert nothing_is_held(money)
    assert money.caps[0].counted == work.state.totals.confirmed["CNY"].amount


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
