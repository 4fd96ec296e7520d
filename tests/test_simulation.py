"""Whole campaigns of bad days in virtual time, each from its seed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.simulation import Campaign, check

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]


@pytest.mark.parametrize("seed", range(50))
async def test_whatever_happens_the_bill_is_known_and_nothing_is_bought_twice(
    in_memory: Path, seed: int
) -> None:
    """The true bill lies within [confirmed, confirmed + unknown]; each job is charged once."""
    work, provider = await Campaign(in_memory, seed, jobs=60).go()
    check(work, provider)


async def test_same_seed_same_ledger(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign repeated writes the same ledger, byte for byte."""
    # trio shuffles what is ready to run, on purpose; here the same way twice.
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    ledgers = []
    for name in ("a", "b"):
        monkeypatch.setattr("trio._core._run._r", random.Random(1))
        folder = in_memory / name
        folder.mkdir()
        work, _ = await Campaign(folder, 7, jobs=30).go()
        ledgers.append((work.folder / "ledger.jsonl").read_bytes())
    assert ledgers[0] == ledgers[1]
