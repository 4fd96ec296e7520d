"""Four real processes share limits and money with nobody between them; one is killed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.proofs.split.static_split import prove, run_split


def test_a_shard_killed_and_started_again_buys_nothing_twice(tmp_path: Path) -> None:
    """By the provider's book: what is unknown is at most what was in flight, the limit and the
    budget hold over all shards together (2,000 jobs at 40 a second: `make torture`)."""
    budget = Decimal("8.5")
    outcome = run_split(tmp_path, 80, 40, budget=budget, seconds=0.1, later_runs=2)
    figures = prove(outcome, 80, 40, budget=budget)
    # What a share of the budget left out is done by the run of the whole, and nothing twice.
    assert figures["done"] + figures["unknown"] == 80, figures
    assert "nothing to send" in outcome.errors
