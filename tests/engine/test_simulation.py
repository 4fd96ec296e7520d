"""Whole campaigns of bad days in virtual time, each from its seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.simulation import Campaign, check

JOBS = 120  # `make torture` plays campaigns of 500


@pytest.mark.parametrize("seed", range(50))
def test_whatever_happens_the_bill_is_known_and_nothing_is_bought_twice(
    in_memory: Path, seed: int
) -> None:
    """The true bill lies within [confirmed, confirmed + unknown]; each job is charged once."""
    check(*Campaign(in_memory, seed, JOBS).play())


def test_same_seed_same_ledger(in_memory: Path) -> None:
    """A campaign repeated writes the same ledger, byte for byte, and costs the same."""
    ledgers, books = [], []
    for name in ("a", "b"):
        folder = in_memory / name
        folder.mkdir()
        work, provider = Campaign(folder, 7, JOBS).play()
        ledgers.append((work.folder / "ledger.jsonl").read_bytes())
        books.append(provider.book)
    assert ledgers[0] == ledgers[1]
    assert books[0] == books[1]
