"""Lines of a bill paired with our charges: quickly, and the nearest amounts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal

from retouch.dialects.bill import Line, Measure
from retouch.reconcile.matching import unmatched
from retouch.reconcile.ours import OwnCharge

CENT = Decimal("0.01")
MEASURES: tuple[Measure, ...] = ("amount",)


def entry(amount: str) -> OwnCharge:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return OwnCharge("k", at, "m", "p", "s", None, "CNY", {"amount": Decimal(amount)})


def line(number: int, amount: str | None) -> Line:
    said: dict[Measure, Decimal] = {} if amount is None else {"amount": Decimal(amount)}
    return Line(number, "2026-03-01", "m", said)


def test_amounts_one_unit_apart_are_pairs() -> None:
    """The bill rounds otherwise than we do; each line is taken once, the lowest first."""
    ours = [entry("0.10"), entry("0.10"), entry("0.30"), entry("0.50")]
    theirs = [line(1, "0.11"), line(2, "0.09"), line(3, "0.31"), line(4, "0.53"), line(5, None)]
    left = unmatched(ours, theirs, MEASURES, CENT)
    assert [each.measures["amount"] for each in left.ours] == [Decimal("0.50")]
    assert {each.number for each in left.theirs} == {4, 5}


def test_many_lines_are_paired_in_a_moment() -> None:
    """12,000 by 12,000, all a unit apart: the time grows with their number, not its square."""
    count = 12_000
    ours = [entry(f"{number}.00") for number in range(1, count)]
    theirs = [line(number, f"{number}.01") for number in range(1, count)]
    began = time.process_time()
    left = unmatched(ours, theirs, MEASURES, CENT)
    assert (left.ours, left.theirs) == ((), ())
    assert time.process_time() - began < 4
