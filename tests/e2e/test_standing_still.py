"""A process that stands still over its deadlines (SIGSTOP, docker pause): what came is kept."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.house import house


@pytest.mark.parametrize(
    ("model", "run"),
    [
        ("{model: gemini-2.5-flash-image, limits: {concurrency: 8}}", "{timeout: 2, retries: 0}"),
        (
            "{model: kling-v2, limits: {concurrency: 8}, poll: {interval: 0.5, timeout: 2}}",
            "{timeout: 2, retries: 0}",
        ),
    ],
    ids=["replies", "tasks"],
)
def test_replies_that_came_while_stopped_are_kept(tmp_path: Path, model: str, run: str) -> None:
    """Stopped in flight, woken when each deadline is long over: 8 charges, 8 done."""
    with house(tmp_path, seconds=1, task_seconds=1.5) as place:
        place.pictures(8)
        place.manifest(f"  - {model}", run=run)
        process = place.start_anew("run")
        place.wait_until(lambda: place.posts_arrived() >= 8, process)
        os.kill(process.pid, signal.SIGSTOP)
        place.wait_until(lambda: len(place.book) >= 8, process)
        time.sleep(2.5)
        os.kill(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
        assert (place.state.counts(), len(place.book)) == (Counter(done=8), 8), errors
