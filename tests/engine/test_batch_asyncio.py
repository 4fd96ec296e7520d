"""The flows of `test_batch` on asyncio, with real threads for the disk and short real waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from retouch.ledger.decision import Redo
from retouch.manifest import Limits, Poll
from retouch.threads import in_thread
from tests.support.provider import Mishap, Provider
from tests.support.workbench import GEMINI, KLING, Bench, lane

pytestmark = pytest.mark.anyio
QUICK = Poll(interval=0.05, timeout=30.0)


async def test_ledger_equals_the_book(in_memory: Path) -> None:
    """Synchronous jobs and tasks side by side: tokens and images agree with the book."""
    provider = Provider(seconds=0.01, task_seconds=0.1)
    work = Bench(in_memory, provider, threads=in_thread)
    summary = await work.run([lane(GEMINI, 60, n=2), lane(KLING, 20, poll=QUICK)])
    assert summary.exit_code == 0
    totals = work.state.totals
    assert totals.images == sum(charge.images for charge in provider.book)
    assert totals.output_tokens == sum(charge.output_tokens for charge in provider.book)
    assert len(provider.book) == 80
    assert (await work.run([lane(GEMINI, 60, n=2), lane(KLING, 20)])).passed["done"] == 80
    assert len(provider.posts) == 80


async def test_refusals_are_retried_and_cut_replies_held(in_memory: Path) -> None:
    """An unbilled error is sent again, a cut answer is not until it is asked for."""
    cut = Mishap(200, b'{"data": [{"b64', charged=True)
    provider = Provider(mishaps=[Mishap(500), cut, Mishap(503)])
    work = Bench(in_memory, provider, threads=in_thread)
    await work.run([lane(GEMINI, 5)])
    assert work.state.counts() == Counter(done=4, unknown=1)
    assert len(provider.book) == 5
    again = await work.run([lane(GEMINI, 5)], redo=Redo(unknown=True))
    assert again.exit_code == 0
    assert len(provider.book) == 6


async def test_stopped_at_once_nothing_is_forgotten(in_memory: Path) -> None:
    """A cancelled run has an answer on file for each request it began."""
    provider = Provider(seconds=30.0)
    scope = anyio.CancelScope()
    work = Bench(in_memory, provider, threads=in_thread)

    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when, lambda: provider.in_flight == 3, scope)
        await work.run([lane(GEMINI, 9, limits=Limits(concurrency=3))], scope=scope)
    assert work.state.counts() == Counter(unknown=3)


async def test_stopped_at_once_tasks_are_polled_later(in_memory: Path) -> None:
    """Tasks that were accepted stay on file through a cancelled run; they are submitted once."""
    provider = Provider(task_seconds=60.0)
    scope = anyio.CancelScope()
    work = Bench(in_memory, provider, threads=in_thread)
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when, lambda: work.state.counts() == Counter(accepted=3), scope)
        await work.run([lane(KLING, 3, poll=QUICK)], scope=scope)
    provider.finish_tasks()
    assert (await work.run([lane(KLING, 3, poll=QUICK)])).exit_code == 0
    assert len(provider.posts) == 3


async def _cancel_when(condition: Callable[[], bool], scope: anyio.CancelScope) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for is another's state
        await anyio.sleep(0.01)
    scope.cancel()
