"""Ctrl-C, SIGTERM and SIGHUP on the real program."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.house import house

SYNC = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 2}}"
EIGHT = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 8}}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_lets_what_is_in_flight_end(tmp_path: Path, number: int) -> None:
    """Exit 130, every request answered and recorded, the rest done by the next run."""
    with house(tmp_path, seconds=0.3, held_after=3) as place:
        place.pictures(10)
        place.manifest(SYNC)
        process = place.start_anew("run")
        place.wait_until(lambda: len(place.book) == 3 and place.posts_arrived() == 5, process)
        os.killpg(process.pid, number)
        place.release()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "stopping" in errors
        counts = place.state.counts()
        assert counts == Counter(done=len(place.book))
        assert len(place.book) < 10
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 10


@pytest.mark.parametrize("pause_seconds", [1.1, 0.003])
def test_second_ctrl_c_stops_now_and_further_ones_change_nothing(
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
        assert "not sent" not in errors


@pytest.mark.parametrize(
    ("numbers", "pause_seconds"),
    [
        ([signal.SIGTERM] * 4, 0.4),
        ([signal.SIGHUP, signal.SIGTERM, signal.SIGHUP], 0.4),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGTERM], 0.5),
        ([signal.SIGINT] * 5, 0.1),
    ],
    ids=["TERM four times", "HUP and TERM", "INT and TERMs of wrappers", "one INT passed on"],
)
def test_only_a_second_ctrl_c_breaks_off_what_is_paid_for(
    tmp_path: Path, numbers: list[signal.Signals], pause_seconds: float
) -> None:
    """make forwards a SIGTERM, systemd sends one to the group, shells pass Ctrl-C on: an orderly
    end stays one, and every charge in the provider's book is a picture."""
    with house(tmp_path, seconds=2.5) as place:
        place.pictures(8)
        place.manifest(EIGHT)
        process = place.start_anew("run")
        place.wait_until(lambda: place.posts_arrived() >= 8, process)
        for number in numbers:
            os.killpg(process.pid, number)
            time.sleep(pause_seconds)
        _, errors = process.communicate(timeout=60)
        assert (place.state.counts(), len(place.book)) == (Counter(done=8), 8), errors


def test_term_to_the_group_of_make_run_loses_nothing(tmp_path: Path) -> None:
    """make hears SIGTERM with the rest of its group and forwards another: 8 of 8 are kept."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    with house(tmp_path, seconds=2) as place:
        place.pictures(8)
        place.manifest(EIGHT)
        recipe = f"run:\n\t@{sys.executable} -m retouch run manifest.yaml\n"
        (tmp_path / "Makefile").write_text(recipe)
        process = place.start_program([make, "run"])
        place.wait_until(lambda: place.posts_arrived() >= 8, process)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert (place.state.counts(), len(place.book)) == (Counter(done=8), 8), errors


def test_a_hangup_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    """Under nohup the run goes on to its end: exit 0."""
    with house(tmp_path, seconds=0.1, held_after=2) as place:
        place.pictures(6)
        place.manifest(SYNC)
        program = [sys.executable, "-m", "retouch", "run", "manifest.yaml"]
        process = place.start_program(["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *program])
        place.wait_until(lambda: len(place.book) >= 2, process)
        os.killpg(process.pid, signal.SIGHUP)
        place.release()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert (place.state.counts(), len(place.book)) == (Counter(done=6), 6)


def test_second_run_on_a_held_folder_names_the_holder(tmp_path: Path) -> None:
    """Two runs at once: the second exits 4, says which process holds the folder, sends nothing."""
    with house(tmp_path, held_after=0) as place:
        place.pictures(2)
        place.manifest(SYNC)
        first = place.start("run")
        place.wait_until(lambda: place.posts_begun() >= 2, first)
        second = place.retouch("run")
        assert second.returncode == 4
        assert str(first.pid) in second.stderr
        place.release()
        first.communicate(timeout=60)
        assert first.returncode == 0
        assert len(place.book) == 2
