"""The costs page's content, from a review: a group a currency, tables, charts, what to do.

Every figure is the review's own, so the page says what `retouch report` says. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import pairwise
from urllib.parse import urlencode

from retouch.costs.allowance import Runway
from retouch.money import EXACT, NO_CURRENCY, NONE_LOCAL, Money, shown
from retouch.report import Grouping
from retouch.report.rows import Plain, Review, told_by
from retouch.review.charts import (
    SERIES,
    Chart,
    Durations,
    Histogram,
    Spent,
    bars_of,
    cumulative_of,
    is_weekly,
)

GROUPINGS: tuple[Grouping, ...] = (("model",), ("prompt",), ("label",), ("day",), ("day", "model"))
TOP = 10  # rows; the rest is folded
_LISTED = {"model", "prompt", "label", "day"}  # what `costs.js` tells Charges apart by
_CHARTED: Grouping = ("day", "model")
_ZERO = Decimal(0)
_ADVICE = {
    "auth": "run",
    "quota": "run",
    "unsent": "run",
    "failed": "run --redo failed",
    "unknown": "resolve",
}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the manifest adds to its ledger: `budget` with what `counts` towards it already,
    whether it `is_of_all` runs, how far it goes (`runway`), and what the Jobs that are left will
    likely cost (`expected`, by currency)."""

    budget: Money | None = None
    counts: Money | None = None
    is_of_all: bool = True
    expected: Mapping[str, Decimal] = field(default_factory=dict)
    runway: Runway | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence with its values put in; the page says it in its reader's language."""

    key: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """In English."""
        return self.key.format(*self.values)


@dataclass(frozen=True, slots=True)
class Tile:
    """A large figure; `note` and `said` stand below it in small, `link` leads to its jobs."""

    name: str
    value: str
    note: str = ""
    link: str = ""
    said: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: its name, figures as shown, the share of all that is confirmed (0 to 1),
    and the link to its jobs."""

    name: str
    confirmed: str
    unknown: str
    jobs: str
    kept: str
    per_kept: str
    share: float
    link: str


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A table by one dimension: its first rows, and those that are folded."""

    dimension: str
    lines: tuple[Line, ...]
    folded: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class WasteLine:
    """What was bought in vain, of one kind."""

    kind: str
    jobs: str
    amount: str
    high: str
    link: str


@dataclass(frozen=True, slots=True)
class Group:
    """All that is in one currency."""

    currency: str
    tiles: tuple[Tile, ...]
    breakdowns: tuple[Breakdown, ...]
    series: tuple[str, ...]
    is_weekly: bool
    bars: Chart
    cumulative: Chart
    has_unknown: bool
    waste: tuple[WasteLine, ...]
    waste_total: str
    waste_high: str
    waste_link: str

    @property
    def title(self) -> str:
        """What heads it."""
        return NONE_LOCAL if self.currency == NO_CURRENCY else self.currency


@dataclass(frozen=True, slots=True)
class FailureLine:
    """Attempts that failed for one kind of reason, and the command that deals with them."""

    kind: str
    unsent: str
    failed: str
    unknown: str
    command: str


@dataclass(frozen=True, slots=True)
class Costs:
    """The whole page."""

    groups: tuple[Group, ...]
    unpriced: str
    failures: tuple[FailureLine, ...]
    durations: tuple[Histogram, ...]
    about: str
    notes: tuple[str, ...]


def costs_of(
    review: Review,
    durations: Durations,
    *,
    outlook: Outlook,
    command: str,
) -> Costs:
    """The page of a review made with `GROUPINGS`; `command` is what a retouch command names the
    manifest by, empty for several."""
    with localcontext(EXACT):
        groups = tuple(
            _group(review, row, outlook) for row in review.totals if row["currency"] is not None
        )
    unpriced = sum(int(row["unpriced_jobs"] or 0) for row in review.totals)
    return Costs(
        groups,
        f"{unpriced:,}" if unpriced else "",
        tuple(_failure(row, command) for row in review.failures),
        tuple(durations.histograms()),
        review.about,
        review.notes,
    )


def _group(review: Review, totals: Plain, outlook: Outlook) -> Group:
    currency = str(totals["currency"])
    all_waste = next((row for row in review.waste_total if row["currency"] == currency), None)
    wasted = _amount(all_waste["amount"]) if all_waste else _ZERO
    waste_high = _amount(all_waste["amount_high"]) if all_waste else _ZERO
    confirmed, high = _amount(totals["confirmed"]), _amount(totals["unknown_high"])
    sums = (confirmed, high, wasted, waste_high)
    spent = {
        (str(row["day"]), str(row["model"])): Spent(
            _amount(row["confirmed"]), _amount(row["unknown_high"])
        )
        for row in _rows(review, _CHARTED, currency)
    }
    by_week = is_weekly(day for day, _ in spent)
    models = [str(row["model"]) for row in _rows(review, ("model",), currency)]
    named, others = models[: SERIES - 1], models[SERIES - 1 :]
    budget = outlook.budget if outlook.budget and outlook.budget.currency == currency else None
    expected = outlook.expected.get(currency)
    bound = budget.amount if budget and outlook.is_of_all else None
    return Group(
        currency=currency,
        tiles=tuple(_tiles(review, currency, sums, outlook, budget)),
        breakdowns=tuple(_breakdowns(review, currency, confirmed)),
        series=(*named, *(("others",) if len(models) > SERIES else others)),
        is_weekly=by_week,
        bars=bars_of(spent, models, "by week" if by_week else "by day"),
        cumulative=cumulative_of(spent, "cumulative", budget=bound, expected=expected),
        has_unknown=high > 0,
        waste=tuple(_waste_lines(review, currency)),
        waste_total=shown(wasted),
        waste_high=_high(all_waste) if all_waste else "",
        waste_link=_link(currency=currency, waste="any"),
    )  # fmt: skip


def _breakdowns(review: Review, currency: str, confirmed: Decimal) -> Iterator[Breakdown]:
    """The tables: by model always, by anything else where it tells more than the total."""
    for grouping in review.by:
        if grouping != _CHARTED:
            found = _breakdown(review, grouping, currency, confirmed)
            if len(found.lines) > 1 or grouping == ("model",):
                yield found


def _waste_lines(review: Review, currency: str) -> Iterator[WasteLine]:
    for row in review.waste:
        if row["currency"] == currency:
            kind = str(row["kind"])
            link = _link(currency=currency, waste=kind)
            yield WasteLine(
                kind, f"{row['jobs']:,}", shown(_amount(row["amount"])), _high(row), link
            )


def _tiles(
    review: Review,
    currency: str,
    sums: tuple[Decimal, Decimal, Decimal, Decimal],
    outlook: Outlook,
    budget: Money | None,
) -> Iterable[Tile]:
    confirmed, high, wasted, waste_high = sums
    yield Tile("confirmed", shown(confirmed), "", _link(currency=currency, charge="confirmed"))
    yield Tile(
        "at most",
        shown(confirmed + high),
        f"+ {shown(high)}" if high else "",
        _link(currency=currency),
    )
    note = f"≤ {shown(waste_high)}" if waste_high > wasted else ""
    link = _link(currency=currency, waste="any") if wasted or note else ""
    yield Tile("waste", shown(wasted), note, link)
    if budget is not None:
        left = budget.amount - (outlook.counts.amount if outlook.counts else confirmed + high)
        said = tuple(_lasting(outlook.runway)) if outlook.runway else ()
        yield Tile("budget left", shown(left), f"/ {shown(budget.amount)}", said=said)
    kept = sum(int(row["kept"] or 0) for row in _rows(review, ("model",), currency))
    if kept:
        note = f"≤ {shown((confirmed + high) / kept)}" if high else ""
        link = _link(currency=currency, charge="confirmed")
        yield Tile("per kept picture", shown(confirmed / kept), note, link)
    change = _change(review, currency)
    if change is not None:
        month, before, amount = change
        sign = "+" if amount > before else "−" if amount < before else "±"
        value = f"{sign}{shown(abs(amount - before))}"
        yield Tile("change on the month before", value, f"{month}: {shown(amount)}")


def _lasting(runway: Runway) -> Iterable[Said]:
    """How far the budget goes."""
    if not runway.jobs:
        return
    if runway.lasts is not None:
        is_enough = runway.lasts == runway.jobs
        key = "enough for the {0} jobs left" if is_enough else "lasts for {1} of {0} jobs left"
        yield Said(key, (f"{runway.jobs:,}", f"{runway.lasts:,}"))
    if runway.until and runway.per_day:
        yield Said("until {0} at {1} a day", (runway.until, shown(runway.per_day)))


def _change(review: Review, currency: str) -> tuple[str, Decimal, Decimal] | None:
    """The last month, and what was confirmed in the month before it and in it."""
    months: dict[str, Decimal] = {}
    for row in _rows(review, ("day",), currency):
        month = str(row["day"])[:7]
        months[month] = months.get(month, _ZERO) + _amount(row["confirmed"])
    ordered = sorted(months)
    if len(ordered) < 2:
        return None
    before, last = list(pairwise(ordered))[-1]
    is_next = _month_after(before) == last
    return last, months[before] if is_next else _ZERO, months[last]


def _month_after(month: str) -> str:
    year, number = int(month[:4]), int(month[5:7])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def _breakdown(
    review: Review, grouping: Grouping, currency: str, all_confirmed: Decimal
) -> Breakdown:
    names = told_by(grouping, review.by[grouping])
    lines = [
        _line(row, names, currency, all_confirmed) for row in _rows(review, grouping, currency)
    ]
    if grouping[0] == "day":
        lines.reverse()  # the latest days are looked for
    top = len(lines) if len(lines) <= TOP + 1 else TOP
    return Breakdown(", ".join(grouping), tuple(lines[:top]), tuple(lines[top:]))


def _line(row: Plain, grouping: Grouping, currency: str, all_confirmed: Decimal) -> Line:
    confirmed, high = _amount(row["confirmed"]), _amount(row["unknown_high"])
    each = row["cost_per_kept"]
    values = {name: str(row[name]) for name in grouping}
    is_listed = set(values) <= _LISTED
    return Line(
        name=" · ".join(values.values()),
        confirmed=shown(confirmed),
        unknown=shown(high) if high else "",
        jobs=f"{row['jobs']:,}",
        kept=f"{row['kept']:,}",
        per_kept=shown(_amount(each)) if each is not None else "",
        share=round(float(confirmed / all_confirmed), 4) if all_confirmed else 0.0,
        link=_link(currency=currency, **values) if is_listed else "",
    )


def _failure(row: Plain, command: str) -> FailureLine:
    """What deals with most of it: settle what is unknown first, then what failed for good."""
    counts = {word: int(row[word] or 0) for word in ("unsent", "failed", "unknown")}
    worst = next(word for word in ("unknown", "failed", "unsent") if counts[word])
    verb, _, option = _ADVICE.get(str(row["kind"]), _ADVICE[worst]).partition(" ")
    words = ("retouch", verb, command, option)
    said = " ".join(word for word in words if word) if command else ""
    unsent, failed, unknown = (f"{count:,}" if count else "" for count in counts.values())
    return FailureLine(str(row["kind"]), unsent, failed, unknown, said)


def _rows(review: Review, grouping: Grouping, currency: str) -> list[Plain]:
    return [row for row in review.by.get(grouping, ()) if row["currency"] == currency]


def _high(row: Plain) -> str:
    """The most that waste may come to, where that is more than is confirmed."""
    high = _amount(row["amount_high"])
    return shown(high) if high > _amount(row["amount"]) else ""


def _amount(value: object) -> Decimal:
    return Decimal(str(value)) if value is not None else _ZERO


def _link(**filters: str) -> str:
    """The fragment that makes the page list the jobs behind a number."""
    return f"#{urlencode(filters)}"
