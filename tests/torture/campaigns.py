"""What is drawn from seeds: fuzzed inputs, and campaigns of bad days in virtual time."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS, fuzz
from tests.simulation import Campaign, check
from tests.torture.told import Told

_RUNS = 1_000_000
_CAMPAIGNS, _JOBS = 500, 500


def inputs(share: float) -> Told:
    """Hostile inputs for every parser; an uncaught exception fails."""
    each = max(1, int(_RUNS * share) // len(TARGETS))
    for target in TARGETS:
        fuzz(target, each, seed=1)
    return Told("inputs fuzzed", each * len(TARGETS), "nothing uncaught")


def bad_days(share: float) -> Told:
    """Whole campaigns: the true bill within what is said, nothing bought twice."""
    count = max(1, int(_CAMPAIGNS * share))
    for seed in range(1000, 1000 + count):
        with tempfile.TemporaryDirectory(prefix="retouch-") as folder:
            check(*Campaign(Path(folder), seed, _JOBS).play())
    return Told(f"campaigns of {_JOBS} jobs", count, "every bill within what is said")
