"""From the rows of a bill's table to its Lines, by a profile or a mapping of its columns.

A column that is named and not there, or that could mean two things, and a cell that cannot be
read, are refused with their line. Rows of totals are left out, and said; credits, discounts, tax
and refunds are lines of their own. What looks like money and is not compared is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timezone
from decimal import Decimal

from retouch.dialects.bill import MEASURES, Bill, Line, Measure, UnreadableCell, when
from retouch.errors import InputRefused, Problem
from retouch.money import currency_meant
from retouch.reconcile.bill_cells import SIGNS, currency, number
from retouch.reconcile.profiles import (
    GENERIC,
    ROLES,
    Cells,
    Profile,
    looks_like_money,
    plain_header,
    profile_of,
)
from retouch.text import one_clean_line

Rows = Sequence[tuple[int, Sequence[str]]]  # each with its number in the file, from 1
_TOTALS = ("total", "subtotal", "sum", "grand total", "合计", "总计", "小计", "汇总")
_CREDIT_WORDS = ("credit", "promo", "voucher", "refund", "退款", "代金券", "赠送")
_PROBLEMS_SHOWN = 20
_PREAMBLE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table is to be read: what the user said of it, nothing where he said nothing.

    `columns` maps roles to headers; `quota_per_unit` is new-api's."""

    zone: timezone
    columns: Mapping[str, str] = field(default_factory=dict)
    profile: Profile | None = None
    quota_per_unit: str = ""
    has_commas: bool = True


def mapped(columns: str) -> dict[str, str]:
    """The pairs of `--columns`, like `date=日期,amount=金额`. Raises InputRefused."""
    pairs: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in columns.split(","))):
        role, separator, column = (part.strip() for part in pair.partition("="))
        if not separator or role not in ROLES:
            what = f"--columns {pair}: not ROLE=COLUMN; the roles are {', '.join(ROLES)}"
            raise InputRefused(what)
        pairs[role] = column
    return pairs


def read_table(name: str, rows: Rows, reading: Reading) -> Bill:
    """A bill from a table's rows. Times without a zone, and days, are those of the reading's
    zone. Raises InputRefused with file and line."""
    at, profile = _header(rows, reading)
    header = [cell.strip() for cell in rows[at][1]] if rows else []
    first = rows[at][0] if rows else 1
    places = _places(name, first, header, profile, reading.columns)
    table = _Table(header, places, profile, reading)
    problems: list[Problem] = []
    for line_number, row in rows[at + 1 :]:
        if any(cell.strip() for cell in row):
            try:
                table.read(row, line_number)
            except UnreadableCell as error:
                problems.append(Problem(name, line_number, 1, str(error), error.remedy))
    if problems:
        raise InputRefused(problems[:_PROBLEMS_SHOWN])
    notes = [f"{name}:{each}" for each in table.left_out]
    notes += [f"{name}: {profile.says}"] if profile.says and not reading.quota_per_unit else []
    lines = summed(table.lines) if profile.grain == "sum" else table.lines
    return Bill(
        name,
        tuple(lines),
        tuple(notes),
        frozenset(table.signs),
        profile=profile.name,
        columns={role: header[place] for role, place in places.items()},
        unused_money=tuple(table.unused_money()),
        is_itemised=True if profile.grain == "request" else None if not profile.grain else False,
        by_words=profile.by_words,
    )


def summed(lines: Sequence[Line]) -> list[Line]:
    """Lines of one day, model, currency and category as one: what each states is added."""
    found: dict[tuple[str, str, str | None, str], Line] = {}
    for line in lines:
        place = (line.day, line.model, line.currency, line.category)
        known = found.get(place)
        if known is None:
            found[place] = line
            continue
        sums = dict(known.measures)
        for measure, value in line.measures.items():
            sums[measure] = sums.get(measure, Decimal(0)) + value
        found[place] = dataclasses.replace(known, measures=sums, rows=known.rows + line.rows)
    return list(found.values())


def _header(rows: Rows, reading: Reading) -> tuple[int, Profile]:
    """Which row is the header (a preamble may come first), and the profile that it fits."""
    plain = [frozenset(plain_header(cell)[0] for cell in row) for _, row in rows[:_PREAMBLE_ROWS]]
    if reading.profile is not None:
        wanted = reading.profile.signature
        return next((at for at, each in enumerate(plain) if wanted <= each), 0), reading.profile
    for at, each in enumerate(plain):
        if profile_of(each) is not GENERIC:
            return at, profile_of(each)
    dates = frozenset(GENERIC.columns["date"])
    others = frozenset(
        word for role, words in GENERIC.columns.items() if role != "date" for word in words
    )
    named = set(reading.columns.values())
    for at, (_, row) in enumerate(rows[:_PREAMBLE_ROWS]):
        if (named and named & {cell.strip() for cell in row}) or (
            plain[at] & dates and plain[at] & others
        ):
            return at, GENERIC
    return 0, GENERIC


def _places(
    name: str, line: int, header: Sequence[str], profile: Profile, said: Mapping[str, str]
) -> dict[str, int]:
    """Where each role's column is. Raises InputRefused, naming the columns there are."""
    there = f"its columns: {', '.join(one_clean_line(each, 40) for each in header[:40])}"
    places: dict[str, int] = {}
    for role, column in said.items():
        if header.count(column) != 1:
            count = "more than one" if column in header else "no"
            what = f"there is {count} column `{one_clean_line(column, 40)}`"
            raise InputRefused([Problem(name, line, 1, what, there)])
        places[role] = header.index(column)
    plain = [plain_header(cell)[0] for cell in header]
    for role, names in profile.columns.items():
        found = [at for each in names for at, cell in enumerate(plain) if cell == each]
        if role in places or not found:
            continue
        if profile is GENERIC and role in MEASURES and len(found) > 1:
            both = " and ".join(f"`{one_clean_line(header[at], 40)}`" for at in found)
            remedy = f"say which by --columns {role}=..."
            raise InputRefused([Problem(name, line, 1, f"{both} may be the {role}", remedy)])
        places[role] = found[0]
    missing = [role for role in ("date", "model") if role not in places]
    missing += [] if set(places) & {*MEASURES, "quota"} else ["amount"]
    if missing:
        remedy = f"say which it is by --columns {missing[0]}=...; {there}"
        what = f"no column is known to hold the {' or the '.join(missing)}"
        raise InputRefused([Problem(name, line, 1, what, remedy)])
    return places


@dataclass(slots=True)
class _Table:
    """Gathers lines, and says of those `left_out` why."""

    header: Sequence[str]
    places: Mapping[str, int]
    profile: Profile
    reading: Reading
    lines: list[Line] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    signs: set[str] = field(default_factory=set)
    _filled: set[int] = field(default_factory=set)

    def read(self, row: Sequence[str], line_number: int) -> None:
        """Take in one row; raises UnreadableCell."""
        self._filled |= {at for at, cell in enumerate(row) if cell.strip(" 0.-") != ""}
        cells = self._cells(row)
        category = cells.get("category", "")
        if _is_total(cells) and not category:
            figure = one_clean_line(cells.get("amount", "") or "no amount", 40)
            self.left_out.append(f"{line_number}: left out, a total or of no day ({figure})")
            return
        if "date" not in cells or ("model" not in cells and not category):
            raise UnreadableCell(f"has {len(row)} cells, fewer than the header")
        day, at = when(cells["date"], self.reading.zone)
        code = currency(cells.get("currency", "")) or self._default_currency()
        said = ((each, self._number(cells.get(each, ""), each)) for each in MEASURES)
        measures: dict[Measure, Decimal] = {
            measure: value for measure, value in said if value is not None
        }
        if not measures:
            raise UnreadableCell("has no figure", "check --columns, or take the line out")
        self._check_signs(cells.get("amount", ""), code)
        model, name = cells.get("model", ""), cells.get("id", "")
        category = category or _category(model)
        self.lines.append(
            Line(line_number, day, model, measures, code, name, at, category=category)
        )

    def unused_money(self) -> Iterator[str]:
        """Headers of columns that hold figures, look like money and are not compared."""
        used = set(self.places.values())
        for at, cell in enumerate(self.header):
            if at in self._filled and at not in used and looks_like_money(plain_header(cell)[0]):
                yield cell

    def _cells(self, row: Sequence[str]) -> Cells:
        cells = {role: row[at].strip() for role, at in self.places.items() if at < len(row)}
        others = {
            plain_header(name)[0]: cell.strip()
            for name, cell in zip(self.header, row, strict=False)
        }
        others["quota_per_unit"] = self.reading.quota_per_unit
        return self.profile.adapt(cells, others)

    def _default_currency(self) -> str | None:
        """That of the amount's header, like 费用(元), else the profile's."""
        at = self.places.get("amount")
        unit = plain_header(self.header[at])[1] if at is not None else ""
        return (currency_meant(unit) or None) if unit else self.profile.currency

    def _number(self, text: str, role: str) -> Decimal | None:
        if not self.reading.has_commas and "," in text and "." not in text:
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


def _is_total(cells: Cells) -> bool:
    """Whether a row says that it is one of totals, or has neither a day nor a model."""
    words = [cells.get("date", ""), cells.get("model", "")]
    return not any(words) or any(word.rstrip(" :：").lower() in _TOTALS for word in words)


def _category(model: str) -> str:
    """What a line is that names no model but a credit; empty for usage."""
    lowered = model.lower()
    return next((word for word in _CREDIT_WORDS if word in lowered), "")
