"""What the manifest's budgets have left and how long that lasts, as `plan` and `status` say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from retouch.costs.allowance import Allowance, Runway, Span, runway
from retouch.manifest import Budget, Model
from retouch.money import Money, exact, shown
from retouch.text import how_many, one_clean_line

if TYPE_CHECKING:  # start-up: `status` without a ledger plans nothing
    from retouch.cli.workspace import Workspace
    from retouch.engine.forecast import LaneForecast
    from retouch.ledger.state import Replay

_SPANS: dict[Span, str] = {"run": "for one run", "total": "in total", "day": "for a day"}


def utc_today() -> str:
    """The day in UTC, YYYY-MM-DD: budgets for a day are by it."""
    return datetime.now(UTC).date().isoformat()


def runways(
    workspace: Workspace, state: Replay, forecasts: Sequence[LaneForecast] | None, today: str
) -> list[Runway]:
    """Every budget of the manifest; `forecasts` is None where no plan is known, `today` the day
    in UTC."""
    manifest = workspace.loaded.manifest
    found = list(_of(manifest.run.budget, None, state, forecasts, today))
    for model in manifest.models:
        lanes = forecasts and [each for each in forecasts if each.count.lane.model == model]
        found += _of(model.budget, model, state, lanes, today)
    return found


def _of(
    setting: Budget | None,
    model: Model | None,
    state: Replay,
    forecasts: Sequence[LaneForecast] | None,
    today: str,
) -> Iterator[Runway]:
    if setting is None:
        return
    currency = setting.currency
    needs = None if forecasts is None else [each.need(currency) for each in forecasts]
    by_day = state.spent_by_day(currency, model.model if model else None)
    for span, limit in (
        ("run", setting.amount), ("total", setting.total), ("day", setting.per_day),
    ):  # fmt: skip
        if limit is not None:
            yield runway(
                _allowance(span, Money(limit, currency), state, model, today),  # type: ignore[arg-type]  # one of the three words above
                needs,
                by_day,
                today,
            )


def _allowance(
    span: Span, limit: Money, state: Replay, model: Model | None, today: str
) -> Allowance:
    of, name = (model.model, model.name) if model else (None, None)
    if span == "run":  # which begins with all of it
        return Allowance(span, limit, model=name)
    day = today if span == "day" else None
    spent, reserved = state.spent(limit.currency, of, day), state.reserved(limit.currency, of, day)
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
