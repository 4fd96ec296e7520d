"""A review as tables for people: the same for the terminal, Markdown and the HTML page.

Columns that a reviewer needs, in the order they are read; every amount of a column with as many
decimals, so that they line up. Programs get the rows themselves (`rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from retouch.money import EXACT, NO_CURRENCY, NONE_LOCAL
from retouch.report.rows import AMOUNTS, Plain, Review, Value, told_by
from retouch.report.sums import IN_TIME, Grouping
from retouch.text import one_clean_line

NO_PRICE = "no price"
VIRTUAL = "Costs are virtual: this was a rehearsal, nobody was paid."
_LEAST_SHARE = Decimal("0.05")  # percent; smaller changes are not shown
_PLACES = (2, 4, 6, 8)
_TOTALS = (
    "currency", "confirmed", "change", "unknown_low", "unknown_high", "unpriced_jobs", "jobs",
    "images", "input_tokens", "output_tokens", "total_tokens",
)  # fmt: skip
_ROWS = (
    "currency", "confirmed", "change", "share", "unknown_high", "jobs", "kept", "cost_per_kept",
    "total_tokens",
)  # fmt: skip
_KINDS = (
    "currency", "confirmed", "change", "share", "unknown_high", "input_tokens", "output_tokens",
    "images",
)  # fmt: skip
_WASTE = ("kind", "currency", "jobs", "pictures", "amount", "amount_high", "share")
_EXAMPLES = ("kind", "currency", "amount", "amount_high", "source", "prompt", "key")
_FAILURES = ("kind", "unsent", "failed", "unknown")
_LEFT_OUT_IF_ZERO = (
    "unpriced_jobs", "unknown_low", "unknown_high", "unsent", "failed", "unknown",
)  # fmt: skip
_HEADINGS = {
    "unknown_low": "unknown from",
    "unknown_high": "unknown up to",
    "unpriced_jobs": "unpriced",
    "cost_per_kept": "per kept",
    "share": "of confirmed",
    "input_tokens": "in tokens",
    "output_tokens": "out tokens",
    "total_tokens": "tokens",
    "unsent": "unsent (free)",
    "unknown": "maybe charged",
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """One titled table: `names` are its columns' in `rows`, `cells` what stands in them.

    `complete` says how to get rows that a narrow medium leaves out; `count` is how many there
    are, also where `rows` are the dearest alone.
    """

    title: str
    names: tuple[str, ...]
    rows: list[Plain]
    cells: list[list[str]]
    complete: str = ""
    count: int = 0

    @property
    def headings(self) -> list[str]:
        """The columns' names for people."""
        return [_HEADINGS.get(name, name.replace("_", " ")) for name in self.names]

    def is_number(self, name: str) -> bool:
        """Whether a column is aligned to the right."""
        return name in (*AMOUNTS, "share") or any(isinstance(row[name], int) for row in self.rows)


def sheets(review: Review) -> list[Sheet]:
    """The tables that have rows, in the order a reviewer reads them."""
    totals = {row["currency"]: Decimal(str(row["confirmed"] or 0)) for row in review.totals}
    found = [_sheet("Totals", _TOTALS, review.totals)]
    for grouping, rows in review.by.items():
        if _tells(grouping, rows, len(review.by)):
            title = f"By {', '.join(grouping)}".replace("label", "label (folder)")
            complete = f"--by {','.join(grouping)} --format csv has them all"
            if grouping[0] in IN_TIME:
                rows = rows[::-1]  # noqa: PLW2901 - people look for the newest
            shared = [row | {"share": _share(row, "confirmed", totals)} for row in rows]
            names = _KINDS if "kind" in grouping else _ROWS
            found.append(_sheet(title, (*told_by(grouping, rows), *names), shared, complete))
    wasted = [row | {"share": _share(row, "amount", totals)} for row in review.waste]
    found += [
        _sheet("Waste (a job may be of several kinds)", _WASTE, wasted),
        _sheet(
            "Waste: which jobs, the dearest",
            _EXAMPLES,
            review.examples,
            "--jobs --waste KIND has them all",
            sum(int(str(row["jobs"])) for row in review.waste),
        ),
        _sheet("Failed requests", _FAILURES, review.failures),
    ]
    return [sheet for sheet in found if sheet.rows]


def heads(review: Review) -> list[str]:
    """What to say above the tables: whose costs, and what must be known to read them."""
    said = [VIRTUAL] if review.is_virtual else []
    said += [review.about] if review.about else []
    said += review.notes
    return said if review.totals else [*said, "Nothing was sent."]


def foot(review: Review) -> str:
    """What to say below the tables."""
    counts = review.counts
    parts = [f"{counts['kept']:,} pictures kept", f"{counts['retries']:,} retries"]
    parts += [f"{counts['reused']:,} jobs reused (free)"] if counts["reused"] else []
    return ", ".join(parts)


def _tells(grouping: Grouping, rows: list[Plain], groupings: int) -> bool:
    """Whether a breakdown breaks anything down; one that was asked for always does."""
    values = {tuple(row[dimension] for dimension in grouping) for row in rows}
    return len(values) > 1 or groupings == 1 or grouping not in (("label",), ("run",))


def _sheet(
    title: str, names: Sequence[str], rows: list[Plain], complete: str = "", count: int = 0
) -> Sheet:
    kept = tuple(
        name
        for name in names
        if name != "change" or any(name in row for row in rows)
        if name not in _LEFT_OUT_IF_ZERO or any(_is_something(row[name]) for row in rows)
    )
    places = {
        name: places_of(Decimal(str(value)) for row in rows if (value := row[name]) is not None)
        for name in kept
        if name in AMOUNTS
    }
    cells = [[_shown(name, row[name], places.get(name, 0)) for name in kept] for row in rows]
    return Sheet(title, kept, rows, cells, complete, max(count, len(rows)))


def _share(row: Plain, name: str, totals: dict[Value, Decimal]) -> str | None:
    """What part of its currency's confirmed sum an amount is."""
    amount, whole = row[name], totals.get(row["currency"])
    if not isinstance(amount, str) or not whole:
        return None
    with localcontext(EXACT):
        percent = Decimal(amount) / whole * 100
    return "<0.1 %" if 0 < percent < _LEAST_SHARE else f"{percent:.1f} %"


def places_of(amounts: Iterable[Decimal]) -> int:
    """The fewest decimals that show no amount as zero, and of small ones two digits that count."""
    sizes = [abs(amount) for amount in amounts if amount]
    largest, least = max(sizes, default=Decimal(1)), min(sizes, default=Decimal(1))
    for places in _PLACES:
        if largest >= Decimal(100).scaleb(-places) and least >= Decimal("0.5").scaleb(-places):
            return places
    return _PLACES[-1]


def _is_something(value: Value) -> bool:
    return bool(value) and set(str(value)) != set("0.")


def _shown(name: str, value: Value, places: int) -> str:
    """A value for people: amounts rounded, counts with separators, text on one clean line."""
    if value is None:
        return NO_PRICE if name == "currency" else "-"
    if isinstance(value, int):
        return f"{value:,}"
    if name == "currency" and value == NO_CURRENCY:
        return NONE_LOCAL
    if isinstance(value, dict):  # people are shown the change, programs the earlier sum
        return "-"
    if name in AMOUNTS:
        with localcontext(EXACT):
            return f"{Decimal(value):,.{places}f}"
    return one_clean_line(value.replace("_", " ") if name == "kind" else value, 300)
