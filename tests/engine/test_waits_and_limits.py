"""What a server asks of a lane, and what a lane keeps of its own: tokens a minute, waits, places,
and an end to all of it once the lane is stopped. In virtual time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from retouch.errors import Refused
from retouch.job import Job
from retouch.manifest import Limits, Poll, RunSettings
from tests.support.provider import Mishap, Provider
from tests.support.workbench import GEMINI, KLING, Bench, TestLane, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
ONE = Limits(concurrency=1)
JSON = (("content-type", "application/json"),)
DOWN = Mishap(503)


def told(status: int, document: object, *headers: tuple[str, str], charged: bool = False) -> Mishap:
    return Mishap(status, json.dumps(document).encode(), (*JSON, *headers), charged=charged)


CONTENT = told(400, {"error": {"message": "rejected by our safety system"}})
QUOTA = told(429, {"error": {"message": "daily quota exceeded", "type": "quota_exceeded"}})


async def test_a_token_limit_holds_by_what_the_server_counts(in_memory: Path) -> None:
    """Each request uses four times what was expected: after the first, no minute has more of them
    than the limit leaves room for."""
    provider = Provider(seconds=1.0, tokens_per_image=5160)
    per_minute = 54_600  # ten requests of 5,460
    work = Bench(in_memory, provider)
    await work.run([lane(GEMINI, 40, limits=Limits(concurrency=1, tokens_per_minute=per_minute))])
    times = [seen.at for seen in provider.posts]
    assert len(times) == 40
    for at in times:
        within = sum(at <= other < at + 60 for other in times)
        assert within <= 11  # the one in flight is not counted yet


async def test_a_refusal_ends_an_outage(in_memory: Path) -> None:
    """A server that says no to one job is there again: the next ones do not wait for probes."""
    provider = Provider(seconds=1.0, mishaps=[None, *[DOWN] * 10, CONTENT])
    work = Bench(in_memory, provider)
    await work.run([lane(GEMINI, 12, limits=ONE)])
    times = [seen.at for seen in provider.posts]
    assert times[11] - times[10] > 10  # the last probe of the outage
    assert max(later - one for one, later in pairwise(times[11:])) < 3


async def test_a_wait_asked_for_by_a_poll_is_kept(in_memory: Path) -> None:
    """Retry-After on a poll: the next poll of that Task comes after it."""
    busy = told(429, {"error": {"message": "slow down"}}, ("retry-after", "40"))
    provider = Provider(poll_mishaps=[busy])
    work = Bench(in_memory, provider)
    await work.run([lane(KLING, 1, poll=Poll(interval=1.0, timeout=300.0))])
    polls = [seen.at for seen in provider.seen if "/tasks/" in seen.path]
    assert 40 <= polls[1] - polls[0] < 60
    assert work.state.counts() == Counter(done=1)


@dataclass(slots=True)
class SilentPolls(Provider):
    """Takes every Task, and never answers when it is asked for one."""

    async def _answer(
        self, scope: MutableMapping[str, Any], body: bytes
    ) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        if not body:
            await anyio.sleep(10_000)
        return await Provider._answer(self, scope, body)


async def test_a_poll_that_hangs_does_not_outlast_its_task(in_memory: Path) -> None:
    """`poll.timeout` of 20 s: the job has ended after that, not after the request's 600 s."""
    work = Bench(in_memory, SilentPolls(), RunSettings(timeout=600.0))
    began = anyio.current_time()
    await work.run([lane(KLING, 1, poll=Poll(interval=1.0, timeout=20.0))])
    assert anyio.current_time() - began < 60
    [outcome] = work.state.outcomes.values()
    assert (outcome.state, outcome.task) == ("unknown", "image-0")


async def test_a_stopped_lane_sends_no_retry(in_memory: Path) -> None:
    """A stop while a job backs off: it is not sent again, nor waited for."""
    provider = Provider(seconds=1.0, mishaps=[told(429, {}, ("retry-after", "500"))] * 9)
    work = Bench(in_memory, provider)
    began = anyio.current_time()
    await work.stopped(30, [lane(GEMINI, 1, limits=ONE)])
    assert anyio.current_time() - began == pytest.approx(30, abs=1)
    assert len(provider.posts) == 1


async def test_places_of_a_task_model_are_counted_by_picture(in_memory: Path) -> None:
    """PROTOCOL §3: four places and two pictures a request: two Tasks at a time."""
    provider = Provider(task_seconds=30.0)
    work = Bench(in_memory, provider)
    await work.run([lane(KLING, 6, n=2, limits=Limits(concurrency=4))])
    times = [seen.at for seen in provider.posts]
    assert len(times) == 6
    assert all(sum(at <= other < at + 30 for other in times) <= 2 for at in times)


@dataclass(frozen=True, slots=True)
class CountingLane(TestLane):
    """Notes how many of its Jobs were looked at."""

    drawn: list[str] = field(default_factory=list)

    def jobs(self) -> Iterator[Job]:
        for job in self.all_jobs:
            self.drawn.append(job.source.name)
            yield job


async def test_a_stopped_lane_looks_at_no_more_jobs(in_memory: Path) -> None:
    """A parked lane of many finished jobs ends at once, whatever the length of its plan."""
    work = Bench(in_memory, Provider())
    await work.run([lane(GEMINI, 50)])
    given = lane(GEMINI, 50)
    first = replace(given.all_jobs[0], repeat=1)
    counting = CountingLane(given.model, given.capabilities, (first, *given.all_jobs))
    work.provider.mishaps = iter([QUOTA])
    summary = await work.run([counting])
    assert isinstance(summary.lane_stops[GEMINI], Refused)
    assert len(counting.drawn) < 25


async def test_probes_of_an_outage_use_up_no_retries(in_memory: Path) -> None:
    """More probes than there are retries to spend: the job that asks is done when it is over."""
    provider = Provider(seconds=1.0, mishaps=[None, *[DOWN] * 18])
    work = Bench(in_memory, provider, RunSettings(stop_after_outage=86_400.0, retries=20))
    summary = await work.run([lane(GEMINI, 3, limits=ONE)])
    assert summary.ended == {"done": 3}
    assert len(provider.posts) == 21


async def test_retries_grow_with_the_requests_that_were_sent(in_memory: Path) -> None:
    """A tenth of what was sent: 400 requests of which each twelfth is refused once all end done."""
    mishaps = [DOWN if number % 12 == 11 else None for number in range(450)]
    provider = Provider(mishaps=mishaps)
    work = Bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 400, limits=ONE)])
    assert summary.ended == {"done": 400}
