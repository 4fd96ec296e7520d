"""kill -9 on the real program, again and again; the oracle is the provider's book, elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.house import house
from tests.e2e.killing import killed_again_and_again


@pytest.mark.parametrize(("seed", "dialect"), [(0, "qiniu"), (1, "openai"), (2, "qiniu")])
def test_killed_at_random_nothing_is_bought_twice(tmp_path: Path, seed: int, dialect: str) -> None:
    """Eighteen times each, by a seed that says when."""
    killed_again_and_again(tmp_path, seed, dialect)


def test_killed_with_tasks_out_polls_them_and_never_submits_again(tmp_path: Path) -> None:
    """Tasks on file when the process dies are polled to their end by the next run."""
    with house(tmp_path, seconds=0, task_seconds=3) as place:
        place.pictures(3)
        place.manifest("  - {model: kling-v2, poll: {interval: 0.2}}")
        process = place.start("run")
        on_file = Counter(accepted=3)
        place.wait_until(lambda: len(place.book) == 3 and place.state.counts() == on_file, process)
        process.kill()
        process.communicate()
        assert place.state.counts() == on_file
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 3
