"""Thousands of tasks out at once, through the whole engine, in virtual time."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import anyio
import pytest

from retouch.manifest import Limits, Poll
from tests.support.provider import Provider
from tests.support.workbench import KLING, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]


async def _held(folder: Path, count: int) -> int:
    """The bytes held while so many tasks are out."""
    folder.mkdir()  # noqa: ASYNC240 - the clock is virtual
    bench = Bench(folder, Provider(task_seconds=40.0))
    jobs = lane(
        KLING, count, limits=Limits(concurrency=count), poll=Poll(interval=5.0, timeout=900.0)
    )
    held = 0

    async def look() -> None:
        nonlocal held
        await anyio.sleep(30)
        assert bench.batch is not None
        assert bench.batch.in_flight == count
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]

    gc.collect()
    tracemalloc.start()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            summary = await bench.run([jobs])
    finally:
        tracemalloc.stop()
    assert summary.ended["done"] == len(bench.provider.book) == count
    return held


async def test_a_task_in_flight_costs_little(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand in 300 MB: at most 25 kB each, whatever waits for them, and all are fetched.
    Small sources are not kept for the next jobs: that has a bound of its own."""
    monkeypatch.setattr("retouch.engine.memory.RECENT_EACH_BYTES", 0)
    await _held(in_memory / "first", 2)  # what is made once
    few, many = await _held(in_memory / "few", 20), await _held(in_memory / "many", 220)
    assert (many - few) / 200 < 25_000
