"""Manifests, replies, records, ledgers, results and texts, spoilt: nothing is raised uncaught.

Here half a minute of inputs, the same every time; `make torture` does a million.
"""

from __future__ import annotations

from typing import get_args

import pytest

from retouch.ledger.records import AnyRecord
from tests.proofs.fuzz.targets import fuzz, kinds_of_records

RUNS = {
    "manifest": 12_000,
    "reply": 30_000,
    "record": 16_000,
    "ledger": 20_000,
    "result": 100_000,
    "text": 30_000,
}


@pytest.mark.parametrize("target", RUNS)
def test_spoilt_input_raises_nothing_uncaught(target: str) -> None:
    """It is read, or refused in the way that its reader promises."""
    fuzz(target, RUNS[target], seed=1)


def test_every_kind_of_record_is_spoilt() -> None:
    """A kind of record that is added later is fuzzed too."""
    assert kinds_of_records() == set(get_args(AnyRecord))
