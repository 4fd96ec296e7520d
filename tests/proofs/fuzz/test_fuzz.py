"""Manifests, replies, records, ledgers, results and texts, spoilt: nothing is raised uncaught.

Here some seconds of inputs, the same every time; `make torture` does a million.
"""

from __future__ import annotations

from typing import get_args

import pytest

from retouch.ledger.records import AnyRecord
from tests.proofs.fuzz.targets import fuzz, kinds_of_records

RUNS = {
    "manifest": 3_000,
    "reply": 8_000,
    "record": 4_000,
    "ledger": 5_000,
    "result": 25_000,
    "text": 8_000,
}


@pytest.mark.parametrize("target", RUNS)
def test_spoilt_input_raises_nothing_uncaught(target: str) -> None:
    """It is read, or refused in the way that its reader promises."""
    fuzz(target, RUNS[target], seed=1)


def test_every_kind_of_record_is_spoilt() -> None:
    """A kind of record that is added later is fuzzed too."""
    assert kinds_of_records() == set(get_args(AnyRecord))
