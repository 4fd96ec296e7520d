"""What the manifest's budgets have left and how long that lasts, as `plan`, `status` and `report`
say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Protocol

from retouch.costs.allowance import Allowance, Runway, Span, runway
from retouch.manifest import Budget, Manifest, Model
from retouch.money import EXACT, Money, exact, shown
from retouch.text import how_many, one_clean_line

if TYPE_CHECKING:  # start-up: `status` without a ledger plans nothing
    from retouch.engine.forecast import LaneForecast
    from retouch.report.rows import Plain

_SPANS: dict[Span, str] = {"run": "for one run", "total": "in total", "day": "for a day"}


def utc_today() -> str:
    """The day in UTC, YYYY-MM-DD: budgets for a day are by it."""
    return datetime.now(UTC).date().isoformat()


class Spent(Protocol):
    """What a ledger says of money, of one model and one day (YYYY-MM-DD) or of all."""

    def spent(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal: ...
    def reserved(
        self, currency: str, model: str | None = None, day: str | None = None
    ) -> Decimal: ...
    def spent_by_day(self, currency: str, model: str | None = None) -> dict[str, Decimal]: ...


@dataclass(frozen=True, slots=True)
class RowsSpent:
    """The same, from a review's rows by day and model; `each`: what a Job has cost so far."""

    rows: Sequence[Plain]

    def spent(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        return self._sum("confirmed", currency, model, day)

    def reserved(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        return self._sum("unknown_high", currency, model, day)

    def spent_by_day(self, currency: str, model: str | None = None) -> dict[str, Decimal]:
        days = sorted({str(row["day"]) for row in self.rows})
        return {day: self.spent(currency, model, day) for day in days}

    def each(self, currency: str, model: str | None) -> Decimal | None:
        """What a Job has cost so far, unknown ones left out; None where none has a cost."""
        jobs = sum(
            int(row["jobs"] or 0) - int(row["unknown_attempts"] or 0)
            for row in self.rows
            if row["currency"] == currency and model in (None, row["model"])
        )
        return self.spent(currency, model) / jobs if jobs > 0 else None

    def _sum(self, name: str, currency: str, model: str | None, day: str | None) -> Decimal:
        with localcontext(EXACT):
            return sum(
                (
                    Decimal(str(row[name]))
                    for row in self.rows
                    if row["currency"] == currency
                    if model in (None, row["model"]) and day in (None, row["day"])
                ),
                Decimal(0),
            )


@dataclass(frozen=True, slots=True)
class Basis:
    """What is known of money: `spent`; the lanes of the plan to come (None: no plan is known), or
    what a Job has cost so far (`each`, by currency and model; a model None is all of them); and
    `today`, in UTC."""

    spent: Spent
    today: str
    forecasts: Sequence[LaneForecast] | None = None
    each: Callable[[str, str | None], Decimal | None] | None = None

    def of(self, model: Model) -> Basis:
        """The same for one lane."""
        if self.forecasts is None:
            return self
        lanes = [each for each in self.forecasts if each.count.lane.model == model]
        return replace(self, forecasts=lanes)


def runways(manifest: Manifest, basis: Basis) -> list[Runway]:
    """Every budget of the manifest, and how far it goes."""
    found = list(_of(manifest.run.budget, None, basis))
    for model in manifest.models:
        found += _of(model.budget, model, basis.of(model))
    return found


def _of(setting: Budget | None, model: Model | None, basis: Basis) -> Iterator[Runway]:
    if setting is None:
        return
    currency, of = setting.currency, model.model if model else None
    lanes = basis.forecasts
    needs = None if lanes is None else [lane.need(currency) for lane in lanes]
    by_day = basis.spent.spent_by_day(currency, of)
    each = basis.each(currency, of) if basis.each else None
    limits: tuple[tuple[Span, Decimal | None], ...] = (
        ("run", setting.amount), ("total", setting.total), ("day", setting.per_day),
    )  # fmt: skip
    for span, limit in limits:
        if limit is not None:
            allowance = _allowance(span, Money(limit, currency), model, basis)
            yield runway(allowance, needs, by_day, basis.today, each)


def _allowance(span: Span, limit: Money, model: Model | None, basis: Basis) -> Allowance:
    of, name = (model.model, model.name) if model else (None, None)
    if span == "run":  # a run begins with the whole amount
        return Allowance(span, limit, model=name)
    day, money = basis.today if span == "day" else None, basis.spent
    spent, reserved = money.spent(limit.currency, of, day), money.reserved(limit.currency, of, day)
    return Allowance(span, limit, spent, reserved, name)


def runway_lines(found: Runway) -> Iterator[str]:
    """One budget in one or two lines of at most 80 columns (without a model's name)."""
    allowance = found.allowance
    of = f" for {one_clean_line(allowance.model, 60)}" if allowance.model else ""
    head = f"budget{of} {allowance.limit} {_SPANS[allowance.span]}"
    lasts = _lasts(found)
    if allowance.span == "run":
        yield f"{head}{': ' if lasts else ''}{lasts}"
        return
    reserved = f", {shown(allowance.reserved)} reserved" if allowance.reserved else ""
    yield f"{head}: {shown(allowance.spent)} spent{reserved}, {shown(allowance.left)} left"
    if lasts:
        yield f"  {lasts}"


def _lasts(found: Runway) -> str:
    currency = found.allowance.limit.currency
    parts = []
    if found.jobs:
        left = how_many(found.jobs, "job")
        if found.lasts is None:
            parts.append(f"nobody can say for how many of {left}")
        elif not found.lasts:
            return f"not enough for the next of {left}"
        elif found.lasts == found.jobs:
            return f"enough for all {left} to send" if found.jobs > 1 else "enough for the one job"
        else:
            parts.append(f"lasts for {found.lasts:,} of {left}")
    elif found.lasts == 0 and found.jobs is None:
        return "not enough for one more job"
    elif found.lasts is not None and found.jobs is None:
        more = "more job" if found.lasts == 1 else "more jobs"
        parts.append(f"lasts for about {found.lasts:,} {more}")
    if found.until and found.per_day and found.jobs != 0:
        parts.append(f"until {found.until} at {shown(found.per_day)} {currency} a day")
    return ", ".join(parts)


def runway_document(found: Runway) -> dict[str, object]:
    """The same for programs: amounts as decimal strings, `lasts` None where there is no saying."""
    allowance = found.allowance
    return {
        "span": allowance.span,
        "model": allowance.model,
        "currency": allowance.limit.currency,
        "limit": exact(allowance.limit.amount),
        "spent": exact(allowance.spent),
        "reserved": exact(allowance.reserved),
        "left": exact(allowance.left),
        "jobs": found.jobs,
        "lasts": found.lasts,
        "per_day": None if found.per_day is None else exact(round(found.per_day, 6)),
        "until": found.until,
    }
