"""A damaged ledger: its good beginning goes on, what may have come after is held, none doubled."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.house import House, house
from tests.e2e.test_what_is_out import SYNC, TASKS, doubled

JOBS = 8


def salvage(place: House) -> subprocess.CompletedProcess[str]:
    """`retouch salvage` of the house's ledger."""
    return place.retouch_on("salvage", str(place.outputs / "ledger.jsonl"))


def _a_byte_flipped(lines: list[bytes]) -> None:
    lines[9] = lines[9].replace(b'"started"', b'"startes"').replace(b'"done"', b'"dome"')


def _a_line_zeroed(lines: list[bytes]) -> None:
    lines[9] = b"\0" * len(lines[9])


def _the_end_cut_off(lines: list[bytes]) -> None:
    del lines[9:]


@pytest.mark.parametrize("hurt", [_a_byte_flipped, _a_line_zeroed, _the_end_cut_off])
def test_what_came_after_the_damage_is_held_and_can_be_kept(
    tmp_path: Path, hurt: Callable[[list[bytes]], None]
) -> None:
    """Exit 3 until it is salvaged, then 1 until what is held is settled; pictures are kept."""
    with house(tmp_path) as place:
        place.pictures(JOBS)
        place.manifest(SYNC)
        assert place.retouch("run").returncode == 0
        ledger = place.outputs / "ledger.jsonl"
        lines = ledger.read_bytes().splitlines()
        hurt(lines)
        ledger.write_bytes(b"\n".join(lines) + b"\n")
        assert place.retouch("run").returncode == 3
        told = salvage(place)
        assert told.returncode == 1, told.stderr
        assert "9 records kept" in told.stderr
        held = place.retouch("run")
        assert held.returncode == 1, held.stderr
        assert (len(place.book), doubled(place)) == (JOBS, 0)
        assert place.retouch("resolve", "--all", "--charged").returncode == 0
        kept = place.retouch("run")
        assert kept.returncode == 0, kept.stderr
        counts = place.state.counts()
        assert counts["done"] + counts["reused"] == JOBS
        assert (len(place.book), doubled(place)) == (JOBS, 0)
        assert place.retouch("verify").returncode == 0
        (damaged,) = place.outputs.glob("damaged-*.jsonl")
        assert damaged.read_bytes() == b"\n".join(lines) + b"\n"


def test_tasks_after_the_damage_are_fetched(tmp_path: Path) -> None:
    """Their ids stand in the lines after it."""
    with house(tmp_path, seconds=0, task_seconds=2) as place:
        place.pictures(3)
        place.manifest(TASKS)
        process = place.start("run")
        place.wait_until(
            lambda: len(place.book) == 3 and place.state.counts() == Counter(accepted=3), process
        )
        process.kill()
        process.communicate()
        ledger = place.outputs / "ledger.jsonl"
        first, second, *rest = ledger.read_bytes().splitlines(keepends=True)
        ledger.write_bytes(b"".join([first, second.replace(b"kling-v2", b"kling-v3"), *rest]))
        assert place.retouch("run").returncode == 3
        assert salvage(place).returncode == 1
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert (len(place.book), doubled(place)) == (3, 0)


def test_a_whole_ledger_and_a_newer_one_are_left_alone(tmp_path: Path) -> None:
    """Exit 0, nothing changed; a newer retouch's is said to be one, not damaged (exit 3)."""
    with house(tmp_path) as place:
        place.pictures(1)
        place.manifest(SYNC)
        assert place.retouch("run").returncode == 0
        ledger = place.outputs / "ledger.jsonl"
        before = ledger.read_bytes()
        assert salvage(place).returncode == 0
        assert ledger.read_bytes() == before
        ledger.write_bytes(before + b'{"event":"started","v":2}\n')
        told = place.retouch("run")
        assert told.returncode == 3
        assert "a newer retouch wrote this ledger" in told.stderr
        assert "update retouch" in told.stderr
        assert "salvage" not in told.stderr
        assert salvage(place).returncode == 3
