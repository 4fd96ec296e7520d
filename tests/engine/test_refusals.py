"""What stops a lane, a run or nothing at all; waits as servers ask for them; what a user states of
his provider (CASES A6, C4, C6, C7)."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from retouch.engine.breaker import Refusals
from retouch.engine.pacing import retry_after_seconds
from retouch.errors import Refused, WorkRefused
from retouch.ledger import open_ledger
from retouch.ledger.decision import Redo
from retouch.ledger.records import Failed, Resolved, Started
from retouch.manifest import Limits, PayAgain, RunSettings, UpTo
from tests.support.provider import Mishap, Provider
from tests.support.workbench import GEMINI, KLING, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
JSON = (("content-type", "application/json"),)
ONE = Limits(concurrency=1)


def told(status: int, document: object, *headers: tuple[str, str], charged: bool = False) -> Mishap:
    return Mishap(status, json.dumps(document).encode(), (*JSON, *headers), charged=charged)


def bench(folder: Path, provider: Provider, **settings: object) -> Bench:
    return Bench(folder, provider, RunSettings(**settings))  # type: ignore[arg-type]


WRONG = [
    told(400, {"error": {"message": f"unsupported file '{number}.png' (request id: 2026{number})"}})
    for number in range(40)
]


async def test_ten_refusals_alike_and_none_served_stop_the_lane(in_memory: Path) -> None:
    """C4: ten POSTs for 40 jobs, exit 4, and none of the ten is final: what they share is mended
    and the next run does them all."""
    provider = Provider(mishaps=WRONG)
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 40, limits=ONE)])
    assert len(provider.posts) == 10
    assert summary.exit_code == 4
    [stop] = summary.lane_stops.values()
    assert "10 refusals alike and nothing served" in stop.message
    last = {record.key: record for record in work.records if isinstance(record, Failed)}
    assert len(last) == 10
    assert not any(record.final for record in last.values())
    provider.mishaps = iter(())
    again = await work.run([lane(GEMINI, 40, limits=ONE)])
    assert again.exit_code == 0
    assert work.state.counts() == Counter(done=40)


async def test_refusals_in_flight_with_the_tenth_are_not_final_either(in_memory: Path) -> None:
    """Eight at once: those that were out when the lane stopped say the same."""
    provider = Provider(seconds=1.0, mishaps=WRONG)
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 40, limits=Limits(concurrency=8))])
    last = {record.key: record for record in work.records if isinstance(record, Failed)}
    assert 10 <= len(last) <= 18
    assert not any(record.final for record in last.values())


async def test_a_refusal_among_served_jobs_is_the_jobs_own(in_memory: Path) -> None:
    """Once something was served, alike or not, each is final as ever."""
    mishaps = [None, *WRONG[:15]]
    provider = Provider(mishaps=mishaps)
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 20, limits=ONE)])
    assert not summary.lane_stops
    assert work.state.counts() == Counter(done=5, failed=15)
    assert (await work.run([lane(GEMINI, 20, limits=ONE)])).passed["failed"] == 15


async def test_content_refused_is_each_jobs_own(in_memory: Path) -> None:
    """C4: content behind a 500 is final, not held; twelve of them stop nothing."""
    refused = told(500, {"error": {"message": "rejected by our safety system"}})
    provider = Provider(mishaps=[refused] * 12)
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 14, limits=ONE)])
    assert not summary.lane_stops
    assert work.state.counts() == Counter(done=2, failed=12)
    assert all(
        record.final and record.billed == "no"
        for record in work.records
        if isinstance(record, Failed)
    )


@pytest.mark.parametrize(
    ("mishap", "word"),
    [
        (told(400, [{"error": {"message": "API key not valid. Please pass a valid API key."}}]),
         "API key not valid"),
        (told(400, {"error": {"message": "User location is not supported for the API use."}}),
         "location"),
        (told(403, {"error": {"code": "AccountOverdueError", "message": "overdue"}}), "overdue"),
        (told(500, [{"error": {"message": "余额不足"}}]), "余额不足"),
    ],
)  # fmt: skip
async def test_what_holds_for_every_job_stops_at_the_first(
    in_memory: Path, mishap: Mishap, word: str
) -> None:
    """C4: one POST, exit 4, nothing final: the next run sends them all."""
    provider = Provider(mishaps=itertools.repeat(mishap))
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 40, limits=ONE)])
    assert len(provider.posts) == 1
    assert isinstance(summary.stopped, Refused)
    assert word in summary.stopped.message
    provider.mishaps = iter(())
    assert (await work.run([lane(GEMINI, 40, limits=ONE)])).exit_code == 0


def test_refusals_are_alike_by_what_does_not_differ() -> None:
    """Ids, names, numbers and addresses of one message are its own; another message is another."""
    refusals: Refusals[int] = Refusals(3)
    assert refusals.refused("bad file 'a.png' (request id: 12345)", 1) == ()
    assert refusals.refused("something else", 2) == ()
    assert refusals.refused("bad file 'b.png' (request id: 99)", 3) == ()
    assert refusals.refused("bad file 'c.png' (request id: 7)", 4) == (1, 3, 4)
    assert refusals.refused("bad file 'd.png' (request id: 8)", 5) == (5,)
    refusals.served()
    assert refusals.refused("bad file 'e.png' (request id: 8)", 6) == ()


async def test_a_long_429_is_waited_for_as_the_manifest_says(in_memory: Path) -> None:
    """C6: 75 s of 429 from the very first request: a limit is an answer, not a wrong address."""
    busy = told(429, {"error": {"message": "slow down", "type": "rate_limit_error"}})
    provider = Provider(mishaps=_for_seconds(75, busy))
    work = bench(in_memory, provider, stop_after_outage=3600.0)
    summary = await work.run([lane(GEMINI, 30, limits=Limits(concurrency=8))])
    assert not summary.lane_stops
    assert work.state.counts()["done"] == 30
    assert provider.posts[-1].at - provider.posts[0].at > 75


def _for_seconds(seconds: float, mishap: Mishap) -> Iterator[Mishap | None]:
    """The mishap so long, from the first request on."""
    began = anyio.current_time()
    while True:
        now = anyio.current_time()
        yield mishap if now - began < seconds else None


@pytest.mark.parametrize(
    "mishap",
    [
        told(429, {"error": {"message": "x"}}, ("retry-after-ms", "30000")),
        told(429, {"error": {"message": "Rate limit reached. Please try again in 30s."}}),
        told(429, [{"error": {"message": "x", "details": [{"retryDelay": "30s"}]}}]),
        told(429, {"error": {"message": "x"}}, ("date", "Sun, 01 Mar 2009 12:00:00 GMT"),
             ("retry-after", "Sun, 01 Mar 2009 12:00:30 GMT")),
        told(429, {"error": {"message": "x"}}, ("x-ratelimit-remaining-requests", "0"),
             ("x-ratelimit-reset-requests", "30s"), ("x-ratelimit-remaining-tokens", "149984"),
             ("x-ratelimit-reset-tokens", "6m0s")),
        told(429, {"error": {"message": "Please try again in 30s."}},
             ("x-ratelimit-reset-tokens", "6m0s")),
    ],
)  # fmt: skip
async def test_a_wait_is_heeded_however_it_is_told(in_memory: Path, mishap: Mishap) -> None:
    """C7: in milliseconds, in the body, in words, by a clock that is years off, by the limit that
    is used up (and not by one that is not)."""
    provider = Provider(seconds=1.0, mishaps=[mishap])
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 4, limits=ONE)])
    times = [seen.at for seen in provider.posts]
    assert 30 <= times[1] - times[0] < 40
    assert work.state.counts() == Counter(done=4)


def test_the_replys_own_date_tells_the_skew() -> None:
    """C7: without a Date our own clock is all there is."""
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    asked = {"retry-after": "Sun, 01 Mar 2026 13:00:30 GMT"}
    assert retry_after_seconds(asked | {"date": "Sun, 01 Mar 2026 13:00:00 GMT"}, now) == 30
    assert retry_after_seconds(asked, now) == 600
    assert retry_after_seconds(asked | {"date": "yesterday"}, now) == 600
    assert retry_after_seconds({"retry-after-ms": "1500", "retry-after": "9"}, now) == 1.5


async def test_a_days_quota_told_in_details_stops_the_lane(in_memory: Path) -> None:
    """C7: PerDay is not waited for; other models go on."""
    gone = told(
        429,
        {
            "error": {
                "message": "You exceeded your current quota",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}],
            }
        },
    )
    provider = Provider(mishaps=itertools.repeat(gone), mishaps_of=GEMINI)
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 10, limits=ONE), lane(KLING, 3)])
    assert isinstance(summary.lane_stops[GEMINI], WorkRefused)
    assert work.state.counts()["done"] == 3
    assert sum(seen.body["model"] == GEMINI for seen in provider.posts) == 1


async def test_statuses_that_the_user_states_are_unbilled_are_sent_again(in_memory: Path) -> None:
    """`provider.unbilled_statuses: [502]`: retried; without it held."""
    lost = told(502, {"message": "An invalid response was received from the upstream server"})
    held = bench(in_memory / "held", Provider(mishaps=[lost]))
    (in_memory / "held").mkdir()
    await held.run([lane(GEMINI, 1)])
    assert held.state.counts() == Counter(unknown=1)
    stated = bench(in_memory / "stated", Provider(mishaps=[lost]))
    (in_memory / "stated").mkdir()
    stated.unbilled_statuses = (502,)
    await stated.run([lane(GEMINI, 1)])
    assert stated.state.counts() == Counter(done=1)
    assert len(stated.provider.posts) == 2


LOST = Mishap(502, b"<html>", (("content-type", "text/html"),), charged=True)
TERMS = PayAgain(retry=1, up_to=UpTo(amount=Decimal(5), currency="CNY"))


async def resolve(folder: Path, key: str, attempt: int) -> None:
    async with open_ledger(folder / "ledger.jsonl", "resolve") as ledger:
        await ledger.append(Resolved(key=key, attempt=attempt, verdict="charged"))


@pytest.mark.parametrize("redo", [Redo(unknown=True), Redo(again=1), Redo(failed=True)])
async def test_a_resolution_is_overridden_by_a_key_alone(in_memory: Path, redo: Redo) -> None:
    """A6: `on_unknown: retry`, `--redo unknown` and the terms of paying again buy nothing of what
    was resolved as charged; a key named by hand does."""
    provider = Provider(mishaps=[LOST] * 5)
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 5)])
    assert work.state.counts() == Counter(unknown=5)
    for key in tuple(work.state.outcomes):
        await resolve(in_memory, key, 1)
    await work.run([lane(GEMINI, 5)], redo=redo)
    assert len(provider.posts) == 5
    key = next(iter(work.state.outcomes))
    await work.run([lane(GEMINI, 5)], redo=Redo(keys=frozenset([key])))
    assert len(provider.posts) == 6


async def test_what_an_earlier_run_lost_is_sent_again_on_the_terms(in_memory: Path) -> None:
    """Once a Job, counted over all runs: what was lost twice is held from then on."""
    provider = Provider(mishaps=[LOST] * 4)
    work = bench(in_memory, provider)
    await work.run([lane(GEMINI, 4)])
    work.settings = RunSettings(on_unknown=TERMS)
    provider.mishaps = iter([LOST])
    await work.run([lane(GEMINI, 4)], redo=Redo(again=1))
    assert work.state.counts() == Counter(done=3, unknown=1)
    summary = await work.run([lane(GEMINI, 4)], redo=Redo(again=1))
    assert len(provider.posts) == 8
    assert summary.passed["held"] == 1
    attempts = Counter(record.key for record in work.records if isinstance(record, Started))
    assert max(attempts.values()) == 2


async def test_what_is_unpriced_is_never_paid_for_again(in_memory: Path) -> None:
    """No sum can be kept over what has no price: held, and counted as held."""
    provider = Provider(mishaps=[LOST])
    work = bench(in_memory, provider, on_unknown=TERMS)
    summary = await work.run([lane(GEMINI, 1)], priced=False)
    assert len(provider.posts) == 1
    assert summary.again.held == 1
    assert work.state.counts() == Counter(unknown=1)
