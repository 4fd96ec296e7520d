"""Charts as geometry: from rows of a review to bars and paths that a template writes as SVG.

A chart is `WIDTH` by `HEIGHT` units; what is unknown stands hatched on top of what is confirmed.
Pure. Amounts become floats here, for a place on paper is not money.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

WIDTH, HEIGHT = 860, 240
LEFT, BOTTOM, TOP = 66, 26, 12
DAYS_SHOWN = 60  # more, and a bar is a week
SERIES = 8  # colours that are told apart; the last is for all others
_LABELS = 12  # under the bars


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle; `series` is the number of its colour, None where it is hatched."""

    x: float
    y: float
    width: float
    height: float
    series: int | None
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place of an axis; `anchor` as SVG has it."""

    at: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw: bars and paths (`confirmed`, `open`: with the unknown, `expected`), the
    `bound`'s height if there is a budget, labels on both axes."""

    title: str
    bars: tuple[Bar, ...] = ()
    confirmed: str = ""
    open: str = ""
    expected: str = ""
    bound: float | None = None
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(slots=True)
class Spent:
    """What a model cost on a day."""

    confirmed: Decimal = Decimal(0)
    unknown: Decimal = Decimal(0)


Ledgered = Mapping[tuple[str, str], Spent]
"""By day (YYYY-MM-DD) and model."""


def is_weekly(days: Iterable[str]) -> bool:
    """Whether bars are weeks."""
    known = sorted(days)
    return bool(known) and _days_between(known[0], known[-1]) >= DAYS_SHOWN


def bars_of(spent: Ledgered, models: Sequence[str], title: str) -> Chart:
    """Stacked bars by day or week, a colour a model in the order of `models`."""
    weekly = is_weekly(day for day, _ in spent)
    by_period: dict[str, dict[int, Spent]] = {}
    for (day, model), each in spent.items():
        series = min(models.index(model), SERIES - 1)
        sums = by_period.setdefault(_period(day, weekly), {}).setdefault(series, Spent())
        sums.confirmed += each.confirmed
        sums.unknown += each.unknown
    periods = _periods(by_period, weekly)
    highest = max(
        (sum(one.confirmed + one.unknown for one in each.values()) for each in by_period.values()),
        default=Decimal(0),
    )
    scale = _Scale(float(highest))
    step = (WIDTH - LEFT) / max(1, len(periods))
    bars: list[Bar] = []
    for place, period in enumerate(periods):
        bottom = Decimal(0)
        for series, unknown in _stack(by_period.get(period, {})):
            each = by_period[period][series]
            amount = each.unknown if unknown else each.confirmed
            name = models[series] if series < SERIES - 1 or len(models) <= SERIES else "…"
            x, width = LEFT + place * step + step * 0.12, min(step * 0.76, 60)
            y = scale.y(float(bottom + amount))
            height = scale.y(float(bottom)) - y
            words = f"{period} · {name}: {'≤ ' if unknown else ''}{amount:,.4f}"
            number = None if unknown else series
            bars.append(Bar(x, y, width, height, number, words))
            bottom += amount
    return Chart(title, tuple(bars), x_ticks=_labels(periods, step), y_ticks=scale.ticks)


def cumulative_of(
    spent: Ledgered, title: str, *, budget: Decimal | None, expected: Decimal | None
) -> Chart:
    """What was spent until each day, against the budget and what is expected of the rest."""
    days = sorted({day for day, _ in spent})
    if not days:
        return Chart(title)
    confirmed, upper = _running(spent, days)
    end = upper[-1] + float(expected or 0)
    highest = max(end, float(budget) if budget is not None else 0.0)
    scale = _Scale(highest)
    # A day's costs are known at its end; nothing is known before the first day.
    last = _days_between(days[0], days[-1]) + (2 if expected else 1)
    step = (WIDTH - LEFT - 20) / last
    places = [LEFT, *(LEFT + step * (_days_between(days[0], day) + 1) for day in days)]
    confirmed, upper, days = [0.0, *confirmed], [0.0, *upper], ["", *days]
    rest = ""
    if expected:
        rest = _path([(places[-1], scale.y(confirmed[-1])), (WIDTH - 10, scale.y(end))])
    return Chart(
        title,
        confirmed=_path([(x, scale.y(y)) for x, y in zip(places, confirmed, strict=True)]),
        open=_path([(x, scale.y(y)) for x, y in zip(places, upper, strict=True)])
        if upper != confirmed
        else "",
        expected=rest,
        bound=None if budget is None else scale.y(float(budget)),
        x_ticks=_ends(places, days),
        y_ticks=scale.ticks,
    )  # fmt: skip


@dataclass(slots=True)
class Durations:
    """How long finished Jobs took, in seconds, by model and by whether they were Tasks."""

    seconds: dict[tuple[str, bool], array[float]] = field(default_factory=dict)

    def take(self, model: str, seconds: float, *, is_task: bool) -> None:
        """One more Job."""
        known = self.seconds.get((model, is_task))
        if known is None:
            known = self.seconds[model, is_task] = array("d")
        known.append(seconds)

    def histograms(self) -> list[Histogram]:
        """One a model and kind, in the order of their names."""
        return [
            _histogram(model, is_task, taken)
            for (model, is_task), taken in sorted(self.seconds.items())
        ]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How Jobs' durations are spread: `median` and `ninth` (nine of ten are under it), seconds."""

    model: str
    is_task: bool
    jobs: int
    median: float
    ninth: float
    chart: Chart


def _histogram(model: str, is_task: bool, taken: Sequence[float]) -> Histogram:
    """Bars for doubling durations: a quarter of a second and ten minutes fit beside another."""
    steps = [max(-2, math.floor(math.log2(max(each, 0.01)))) for each in taken]
    low, high = min(steps), max(steps)
    counts = [steps.count(step) for step in range(low, high + 1)]
    width, height = 320, 130
    scale = _Scale(float(max(counts)), height=height, is_whole=True)
    step = (width - LEFT) / len(counts)
    bars = tuple(
        Bar(
            LEFT + at * step + 1,
            scale.y(count),
            min(step - 2, 48),
            scale.y(0) - scale.y(count),
            0,
            f"{_seconds(low + at)}–{_seconds(low + at + 1)} s: {count:,}",
        )
        for at, count in enumerate(counts)
    )
    every = max(1, len(counts) // 6)
    ticks = tuple(
        Tick(LEFT + at * step + 1, f"{_seconds(low + at)} s")
        for at in range(0, len(counts), every)
    )  # fmt: skip
    ordered = sorted(taken)
    ninth = ordered[math.ceil(0.9 * len(ordered)) - 1]
    chart = Chart(model, bars, x_ticks=ticks, y_ticks=scale.ticks, width=width, height=height)
    return Histogram(
        model, is_task, len(taken), round(statistics.median(taken), 2), round(ninth, 2), chart
    )


class _Scale:
    """The vertical axis from nothing to a round number above the highest value."""

    def __init__(self, highest: float, *, height: int = HEIGHT, is_whole: bool = False) -> None:
        self._height = height
        self._end = _round_up(highest) if highest > 0 else 1.0
        halves = (0.0, self._end / 2, self._end)
        shown = [each for each in halves if not is_whole or each == int(each)]
        self.ticks = tuple(Tick(self.y(each), f"{each:,.6g}") for each in shown)

    def y(self, value: float) -> float:
        """Where a value is drawn, from the top."""
        room = self._height - TOP - BOTTOM
        return round(self._height - BOTTOM - room * value / self._end, 2)


def _round_up(value: float) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 2, 4, 5, 6, 8, 10) if unit * step >= value * 0.999999)


def _stack(sums: Mapping[int, Spent]) -> list[tuple[int, bool]]:
    """Each series confirmed, then what is unknown, hatched, above all."""
    confirmed = [(series, False) for series in sorted(sums) if sums[series].confirmed]
    return confirmed + [(series, True) for series in sorted(sums) if sums[series].unknown]


def _period(day: str, weekly: bool) -> str:
    if not weekly:
        return day
    given = date.fromisoformat(day)
    return (given - timedelta(days=given.weekday())).isoformat()


def _periods(known: Iterable[str], weekly: bool) -> list[str]:
    """Every day or Monday from the first to the last, also those without costs."""
    ordered = sorted(known)
    if not ordered:
        return []
    step = 7 if weekly else 1
    first = date.fromisoformat(ordered[0])
    count = _days_between(ordered[0], ordered[-1]) // step + 1
    return [(first + timedelta(days=step * at)).isoformat() for at in range(count)]


def _days_between(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def _labels(periods: Sequence[str], step: float) -> tuple[Tick, ...]:
    every = max(1, math.ceil(len(periods) / _LABELS))
    return tuple(
        Tick(LEFT + at * step + step * 0.12, periods[at][5:])
        for at in range(0, len(periods), every)
    )


def _ends(places: Sequence[float], days: Sequence[str]) -> tuple[Tick, ...]:
    """Labels under the first, the middle and the last day of a line."""
    last = len(days) - 1
    anchors = {(last + 1) // 2: "middle", 1: "start", last: "end"}
    return tuple(Tick(places[at], days[at][5:], anchors[at]) for at in sorted(anchors))


def _running(spent: Ledgered, days: Sequence[str]) -> tuple[list[float], list[float]]:
    confirmed, unknown = Decimal(0), Decimal(0)
    lower: list[float] = []
    upper: list[float] = []
    for day in days:
        of_day = [each for (on, _), each in spent.items() if on == day]
        confirmed += sum((each.confirmed for each in of_day), Decimal(0))
        unknown += sum((each.unknown for each in of_day), Decimal(0))
        lower.append(float(confirmed))
        upper.append(float(confirmed + unknown))
    return lower, upper


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A line through points."""
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _seconds(step: int) -> str:
    return f"{2.0**step:g}"
