"""How far a budget goes: against a run's own purse, and by the days gone."""

from __future__ import annotations

import random
from decimal import Decimal

import anyio
import pytest

from retouch.costs.allowance import Allowance, Need, lasting, per_day, runway
from retouch.engine.budget import Cap, Purse
from retouch.errors import BudgetReached
from retouch.money import Money

A = "gemini-2.5-flash-image"


def _cny(amount: Decimal | str) -> Money:
    return Money(Decimal(amount), "CNY")


async def _jobs_that_pass(left: Decimal, need: Need) -> int:
    """How many requests a real purse lets through, each costing what is likely."""
    assert need.likely is not None
    assert need.ceiling is not None
    purse = Purse([Cap("the budget", _cny(left))])
    for passed in range(need.jobs):
        try:
            reservation = await purse.reserve(A, _cny(need.ceiling))
        except BudgetReached:
            return passed
        with purse.holding(reservation):
            reservation.settle(_cny(need.likely))
    return need.jobs


@pytest.mark.parametrize("seed", range(4))
def test_a_budget_lasts_for_as_many_jobs_as_its_purse_lets_pass(seed: int) -> None:
    """By price per picture and by tokens, where a request is reserved above what it costs."""
    chance = random.Random(seed)

    async def compare() -> None:
        for _ in range(100):
            likely = Decimal(chance.randint(1, 400)) / 1000
            ceiling = likely * chance.choice((1, 1, 2, 3))
            need = Need(chance.randint(1, 40), likely, ceiling)
            left = Decimal(chance.randint(0, 6000)) / 1000
            assert lasting(left, [need]) == await _jobs_that_pass(left, need), (left, need)

    anyio.run(compare)


def test_lanes_side_by_side_share_what_is_left() -> None:
    """Half of the money is half of the jobs of all lanes; nothing to send needs nothing."""
    needs = [Need(10, Decimal("0.3"), Decimal("0.3")), Need(10, Decimal("0.1"), Decimal("0.1"))]
    assert lasting(Decimal(4), needs) == 20
    assert lasting(Decimal(2), needs) == 10
    assert lasting(Decimal(0), []) == lasting(Decimal(0), [Need(0, None, None)]) == 0


def test_what_nobody_knows_the_cost_of_is_not_guessed() -> None:
    """An unpriced lane, or one whose price has no bound, makes the whole unknown."""
    known = Need(3, Decimal("0.1"), Decimal("0.1"))
    assert lasting(Decimal(9), [known, Need(1, None, Decimal(1))]) is None
    assert lasting(Decimal(9), [known, Need(1, Decimal(1), None)]) is None
    assert lasting(Decimal(9), [known, Need(0, None, None)]) == 3


def test_a_mean_without_an_end_loses_no_job() -> None:
    """Three jobs of a third each pass a budget of one."""
    third = Decimal(1) / 3
    assert lasting(Decimal(1), [Need(3, third, third)]) == 3


def test_the_rate_is_that_of_the_latest_days() -> None:
    """Days without a charge count, those before the latest seven do not, nor days to come."""
    spent = {
        "2026-11-01": Decimal(900),
        "2026-11-20": Decimal(9),
        "2026-11-23": Decimal(5),
        "2026-12-30": Decimal(70),
    }
    assert per_day(spent, "2026-11-29") == 2
    assert per_day({"2026-11-20": Decimal(3), "2026-11-22": Decimal(3)}, "2026-11-29") == 2
    assert per_day({}, "2026-11-29") is None
    assert per_day({"2026-11-29": Decimal(0)}, "2026-11-29") is None


def test_a_total_budget_ends_on_a_day_and_one_that_is_enough_does_not() -> None:
    """10 left at 2 a day last five days more; where all jobs fit, no day is named."""
    spent = {"2026-11-28": Decimal(2), "2026-11-29": Decimal(2)}
    allowance = Allowance("total", _cny("15"), Decimal(4), Decimal(1))
    assert allowance.left == 10
    many, few = Need(100, Decimal(1), Decimal(1)), Need(10, Decimal(1), Decimal(1))
    found = runway(allowance, [many], spent, "2026-11-29")
    assert (found.lasts, found.jobs, found.until) == (10, 100, "2026-12-04")
    assert runway(allowance, None, spent, "2026-11-29").until == "2026-12-04"
    assert runway(allowance, [few], spent, "2026-11-29").until is None
    for_a_run = Allowance("run", _cny("15"))
    assert runway(for_a_run, [many], spent, "2026-11-29").until is None


def test_what_is_overspent_has_nothing_left() -> None:
    """A limit that was lowered below what is spent leaves nothing, not less than nothing."""
    assert Allowance("total", _cny("1"), Decimal(3)).left == 0
