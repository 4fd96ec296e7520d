"""Ctrl-C and SIGTERM on the real program."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.house import house

SYNC = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 2}}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_lets_what_is_in_flight_end(tmp_path: Path, number: int) -> None:
    """Exit 130, every request answered and recorded, the rest done by the next run."""
    with house(tmp_path, seconds=0.3) as place:
        place.pictures(10)
        place.manifest(SYNC)
        process = place.start_anew("run")
        place.wait_until(lambda: len(place.book) >= 3, process)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "stopping" in errors
        counts = place.state.counts()
        assert counts == Counter(done=len(place.book))
        assert len(place.book) < 10
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 10


@pytest.mark.parametrize("pause_seconds", [0.4, 0.003])
def test_second_signal_stops_now_and_further_ones_change_nothing(
    tmp_path: Path, pause_seconds: float
) -> None:
    """Ctrl-C pressed again, and held down to the very end of the process: exit 130 at once, and
    what was in flight is unknown on file."""
    with house(tmp_path, seconds=30) as place:
        place.pictures(2)
        place.manifest(SYNC)
        process = place.start_anew("run")
        place.wait_until(lambda: place.posts_arrived() >= 2, process)
        with suppress(ProcessLookupError):
            while process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(pause_seconds)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
        assert place.state.counts() == Counter(unknown=2)


def test_second_run_on_a_held_folder_names_the_holder(tmp_path: Path) -> None:
    """Two runs at once: the second exits 4, says which process holds the folder, sends nothing."""
    with house(tmp_path, seconds=1) as place:
        place.pictures(2)
        place.manifest(SYNC)
        first = place.start("run")
        place.wait_until(lambda: place.posts_begun() >= 2, first)
        second = place.retouch("run")
        assert second.returncode == 4
        assert str(first.pid) in second.stderr
        first.communicate(timeout=60)
        assert first.returncode == 0
        assert len(place.book) == 2
