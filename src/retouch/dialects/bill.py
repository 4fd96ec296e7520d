"""A provider's bill as lines, whatever form it came in.

Amounts are Decimal as written; `reconcile` reads the forms there are, a dialect its server's own
usage export.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Literal, get_args

from retouch.text import one_clean_line

Measure = Literal["amount", "requests", "images", "input_tokens", "output_tokens", "total_tokens"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
_DAY = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{4})(\d\d)(\d\d)", re.ASCII)
_MONTH = re.compile(r"(20\d\d)(?:[-/.年](\d{1,2})月?|(\d\d))", re.ASCII)
_UNIX = re.compile(r"1\d{9}(\d{3})?(\.\d+)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR = 2000  # earlier ones are days written in another order


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. `number` counts from 1 in its file; 0 where it has no lines.

    `at` is its time where it says more than the day. `day` is YYYY-MM-DD in the bill's own zone,
    YYYY-MM where it says the month alone. `category` says what it is if no usage (tax, credit,
    refund, discount); `rows` of the file it adds up.
    """

    number: int
    day: str
    model: str
    measures: Mapping[Measure, Decimal]
    currency: str | None = None
    id: str = ""
    at: datetime | None = None
    category: str = ""
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Bill:
    """All lines of a bill, and what they measure.

    `signs` are the currency signs on amounts of lines that do not name their currency; `notes`
    say what was left out. `columns` maps roles to the headers they were read from, `unused_money`
    are headers of money that is not compared; `is_itemised`: a line is a request (None: not
    known); `by_words`: models are named in words.
    """

    name: str
    lines: tuple[Line, ...] = field(repr=False)
    notes: tuple[str, ...] = ()
    signs: frozenset[str] = frozenset()
    profile: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    unused_money: tuple[str, ...] = ()
    is_itemised: bool | None = None
    by_words: bool = False

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What any line says something about."""
        return tuple(each for each in MEASURES if any(each in line.measures for line in self.lines))


class UnreadableCell(Exception):
    """Why a cell or a line cannot be used."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


def when(text: str, zone: timezone) -> tuple[str, datetime | None]:
    """A day as YYYY-MM-DD in the bill's zone, and the time if one is written; a month alone as
    YYYY-MM. Unix seconds or milliseconds are a time."""
    if _UNIX.fullmatch(text.strip()):
        is_in_milliseconds = len(text.strip().partition(".")[0]) == 13
        unit = 1_000 if is_in_milliseconds else 1_000_000
        since = timedelta(microseconds=int(Decimal(text.strip()) * unit))
        at = (_EPOCH + since).astimezone(zone)
        return at.date().isoformat(), at
    month = _MONTH.fullmatch(text.strip())
    number = int(month[2] or month[3]) if month else 0
    if month and 1 <= number <= 12:
        return f"{month[1]}-{number:02}", None
    written = re.sub("[年月]", "-", text.strip()).replace("日", " ").strip()
    written = re.sub(r" ?(UTC|GMT)$", "Z", written)
    found = _DAY.match(written)
    try:
        day = _day(found)
        time = written[found.end() :].strip(" T").replace(" ", "") if found else ""
        if not time:
            return day.isoformat(), None
        # Spreadsheets write eight o'clock as 8:00.
        time = f"0{time}" if time[1:2] == ":" else time
        at = datetime.fromisoformat(f"{day.isoformat()}T{time}")
        at = at.astimezone(zone) if at.tzinfo else at.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        what = f"`{one_clean_line(text, 40)}` is no day or time"
        raise UnreadableCell(what, "write 2025-10-02") from None
    return at.date().isoformat(), at


def _day(found: re.Match[str] | None) -> date:
    """The day of a match of _DAY; raises ValueError."""
    if found is None:
        raise ValueError("no day")
    parts = found.group(1, 3, 4) if found[1] else found.group(5, 6, 7)
    if int(parts[0]) < _FIRST_YEAR:
        raise ValueError("written in another order")
    return date(*map(int, parts))
