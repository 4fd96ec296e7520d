"""A bill from CSV, with a mapping of its columns.

A column that is named and not there, or that could mean two things, and a cell that cannot be
read, are refused with their line. Rows of totals are left out, and said.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timezone
from decimal import Decimal

from retouch.dialects.bill import MEASURES, Bill, Line, UnreadableCell, when
from retouch.errors import InputRefused, Problem
from retouch.reconcile.bill_cells import SIGNS, currency, number
from retouch.text import one_clean_line

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
_TOTALS = ("total", "subtotal", "sum", "grand total", "合计", "总计", "小计", "汇总")
_PROBLEMS_SHOWN = 20


def read_csv(name: str, text: str, columns: str = "", zone: timezone = UTC) -> Bill:
    """A bill from CSV; `columns` maps roles to columns, like `date=日期,amount=金额`.

    What it leaves out is known by its usual names. Times without a zone, and days, are those of
    `zone`. Raises InputRefused.
    """
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    # Not splitlines(): a cell may hold what Unicode calls a line's end.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        sheet = _Sheet(_places(name, header, columns), zone, has_commas=delimiter != ";")
        problems: list[Problem] = []
        for row in reader:
            if any(cell.strip() for cell in row):
                try:
                    sheet.read(row, reader.line_num)
                except UnreadableCell as error:
                    problems.append(Problem(name, reader.line_num, 1, str(error), error.remedy))
    except csv.Error as error:
        raise InputRefused([Problem(name, reader.line_num, 1, f"is no CSV: {error}")]) from None
    if problems:
        raise InputRefused(problems[:_PROBLEMS_SHOWN])
    notes = tuple(f"{name}:{each}" for each in sheet.left_out)
    return Bill(name, tuple(sheet.lines), notes, frozenset(sheet.signs))


@dataclass(slots=True)
class _Sheet:
    """Gathers lines, and says of those `left_out` why. `has_commas`: between thousands; where
    cells are parted by semicolons, a comma may be the decimal point."""

    places: Mapping[str, int]
    zone: timezone
    has_commas: bool
    lines: list[Line] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    signs: set[str] = field(default_factory=set)

    def read(self, row: Sequence[str], line_number: int) -> None:
        """Take in one row; raises UnreadableCell."""
        cells = {role: row[at].strip() for role, at in self.places.items() if at < len(row)}
        if _is_total(cells):
            figure = one_clean_line(cells.get("amount", "") or "no amount", 40)
            self.left_out.append(f"{line_number}: left out, a total or of no day ({figure})")
            return
        if "date" not in cells or "model" not in cells:
            raise UnreadableCell(f"has {len(row)} cells, fewer than the header")
        day, at = when(cells["date"], self.zone)
        code = currency(cells.get("currency", ""))
        said = ((each, self._number(cells.get(each, ""), each)) for each in MEASURES)
        measures = {measure: value for measure, value in said if value is not None}
        if not measures:
            raise UnreadableCell("has no figure", "check --columns, or take the line out")
        self._check_signs(cells.get("amount", ""), code)
        model, name = cells["model"], cells.get("id", "")
        self.lines.append(Line(line_number, day, model, measures, code, name, at))

    def _number(self, text: str, role: str) -> Decimal | None:
        if not self.has_commas and "," in text and "." not in text:
            what = f"`{one_clean_line(text, 40)}` may be two numbers ({role})"
            raise UnreadableCell(what, "write it like 1234.56")
        return number(text, role)

    def _check_signs(self, amount: str, code: str | None) -> None:
        """The sign of an amount must be one of its currency."""
        for sign in set(amount) & SIGNS.keys():
            if code is None:
                self.signs.add(sign)
            elif code not in SIGNS[sign]:
                what = f"`{one_clean_line(amount, 40)}` is not an amount in {code}"
                raise UnreadableCell(what, "check --columns")


def _is_total(cells: Mapping[str, str]) -> bool:
    """Whether a row says that it is one of totals, or has neither a day nor a model."""
    words = [cells.get("date", ""), cells.get("model", "")]
    return not any(words) or any(word.rstrip(" :：").lower() in _TOTALS for word in words)


def _places(name: str, header: Sequence[str], columns: str) -> dict[str, int]:
    """Where each role's column is. Raises InputRefused, naming the columns there are."""
    there = f"its columns: {', '.join(one_clean_line(each, 40) for each in header[:40])}"
    places: dict[str, int] = {}
    for role, column in _mapped(columns):
        if header.count(column) != 1:
            count = "more than one" if column in header else "no"
            what = f"there is {count} column `{one_clean_line(column, 40)}`"
            raise InputRefused([Problem(name, 1, 1, what, there)])
        places[role] = header.index(column)
    lowered = [cell.lower() for cell in header]
    for role, names in _NAMED.items():
        found = [at for each in names for at, cell in enumerate(lowered) if cell == each]
        if role in places or not found:
            continue
        if role in MEASURES and len(found) > 1:
            both = " and ".join(f"`{one_clean_line(header[at], 40)}`" for at in found)
            remedy = f"say which by --columns {role}=..."
            raise InputRefused([Problem(name, 1, 1, f"{both} may be the {role}", remedy)])
        places[role] = found[0]
    missing = [role for role in ("date", "model") if role not in places]
    missing += [] if set(places) & set(MEASURES) else ["amount"]
    if missing:
        remedy = f"say which it is by --columns {missing[0]}=...; {there}"
        what = f"no column is known to hold the {' or the '.join(missing)}"
        raise InputRefused([Problem(name, 1, 1, what, remedy)])
    return places


def _mapped(columns: str) -> Iterator[tuple[str, str]]:
    """The pairs of `--columns`. Raises InputRefused."""
    for pair in filter(None, (each.strip() for each in columns.split(","))):
        role, separator, column = (part.strip() for part in pair.partition("="))
        if not separator or role not in ROLES:
            what = f"--columns {pair}: not ROLE=COLUMN; the roles are {', '.join(ROLES)}"
            raise InputRefused(what)
        yield role, column
