"""A provider's bill as lines, whatever form it came in.

Amounts are Decimal as written; `csv_bill` and `usage_export` read the forms there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

from retouch.errors import InputRefused, Problem

Measure = Literal["amount", "requests", "images", "input_tokens", "output_tokens", "total_tokens"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. `number` counts from 1 in its file; 0 where it has no lines.

    `at` is its time where it says more than the day. `day` is YYYY-MM-DD in the bill's own zone.
    """

    number: int
    day: str
    model: str
    measures: Mapping[Measure, Decimal]
    currency: str | None = None
    id: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """All lines of a bill, and what they measure.

    `signs` are the currency signs on amounts of lines that do not name their currency; `notes`
    say what was left out.
    """

    name: str
    lines: tuple[Line, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    signs: frozenset[str] = frozenset()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What any line says something about."""
        return tuple(each for each in MEASURES if any(each in line.measures for line in self.lines))


def decoded(name: str, text: bytes) -> str:
    """The text of a bill's file. Raises InputRefused."""
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start})"
        raise InputRefused([Problem(name, 0, 0, what, "save it as UTF-8")]) from None
