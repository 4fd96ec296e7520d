"""Power cuts, simulated: whatever was not synced may be missing, torn or out of order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.proofs.crash.checking import Findings, check_states
from tests.proofs.crash.recorder import Recorder
from tests.proofs.crash.stage import Stage, recorded

SCRIPTS, STATES = 40, 50


def play(seed: int, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Stage, Recorder]:
    """A batch with mishaps, killed somewhere and run again; all it did to the disk. The first
    scripts die at every change while the folders are made."""
    folder.mkdir()
    stage = Stage(folder, seed=seed)
    die_at = seed if seed < 25 else random.Random(seed).choice((None, 30, 60, 110, 160))
    return stage, recorded(stage, patch, die_at=die_at)


@pytest.mark.parametrize("first", range(0, SCRIPTS, 5))
def test_no_crash_buys_twice_nor_hides_a_charge(
    first: int, in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment, whatever the disk kept: 0 bought twice, 0 charges unsaid, every `done` has
    its whole files, unknown at most what was in flight; and next to nothing to mend by hand."""
    found = Findings(in_memory)
    for script in range(first, first + 5):
        stage, recorder = play(script, in_memory / str(script), monkeypatch)
        check_states(stage, recorder, STATES, seed=script, found=found)
    assert found.states == 5 * STATES
    assert found.refused <= found.states * 0.02
    assert found.torn
