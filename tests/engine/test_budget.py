"""The budget: what is in flight is reserved, and no cap is ever passed. In virtual time."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.engine.budget import Cap, Purse, Reservation
from retouch.errors import BudgetReached
from retouch.money import Money

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]


def cny(amount: str | int) -> Money:
    return Money(Decimal(amount), "CNY")


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(1, 40),
    jobs=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 5), st.booleans()),
        min_size=1,
        max_size=60,
    ),
)
def test_a_budget_is_never_passed_and_nobody_waits_in_vain(
    limit: int, jobs: list[tuple[int, int, float, bool]]
) -> None:
    """Whatever is reserved at once, counted plus reserved stays under the cap; who is refused
    could not have been let in even with nothing in flight; everybody comes to an end."""
    budget = Purse([Cap("the budget", cny(limit)), Cap("its half", cny(limit), model="a")])
    ended = 0

    async def job(ceiling: int, cost: int, seconds: float, is_a: bool) -> None:
        nonlocal ended
        try:
            reservation = await budget.reserve("a" if is_a else "b", cny(ceiling))
        except BudgetReached:
            assert budget.caps[0].counted + ceiling > limit
        else:
            with budget.holding(reservation):
                check()
                await anyio.sleep(seconds)
                if cost % 3:  # the others stay unknown, at their ceiling
                    reservation.settle(cny(min(cost, ceiling)) if cost else None)
            check()
        ended += 1

    def check() -> None:
        for cap in budget.caps:
            assert cap.counted + budget.reserved.get(cap.model, Decimal(0)) <= limit

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for each in jobs:
                group.start_soon(job, *each)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert ended == len(jobs)
    assert all(not held for held in budget.reserved.values())


async def test_a_reservation_waits_while_what_is_in_flight_may_give_way() -> None:
    """Ceilings are higher than costs: what does not fit now may fit when others have ended."""
    budget, began = Purse([Cap("the budget", cny(10))]), anyio.current_time()

    async def first() -> None:
        with budget.holding(await budget.reserve("a", cny(10))) as reservation:
            await anyio.sleep(60)
            reservation.settle(cny(1))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await anyio.sleep(1)
        second = await budget.reserve("a", cny(9))
        assert anyio.current_time() - began == pytest.approx(60)
        with budget.holding(second):
            second.settle(None)
    with pytest.raises(BudgetReached, match=r"up to 10\.00 CNY"):
        await budget.reserve("a", cny(10))


async def test_a_cancelled_wait_for_money_reserves_nothing() -> None:
    """A run that is stopped leaves no reservation behind."""
    budget = Purse([Cap("the budget", cny(10))])
    with budget.holding(await budget.reserve("a", cny(10))):
        with anyio.move_on_after(1):
            await budget.reserve("a", cny(1))
        assert budget.reserved == {None: 10, "a": 10}


async def test_an_attempt_of_an_earlier_run_counts_once() -> None:
    """Taken up again, its ceiling is in flight and no longer history; not where the cap counts
    another day, another model or this run alone."""
    caps = [
        Cap("in total", cny(10), Decimal(6), counts_history=True),
        Cap("for a day", cny(10), Decimal(5), counts_history=True, day="2026-03-02"),
        Cap("of b", cny(10), Decimal(1), model="b", counts_history=True),
        Cap("this run", cny(10)),
    ]
    budget = Purse(caps, today=lambda: "2026-03-02")
    with budget.holding(budget.resume("a", cny(4), "2026-03-02")) as reservation:
        assert [cap.counted for cap in caps] == [2, 1, 1, 0]
        reservation.settle(cny(3))
    assert [cap.counted for cap in caps] == [5, 4, 1, 3]
    with budget.holding(budget.resume("a", cny(4), "2026-03-01")) as reservation:
        assert [cap.counted for cap in caps] == [1, 4, 1, 3]
        reservation.settle(cny(3))
    assert [cap.counted for cap in caps] == [4, 4, 1, 6]


async def test_the_budget_for_a_day_begins_anew_at_midnight() -> None:
    """What was sent before midnight and is answered after it counts for the day it was sent on;
    a clock that is set back begins nothing anew."""
    day = "2026-03-01"
    cap = Cap("for a day", cny(10), Decimal(4), counts_history=True, day=day)
    budget = Purse([cap], today=lambda: day)
    late = await budget.reserve("a", cny(6))
    late.day = day
    with budget.holding(late):
        day = "2026-03-02"
        with budget.holding(await budget.reserve("a", cny(4))) as early:
            early.day = day
    assert (cap.day, cap.counted) == ("2026-03-02", Decimal(4))
    day = "2026-03-01"
    with pytest.raises(BudgetReached, match="for a day") as reached:
        await budget.reserve("a", cny(7))
    assert "00:00 UTC" in reached.value.hint


async def test_without_caps_everything_passes() -> None:
    """No budget, no price: no waiting."""
    budget = Purse()
    with budget.holding(await budget.reserve("a", None)) as reservation:
        assert budget.in_flight == {"a": 1}
        reservation.settle(None)
    assert (budget.in_flight, budget.reserved) == ({"a": 0}, {"a": Decimal(0), None: Decimal(0)})


async def test_whoever_watches_is_told_of_each_cap_that_counts_more_or_refuses() -> None:
    """And of no other: not of another model's, not of another day's."""
    told: list[str] = []
    caps = [
        Cap("in total", cny(10)),
        Cap("of a", cny(5), model="a"),
        Cap("of b", cny(5), model="b"),
        Cap("for a day", cny(10), day="2026-03-02"),
    ]
    budget = Purse(caps, today=lambda: "2026-03-02", watch=lambda cap: told.append(cap.name))
    with budget.holding(await budget.reserve("a", cny(4))) as reservation:
        assert not told
        reservation.day = "2026-03-01"
        reservation.settle(cny(3))
    assert told == ["in total", "of a"]
    with pytest.raises(BudgetReached, match=r"of a of 5\.00 CNY is reached") as refused:
        await budget.reserve("a", cny(3))
    assert (told[2:], refused.value.model, refused.value.hint) == (["of a"], "a", "")
    assert [cap.is_full for cap in caps] == [False, True, False, False]


async def test_a_reservation_is_its_models_and_its_attempts_and_holds_nothing_unpriced() -> None:
    """However it was made: reserved, learnt or taken up again."""
    budget = Purse([Cap("of a", cny(10), model="a")])
    made = [
        await budget.reserve("a", cny(2), ("key", 1)),
        budget.resume("a", cny(3), "2026-03-01", ("key", 2)),
        await budget.reserve_learning("a", lambda: cny(1), is_learnt=True, attempt=("key", 3)),
        await budget.reserve("a", None, ("key", 4)),
        budget.resume("a", None, None, ("key", 5)),
    ]
    assert [each.attempt for each in made] == [("key", number) for number in range(1, 6)]
    assert [each.ceiling for each in made] == [2, 3, 1, 0, 0]
    assert budget.reserved == {None: 6, "a": 6}
    assert budget.in_flight == {"a": 5}
    for each in made:
        budget.release(each)
    assert budget.reserved == {None: 0, "a": 0}
    assert budget.in_flight == {"a": 0}
    assert budget.caps[0].counted == 6  # what was not settled counts in full


@pytest.mark.parametrize(
    ("caps", "known", "alone"),
    [
        ([Cap("in total", cny(99))], False, True),
        ([Cap("of a", cny(99), model="a")], False, True),
        ([Cap("of b", cny(99), model="b")], False, False),  # nothing bounds this one
        ([], False, False),
        ([Cap("in total", cny(99))], True, False),
    ],
)
async def test_only_what_is_bounded_and_not_learnt_goes_alone(
    caps: list[Cap], known: bool, alone: bool
) -> None:
    """A model of which nothing was counted waits for its own first request, not for another's;
    from then on it is learnt."""
    budget = Purse(caps)

    def begun() -> Reservation | None:
        return budget.try_to_reserve("a", cny(1), is_learnt=known)

    first = begun()
    assert first is not None
    assert budget.try_to_reserve("c", cny(1), is_learnt=False) is not None
    assert (begun() is None) is alone
    first.settle(None)
    budget.release(first)  # it was not charged: nothing is learnt of it
    second = begun()
    if alone:
        assert second is not None
        assert begun() is None
        second.settle(cny(1))
        budget.release(second)
        assert begun() is not None
        assert begun() is not None


def test_what_the_tightest_budget_of_the_run_leaves() -> None:
    """Of the whole run's; what is counted and what is in flight are gone from it, never below
    nothing; a model's own is not the run's."""
    assert Purse([Cap("of a", cny(1), model="a")]).left is None
    budget = Purse([Cap("in total", cny(10), Decimal(4)), Cap("for a day", cny(9), Decimal(2))])
    assert budget.left == cny(6)
    assert budget.try_to_reserve("a", cny(5), is_learnt=True) is not None
    assert budget.left == cny(1)
    budget.caps[0].counted = Decimal(8)
    assert budget.left == cny(0)
