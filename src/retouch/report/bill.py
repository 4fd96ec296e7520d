"""A provider's bill as lines, and how one is read from a CSV with a mapping of its columns.

Nothing is guessed silently: a column that is named and not there, a date, an amount or a currency
that is none, is refused with its line. Amounts are Decimal as written.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Literal, get_args

from retouch.errors import InputRefused, Problem
from retouch.manifest.currencies import CODES
from retouch.text import one_clean_line

Measure = Literal["amount", "requests", "images", "input_tokens", "output_tokens", "total_tokens"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
ROLES = ("date", "model", *MEASURES, "currency", "id")
_NAMED: Mapping[str, tuple[str, ...]] = {
    "date": ("date", "day", "time", "timestamp", "created_at", "日期", "时间", "账单日期"),
    "model": ("model", "model_name", "模型", "模型名称"),
    "amount": ("amount", "cost", "charge", "fee", "total_cost", "金额", "费用", "应付金额"),
    "requests": ("requests", "request_count", "calls", "请求数", "调用次数"),
    "images": ("images", "image_count", "quantity", "图片数", "张数"),
    "input_tokens": ("input_tokens", "prompt_tokens", "输入token", "输入tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "输出token", "输出tokens"),
    "total_tokens": ("total_tokens", "tokens"),
    "currency": ("currency", "币种"),
    "id": ("id", "request_id", "task_id", "请求id", "任务id"),
}
_SIGNS = "¥￥$€£ \u00a0"
_PROBLEMS_SHOWN = 20


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
    """All lines of a bill, and what they measure."""

    name: str
    lines: tuple[Line, ...] = field(repr=False)
    notes: tuple[str, ...] = ()

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


def read_csv(name: str, text: str, columns: str = "", zone: timezone = UTC) -> Bill:
    """A bill from CSV; `columns` maps roles to columns, like `date=日期,amount=金额`.

    What it leaves out is known by its usual names. Times without a zone, and days, are those of
    `zone`. Raises InputRefused.
    """
    sample = text.partition("\n")[0]
    delimiter = max(",;\t", key=sample.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        places = _places(name, header, columns)
        lines: list[Line] = []
        problems: list[Problem] = []
        for row in reader:
            if any(cell.strip() for cell in row):
                try:
                    lines.append(_line(row, reader.line_num, places, zone))
                except Unreadable as error:
                    problems.append(Problem(name, reader.line_num, 1, str(error), error.remedy))
    except csv.Error as error:
        raise InputRefused([Problem(name, reader.line_num, 1, f"is no CSV: {error}")]) from None
    if problems:
        raise InputRefused(problems[:_PROBLEMS_SHOWN])
    return Bill(name, tuple(lines))


class Unreadable(Exception):
    """Why a line cannot be used."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy


def _places(name: str, header: list[str], columns: str) -> dict[str, int]:
    """Where each role's column is. Raises InputRefused, naming the columns there are."""
    there = f"its columns: {', '.join(one_clean_line(each, 40) for each in header[:40])}"
    places: dict[str, int] = {}
    for pair in filter(None, (each.strip() for each in columns.split(","))):
        role, separator, column = (part.strip() for part in pair.partition("="))
        if not separator or role not in ROLES:
            what = f"--columns {pair}: not ROLE=COLUMN; the roles are {', '.join(ROLES)}"
            raise InputRefused(what)
        if column not in header:
            raise InputRefused([Problem(name, 1, 1, f"there is no column `{column}`", there)])
        places[role] = header.index(column)
    lowered = [cell.lower() for cell in header]
    for role, names in _NAMED.items():
        found = [lowered.index(each) for each in names if each in lowered]
        if role not in places and found:
            places[role] = found[0]
    missing = [role for role in ("date", "model") if role not in places]
    if not set(places) & set(MEASURES):
        missing.append("amount")
    if missing:
        remedy = f"say which it is by --columns {missing[0]}=...; {there}"
        what = f"no column is known to hold the {' or the '.join(missing)}"
        raise InputRefused([Problem(name, 1, 1, what, remedy)])
    return places


def _line(row: list[str], number: int, places: dict[str, int], zone: timezone) -> Line:
    cells = {role: row[index].strip() for role, index in places.items() if index < len(row)}
    if "date" not in cells or "model" not in cells:
        raise Unreadable(f"has {len(row)} cells, fewer than the header")
    day, at = when(cells["date"], zone)
    currency = cells.get("currency", "").upper() or None
    if currency is not None and currency not in CODES:
        raise Unreadable(
            f"`{one_clean_line(currency, 20)}` is no currency", "write three letters, like CNY"
        )
    measures = {each: _number(cells[each], each) for each in MEASURES if cells.get(each)}
    return Line(number, day, cells["model"], measures, currency, cells.get("id", ""), at)


def when(text: str, zone: timezone) -> tuple[str, datetime | None]:
    """A day, or a time, in the bill's zone."""
    written = text.strip().replace("/", "-")
    if len(written) <= 10:
        try:
            year, month, day = map(int, written.split("-")) if "-" in written else _digits(written)
            return date(year, month, day).isoformat(), None
        except ValueError:
            raise _no_day(text) from None
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise _no_day(text) from None
    at = at.astimezone(zone) if at.tzinfo else at.replace(tzinfo=zone)
    return at.date().isoformat(), at


def _digits(text: str) -> tuple[int, int, int]:
    if len(text) != 8:
        raise ValueError(text)
    return int(text[:4]), int(text[4:6]), int(text[6:])


def _no_day(text: str) -> Unreadable:
    return Unreadable(f"`{one_clean_line(text, 40)}` is no day or time", "write 2025-10-02")


def _number(text: str, role: str) -> Decimal:
    bare = text.strip(_SIGNS).replace(",", "")
    try:
        number = Decimal(bare)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Unreadable(f"`{one_clean_line(text, 40)}` is no number ({role})", "check --columns")
    return number


def zone_of(offset: str) -> timezone:
    """`+08:00` as a zone; raises InputRefused."""
    try:
        moment: datetime | None = datetime.fromisoformat(f"2025-01-01T00:00:00{offset or '+00:00'}")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputRefused(f"--utc-offset {offset}: write an offset like +08:00")
    return timezone(moment.utcoffset() or timedelta(0))
