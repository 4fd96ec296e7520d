"""A review beside that of another span: month over month, or the span before of equal length."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import cast

from retouch.errors import InputRefused
from retouch.money import EXACT, exact
from retouch.report.breakdown import columns
from retouch.report.rows import Plain, Review, Value
from retouch.report.sums import Grouping, Period

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_SUMS = ("confirmed", "unknown_high")


def month(said: str) -> Period:
    """A month (YYYY-MM) as a period."""
    first = date.fromisoformat(f"{said}-01")
    following = (first + timedelta(days=32)).replace(day=1)
    return Period(first.isoformat(), (following - timedelta(days=1)).isoformat())


def spans(when: str, period: Period, days: tuple[str, ...]) -> tuple[Period | None, Period]:
    """What is looked at (None: what it was) and what it is compared with.

    `previous`: the span of equal length before the period; without one, of the ledger's last
    month, the month before. Raises InputRefused.
    """
    if _MONTH.fullmatch(when):
        return None, month(when)
    if when != "previous":
        raise InputRefused(f"--compare {when}: write previous, or a month like 2026-09")
    if not days:
        raise InputRefused("--compare: nothing was sent, so there is nothing to compare")
    if period.since or period.until:
        first = date.fromisoformat(period.since or days[0])
        last = date.fromisoformat(period.until or days[-1])
        before = first - timedelta(days=1)
        return None, Period((before - (last - first)).isoformat(), before.isoformat())
    now = month(days[-1][:7])
    before = date.fromisoformat(now.since) - timedelta(days=1)
    return now, month(before.isoformat()[:7])


def compared(review: Review, earlier: Review) -> Review:
    """The review whose rows say what they came to before, and by how much that changed."""
    return replace(
        review,
        totals=_rows((), review.totals, earlier.totals),
        by={
            grouping: _rows(grouping, rows, earlier.by.get(grouping, []))
            for grouping, rows in review.by.items()
        },
    )


def _rows(grouping: Grouping, rows: list[Plain], earlier: list[Plain]) -> list[Plain]:
    names = ("currency", *columns(grouping))
    known = {tuple(row[name] for name in names): row for row in earlier}
    return [_row(row, known.get(tuple(row[name] for name in names))) for row in rows]


def _row(row: Plain, before: Plain | None) -> Plain:
    if row["currency"] is None:
        return row | {"previous": None, "change": None}
    sums: dict[str, str] = {
        name: str(before[name]) if before else exact(Decimal(0)) for name in _SUMS
    }
    with localcontext(EXACT):
        change = exact(Decimal(str(row["confirmed"])) - Decimal(sums["confirmed"]))
    return row | {"previous": cast("Value", sums), "change": change}


def as_other(row: Plain) -> str:
    """What to say of `--as` beside the figures."""
    return (
        f"{row['model']}: {row['confirmed'] or 'nothing'}; as {row['as']} it would be "
        f"{row['would_be'] or 'nothing'} {row['currency']}."
    )
