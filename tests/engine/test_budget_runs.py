"""The budget, over thousands of random runs in virtual time: no charge ever passes a cap."""

from __future__ import annotations

import random
from contextlib import suppress
from decimal import Decimal

import anyio

from retouch.engine.budget import Cap, Purse, Reservation
from retouch.errors import BudgetReached
from retouch.money import Money
from tests.support.virtual import run_in_virtual_time

RUNS = 10_000
MODELS = ("gemini", "kling")


class Run:
    """One run: some workers each send requests until the budget says no."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.spent: dict[str, Decimal] = dict.fromkeys(MODELS, Decimal(0))
        self.before = Decimal(chance.randint(0, 30)) / 10
        total = Cap("total", money(chance.randint(0, 80)), self.before, counts_history=True)
        lane = Cap("lane", money(chance.randint(0, 40)), model="kling")
        day = Cap("day", money(chance.randint(10, 60)), day=self.today())
        self.caps = [money(cap.limit.amount * 10) for cap in (total, lane, day)]
        self.budget = Purse([total, lane, day], today=self.today)
        self.spent_on: dict[str, Decimal] = {}

    def today(self) -> str:
        """A day of this run is four seconds long."""
        return f"2026-01-01 {int(anyio.current_time() / 4):09}"

    async def work(self, model: str) -> None:
        """Send requests of random ceilings; each costs up to it, nothing, or nobody knows."""
        with suppress(BudgetReached):
            for _ in range(self.chance.randint(1, 5)):
                ceiling = Decimal(self.chance.randint(1, 20)) / 10
                reservation = await self.budget.reserve(model, Money(ceiling, "CNY"))
                with self.budget.holding(reservation):
                    await anyio.sleep(self.chance.randint(0, 1))
                    reservation.day = self.today()
                    await anyio.sleep(self.chance.randint(0, 3))
                    match self.chance.randint(0, 2):
                        case 0:
                            charged = ceiling * self.chance.randint(0, 10) / 10
                            reservation.settle(Money(charged, "CNY"))
                            self._spend(reservation, charged)
                        case 1:
                            reservation.settle(None)
                        case _:  # no answer: it may have been charged in full, and was
                            self._spend(reservation, ceiling)

    def _spend(self, reservation: Reservation, amount: Decimal) -> None:
        assert reservation.day is not None
        self.spent[reservation.model] += amount
        spent = self.spent_on.get(reservation.day, Decimal(0))
        self.spent_on[reservation.day] = spent + amount


def money(tenths: int | Decimal) -> Money:
    return Money(Decimal(tenths) / 10, "CNY")


async def one_run(number: int) -> bool:
    """Whether anything was spent; each run is drawn from its number."""
    run = Run(random.Random(number))
    async with anyio.create_task_group() as group:
        for _ in range(run.chance.randint(1, 4)):
            group.start_soon(run.work, run.chance.choice(MODELS))
    total, lane, day = (cap.amount for cap in run.caps)
    assert run.before + sum(run.spent.values()) <= max(total, run.before)
    assert run.spent["kling"] <= lane
    assert all(spent <= day for spent in run.spent_on.values())
    return any(run.spent.values())


def test_no_charge_passes_the_budget() -> None:
    """Whatever is charged, unknown or free, in whatever order: every cap holds, in every run."""
    spent: list[bool] = []

    async def note(number: int) -> None:
        spent.append(await one_run(number))

    async def side_by_side() -> None:
        for first in range(0, RUNS, 100):
            async with anyio.create_task_group() as group:
                for number in range(first, first + 100):
                    group.start_soon(note, number)

    run_in_virtual_time(side_by_side, seed=20251002)
    assert len(spent) == RUNS
    assert sum(spent) > RUNS / 2  # the caps let most runs spend something
