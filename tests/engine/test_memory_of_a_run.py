"""What a run holds does not grow by more than a row for each Job that has ended."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from retouch.engine.context import JobEnd
from retouch.engine.selection import Choice
from retouch.job import Job
from retouch.ledger import last_attempts
from retouch.transport import client
from tests.support.provider import Provider
from tests.support.workbench import GEMINI, KLING, Bench, TestLane, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
OURS = [tracemalloc.Filter(True, "*/src/retouch/*")]
FEWER, MORE = 80, 240


class LazyLane(TestLane):
    """Jobs made one by one, as a plan makes them."""

    def jobs(self) -> Iterator[Job]:
        for job in self.all_jobs:
            yield replace(job)


@dataclass(slots=True)
class Watching:
    """An Observer that keeps nothing but what the program holds after so many Jobs."""

    provider: Provider
    ended_count: int = 0
    held: list[int] = field(default_factory=list)

    def began(self, job: Job) -> None:
        pass

    def ended(self, _: JobEnd) -> None:
        self.ended_count += 1
        if self.ended_count in (FEWER, MORE):
            self.provider.seen.clear()  # what it was sent is its own
            client._parsed.cache_clear()  # bounded, and not yet full
            gc.collect()
            found = tracemalloc.take_snapshot().filter_traces(OURS)
            self.held.append(sum(each.size for each in found.statistics("filename")))

    def passed(self, job: Job, choice: Choice) -> None:
        pass

    def said(self, text: str) -> None:
        pass


@pytest.mark.parametrize("model", [GEMINI, KLING])
async def test_a_job_that_has_ended_is_held_in_few_bytes(
    in_memory: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent and answered, or accepted and polled; of MORE Jobs against FEWER, with all the rest."""
    monkeypatch.setattr(last_attempts, "LATEST", 50)  # what it holds is no growth
    provider = Provider(seconds=1.0, task_seconds=3.0)
    work, watching = Bench(in_memory, provider), Watching(provider)
    work.observer = watching  # type: ignore[assignment]
    made = lane(model, MORE + 10)
    lazy = LazyLane(made.model, made.capabilities, made.all_jobs)
    tracemalloc.start()
    try:
        summary = await work.run([lazy])
    finally:
        tracemalloc.stop()
    assert summary.exit_code == 0
    fewer, more = watching.held
    assert (more - fewer) / (MORE - FEWER) <= 400  # what grows by steps is in it
