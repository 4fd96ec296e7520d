"""What budgets have left and how long that lasts: by Jobs to come and by days gone. Pure.

What is spent is confirmed; what is open counts at its ceiling, as in a run (DESIGN §2, promise 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Literal

from retouch.money import EXACT, Money

RATE_DAYS = 7  # the latest days that tell at what rate money is spent
_MANY = 10**12  # more jobs than anybody sends
_FAR = 36_500  # days: who has more left at this rate needs no date
Span = Literal["run", "total", "day"]
_ZERO, _LEAST = Decimal(0), Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Allowance:
    """One budget: its limit for one `run`, in `total` or for a `day`, what of it is `spent` and
    what is `reserved` for Charges that are open. `model`: of one lane alone."""

    span: Span
    limit: Money
    spent: Decimal = _ZERO
    reserved: Decimal = _ZERO
    model: str | None = None

    @property
    def left(self) -> Decimal:
        """What may still be spent; never less than nothing."""
        with localcontext(EXACT):
            return max(_ZERO, self.limit.amount - self.spent - self.reserved)


@dataclass(frozen=True, slots=True)
class Need:
    """The Jobs of one lane that are to be sent: what one of them will `likely` cost and the most
    it can (`ceiling`), in the budget's currency; None: nobody can say."""

    jobs: int
    likely: Decimal | None
    ceiling: Decimal | None


@dataclass(frozen=True, slots=True)
class Runway:
    """How far an allowance goes: `lasts` for so many of `jobs` (None: of any number), until the day
    `until` at `per_day`; None: there is no saying, or it does not end."""

    allowance: Allowance
    jobs: int | None = None
    lasts: int | None = None
    per_day: Decimal | None = None
    until: str | None = None


def lasting(left: Decimal, needs: Sequence[Need]) -> int | None:
    """For how many of all Jobs `left` is likely enough, lanes going side by side; None where
    nobody knows what they cost. The last one must fit at its ceiling: it is reserved."""
    jobs = sum(need.jobs for need in needs)
    if not jobs:
        return 0
    with localcontext(EXACT):
        costs, above = _ZERO, _ZERO
        for need in needs:
            if not need.jobs:
                continue
            if need.likely is None or need.ceiling is None:
                return None
            costs += need.likely * need.jobs
            above = max(above, need.ceiling - need.likely)
        each = costs / jobs
        room = left - each - above
        if room < 0:
            return 0
        if not each:
            return jobs
        # A mean may have no end: what is short of a whole Job by so little is that Job.
        return min(jobs, int(room / each + _LEAST) + 1)


def per_day(spent: Mapping[str, Decimal], today: str) -> Decimal | None:
    """What a day costs of late: the mean of the latest RATE_DAYS up to the last with a Charge
    (YYYY-MM-DD), of fewer where the first Charge is younger. None where nothing is spent."""
    days = sorted(day for day, amount in spent.items() if amount and day <= today)
    if not days:
        return None
    last = date.fromisoformat(days[-1])
    begin = max((last - timedelta(days=RATE_DAYS - 1)).isoformat(), days[0])
    with localcontext(EXACT):
        amount = sum((spent[day] for day in days if day >= begin), _ZERO)
        return amount / ((last - date.fromisoformat(begin)).days + 1)


def runway(
    allowance: Allowance,
    needs: Sequence[Need] | None,
    spent: Mapping[str, Decimal],
    today: str,
    each: Decimal | None = None,
) -> Runway:
    """How far an allowance goes. `needs`: of the lanes it is for, None where no plan is known: then
    what a Job has cost so far (`each`) tells for how many more; `spent`: of them by day; `today`:
    YYYY-MM-DD."""
    jobs = None if needs is None else sum(need.jobs for need in needs)
    if needs is None and each:
        lasts = lasting(allowance.left, [Need(_MANY, each, each)])
    else:
        lasts = None if needs is None else lasting(allowance.left, needs)
    rate = per_day(spent, today) if allowance.span == "total" else None
    until = None
    if rate and rate > 0 and (lasts is None or lasts != jobs):
        with localcontext(EXACT):
            days = int(allowance.left / rate)
        if days <= _FAR:
            until = (date.fromisoformat(today) + timedelta(days=days)).isoformat()
    return Runway(allowance, jobs, lasts, rate, until)
