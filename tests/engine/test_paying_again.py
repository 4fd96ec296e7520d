"""What is paid for again: only on the terms that were set, within their sum, and each refusal of it
is counted."""

from __future__ import annotations

from decimal import Decimal

import pytest

from retouch.engine.budget import Cap, Purse
from retouch.engine.paying_again import PayingAgain, paying_again
from retouch.manifest import PayAgain, RunSettings, UpTo
from retouch.money import NO_CURRENCY, Money

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
ONE = Money(Decimal(1), "CNY")


def terms(retry: int = 2, up_to: str = "2.5") -> PayingAgain:
    given = PayAgain(retry=retry, up_to=UpTo(amount=Decimal(up_to), currency="CNY"))
    return paying_again(RunSettings(on_unknown=given, retry_empty=1))


async def test_the_terms_are_the_manifests() -> None:
    """Without any nothing is paid for again, and nothing was spent."""
    made = terms()
    assert (made.unknowns, made.empties, made.up_to) == (2, 1, Money(Decimal("2.5"), "CNY"))
    assert made.purse.caps == [Cap("run.on_unknown.up_to", Money(Decimal("2.5"), "CNY"))]
    assert made.spent == Money(Decimal(0), "CNY")
    none = paying_again(RunSettings(retry_empty=3))
    assert (none.unknowns, none.empties, none.up_to, none.spent) == (0, 3, None, None)
    assert none.purse.caps == []
    assert await none.reserve("m", ONE, 0) is None
    assert (none.jobs, none.held) == (0, 0)


async def test_so_many_attempts_of_a_job_are_paid_for_again() -> None:
    """As many as are lost, up to the terms; one beyond is not held for want of money."""
    made = terms(retry=2)
    for lost in (0, 1, 2):
        reservation = await made.reserve("m", ONE, lost, ("k", lost))
        assert reservation is not None
        assert (reservation.model, reservation.ceiling) == ("m", Decimal(1))
        assert reservation.attempt == ("k", lost)
        with made.purse.holding(reservation):
            reservation.settle(Money(Decimal("0.5"), "CNY"))
    assert await made.reserve("m", ONE, 3) is None
    assert (made.held, made.spent) == (0, Money(Decimal("1.5"), "CNY"))


async def test_what_the_sum_does_not_reach_for_is_held() -> None:
    """Counted each time; so is what has no price or another currency. What costs nothing has none,
    and passes."""
    made = terms(up_to="1.5")
    first = await made.reserve("m", ONE, 1)
    assert first is not None
    with made.purse.holding(first):
        first.settle(ONE)
    assert await made.reserve("m", ONE, 1) is None
    assert made.held == 1
    assert await made.reserve("m", None, 1) is None
    assert await made.reserve("m", Money(Decimal(0), "USD"), 1) is None
    assert made.held == 3
    assert await made.reserve("m", Money(Decimal(0), NO_CURRENCY), 1) is not None
    assert (made.held, made.spent) == (3, ONE)


async def test_the_same_terms_hold_within_another_purse() -> None:
    """Of a run over many machines."""
    made = terms()
    shared = Purse([Cap("shared", Money(Decimal(9), "CNY"), Decimal(4))])
    within = made.within(shared)
    assert within.purse is shared
    assert (within.unknowns, within.empties, within.up_to) == (2, 1, made.up_to)
    assert within.spent == Money(Decimal(4), "CNY")
    assert made.spent == Money(Decimal(0), "CNY")
