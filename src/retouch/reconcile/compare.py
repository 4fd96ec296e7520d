"""A bill against ledgers, by day and model: what differs, what unknown outcomes explain of it,
and which requests the rest may be.

A bill above ours is explained as far as the cell's unknown Attempts reach; a bill below ours
never is. What was charged within minutes of midnight may stand on the neighbouring day.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext

from retouch.dialects.bill import Bill, Line, Measure
from retouch.job import KEY_DIGITS
from retouch.money import EXACT, Money
from retouch.reconcile.differences import ZERO, Difference, Finding, Reconciliation, Suspect
from retouch.reconcile.matching import Left, is_itemised, offsets, unmatched
from retouch.reconcile.ours import Cell, Doubt, Ours, OwnCharge, ceilings

MIDNIGHT = timedelta(minutes=15)
NAMED = 5
SURE = 3  # requests that cannot be mistaken: enough to say by how much the clocks differ


@dataclass(frozen=True, slots=True)
class Whole:
    """Which days a bill can settle: those that were over by `margin` at `as_of`, when the bill
    was made. `zone` is the bill's."""

    as_of: datetime
    zone: timezone = UTC
    margin: timedelta = timedelta(hours=6)

    def holds(self, day: str) -> bool:
        """Whether a day (or a month) was over."""
        first = date.fromisoformat(f"{day}-01" if _is_month(day) else day)
        after = first + timedelta(days=32 if _is_month(day) else 1)
        after = after.replace(day=1) if _is_month(day) else after
        end = datetime(after.year, after.month, after.day, tzinfo=self.zone)
        return end + self.margin <= self.as_of


def reconcile(
    ours: Ours, bill: Bill, currency: str | None, whole: Whole | None = None
) -> Reconciliation:
    """Compare; `currency` is that of a bill whose lines do not say theirs. Of the unknown only
    what began on days that are `whole` is decided (None: on any)."""
    with localcontext(EXACT):
        cells = _cells(ours, bill)
        unit = _unit(bill.lines)
        offset = _offset(cells.values(), bill, unit)
        terms = _Terms(bill.measures, currency, unit, offset, bill.is_itemised)
        found: list[Difference] = []
        decided: list[tuple[Cell, list[Finding]]] = []
        for cell in sorted(cells):
            compared = _Comparison(cell, cells[cell], terms)
            rows = compared.differences()
            found += rows
            decided.append((cell, list(compared.verdicts(rows))))
        _forgive_midnight(found, ours.entries, unit)
        in_doubt = _unexplained_around(found)
        verdicts = [
            verdict
            for cell, verdicts_here in decided
            for verdict in verdicts_here
            if cell not in in_doubt and (whole is None or whole.holds(cell[0]))
        ]
        others = tuple(line for line in bill.lines if line.category)
        return Reconciliation(tuple(found), tuple(verdicts), others)


def _is_month(day: str) -> bool:
    return len(day) == len("2026-10")


def _unexplained_around(rows: Iterable[Difference]) -> set[Cell]:
    """Cells of which a row, or one of that model on a neighbouring day, is unexplained."""
    found: set[Cell] = set()
    for row in rows:
        if not row.is_settled:
            found.add((row.day, row.model))
            if not _is_month(row.day):
                at = date.fromisoformat(row.day)
                found |= {((at + timedelta(days=step)).isoformat(), row.model) for step in (-1, 1)}
    return found


@dataclass(slots=True)
class _Content:
    """What both sides hold of one cell."""

    entries: list[OwnCharge]
    lines: list[Line]
    doubts: list[Doubt]


def _cells(ours: Ours, bill: Bill) -> dict[Cell, _Content]:
    """By day and model; by month where any line says a month alone. What is no usage is left."""
    cells: dict[Cell, _Content] = defaultdict(lambda: _Content([], [], []))
    usage = [line for line in bill.lines if not line.category]
    length = len("2026-10") if any(_is_month(line.day) for line in usage) else None
    for entry in ours.entries:
        cells[entry.cell[0][:length], entry.model].entries.append(entry)
    for line in usage:
        cells[line.day[:length], line.model].lines.append(line)
    for doubt in ours.doubts:
        cells[doubt.day[:length], doubt.attempt.model].doubts.append(doubt)
    return cells


def _unit(lines: Iterable[Line]) -> Decimal:
    """The bill's last digit of amounts: at least cents."""
    places = 2
    for line in lines:
        exponent = line.measures.get("amount", ZERO).as_tuple().exponent
        places = max(places, -exponent if isinstance(exponent, int) else 0)
    return Decimal(1).scaleb(-places)


def _offset(contents: Iterable[_Content], bill: Bill, unit: Decimal) -> float | None:
    """Seconds by which our times are usually later than the bill's; None where too few say."""
    found = [
        each
        for content in contents
        if bill.is_itemised is not False and is_itemised(content.entries, content.lines)
        for each in offsets(content.entries, content.lines, bill.measures, unit)
    ]
    return statistics.median(found) if len(found) >= SURE else None


@dataclass(frozen=True, slots=True)
class _Terms:
    """What all cells are compared by: the bill's measures, the currency of lines that do not say
    theirs, what amounts are rounded to, by how many seconds our times are later, and whether a
    line is a request (None: not known)."""

    measures: Sequence[Measure]
    currency: str | None
    unit: Decimal
    offset: float | None
    is_itemised: bool | None = None


class _Comparison:
    """One cell's two sides."""

    def __init__(self, cell: Cell, content: _Content, terms: _Terms) -> None:
        self.cell = cell
        self.content = content
        self.measures = terms.measures
        self.currency = terms.currency
        self.unit = terms.unit
        self.left = self._left(terms.offset) if terms.is_itemised is not False else None

    def _left(self, offset: float | None) -> Left | None:
        """What line by line is left over; None where the bill's lines are sums."""
        entries, lines = self.content.entries, self.content.lines
        if not is_itemised(entries, lines):
            return None
        left = unmatched(entries, lines, self.measures, self.unit, offset)
        are_few = 2 * (len(left.ours) + len(left.theirs)) <= len(entries) + len(lines)
        return left if are_few else None

    def differences(self) -> list[Difference]:
        """A row a measure (amounts: a currency too)."""
        rows = [
            self._difference(measure, currency)
            for measure in self.measures
            if self._is_stated(measure)
            for currency in (self._currencies() if measure == "amount" else [None])
        ]
        for row in rows:
            if row.unexplained:
                row.suspects = tuple(self._suspects(rows))
        return rows

    def _is_stated(self, measure: Measure) -> bool:
        """Whether the bill says anything of a measure here: an empty cell is no zero."""
        lines = self.content.lines
        return not lines or all(measure in line.measures for line in lines)

    def _currencies(self) -> list[str | None]:
        lines = {line.currency or self.currency for line in self.content.lines}
        entries = {each.currency for each in self.content.entries if each.currency}
        return sorted(lines | entries, key=str) or [self.currency]

    def _difference(self, measure: Measure, currency: str | None) -> Difference:
        ours = [e for e in self.content.entries if measure != "amount" or e.currency == currency]
        theirs = [
            line
            for line in self.content.lines
            if measure != "amount" or (line.currency or self.currency) == currency
        ]
        sums = _sum(ours, measure), _sum(theirs, measure)
        if self.left is None:
            gap = sums[1] - sums[0]
        else:
            gap = _sum(self.left.theirs, measure) - _sum(self.left.ours, measure)
        rounding = ZERO
        if measure == "amount" and abs(gap) <= self._rounded_off(theirs):
            gap, rounding = ZERO, gap
        doubts = len(self.content.doubts)
        row = Difference(
            *self.cell, measure, currency, *sums, gap, doubts=doubts, rounding=rounding
        )
        if measure == "amount":
            row.unpriced = sum("amount" not in e.measures for e in self.content.entries)
        if gap > 0 and self.content.doubts:
            row.explained = min(gap, self._reach(measure, currency))
        return row

    def _rounded_off(self, theirs: Sequence[Line]) -> Decimal:
        """What the bill's digits may leave out: half a unit a row of it that was summed."""
        return self.unit / 2 * max(1, sum(line.rows for line in theirs))

    def _reach(self, measure: Measure, currency: str | None) -> Decimal:
        """How much the cell's unknown Attempts may account for."""
        doubts = self.content.doubts
        match measure:
            case "amount":
                return sum((each.amount for each in ceilings(doubts, currency)), ZERO)
            case "requests":
                return Decimal(len(doubts))
            case "images":
                return Decimal(
                    sum(each.attempt.terms.n if each.attempt.terms else 1 for each in doubts)
                )
        most = max((e.measures.get(measure, ZERO) for e in self.content.entries), default=ZERO)
        return 2 * most * len(doubts) if most else Decimal("Infinity")

    def _suspects(self, rows: Sequence[Difference]) -> Iterable[Suspect]:
        """Requests that the unexplained may be."""
        entries, lines = self.content.entries, self.content.lines
        if not entries or not lines:
            yield from self._one_sided()
            return
        if self.left is not None:
            word = "" if self.left.is_exact else "one like "
            yield from (_of_ours(e, f"{word}not on the bill: ") for e in self.left.ours[:NAMED])
            yield from (_of_theirs(each, word) for each in self.left.theirs[:NAMED])
            return
        rests = {row.measure: row.unexplained for row in rows if row.unexplained}
        alike = [
            entry
            for entry in entries
            if all(entry.measures.get(name) == abs(rest) for name, rest in rests.items())
        ]
        is_ours = all(rest < 0 for rest in rests.values())
        one_of = f"1 of {len(alike)} " if len(alike) > 1 else ""
        word = f"{one_of}not on the bill: " if is_ours else f"{one_of}billed once more: "
        if alike:
            yield from (_of_ours(entry, word) for entry in alike[:NAMED])
        elif not is_ours:
            numbers = [line.number for line in lines if line.number][:NAMED]
            for number in numbers:
                yield Suspect(f"more than the ledger on line {number} of the bill", line=number)

    def _one_sided(self) -> Iterable[Suspect]:
        """All requests of a cell that the other side knows nothing of; many are counted."""
        entries, lines = self.content.entries, self.content.lines
        if len(entries) > NAMED:
            yield Suspect(f"not on the bill at all: {len(entries):,} requests")
        elif len(lines) > NAMED:
            where = f", from line {lines[0].number}" if lines[0].number else ""
            yield Suspect(f"not in the ledger at all: {len(lines):,} lines{where}")
        else:
            yield from (_of_ours(each, "not on the bill: ") for each in entries)
            yield from (_of_theirs(each, "") for each in lines)

    def verdicts(self, rows: Sequence[Difference]) -> Iterable[Finding]:
        """What the bill decides about the cell's unknown Attempts: nothing where it is in doubt.

        Tasks on file are left alone: the next run asks for them, and their pictures are kept.
        """
        doubts = self.content.doubts
        if (
            not doubts
            or any(doubt.attempt.task for doubt in doubts)
            or not self.content.lines
            or not all(row.is_settled for row in rows)
        ):
            return
        if not any(row.gap for row in rows):
            yield from (Finding(doubt, None) for doubt in doubts)
            return
        gaps = [row for row in rows if row.measure == "amount" and row.gap]
        if len(gaps) != 1:
            return
        gap = Money(gaps[0].gap, gaps[0].currency or "")
        if len(doubts) == 1:
            yield Finding(doubts[0], gap)
            return
        amounts = [each.amount for each in ceilings(doubts, gap.currency)]
        if amounts == [gap.amount / len(doubts)] * len(doubts):  # each at its whole ceiling
            yield from (Finding(doubt, doubt.attempt.ceiling) for doubt in doubts)


def _sum(sides: Iterable[OwnCharge] | Iterable[Line], measure: Measure) -> Decimal:
    return sum((side.measures.get(measure, ZERO) for side in sides), ZERO)


def _of_ours(entry: OwnCharge, word: str) -> Suspect:
    amount = entry.measures.get("amount")
    cost = f", {amount} {entry.currency}" if amount is not None else ""
    task = f", task {entry.task}" if entry.task else ""
    text = f"{word}{entry.source}, {entry.prompt}{cost}{task}, key {entry.key[:KEY_DIGITS]}"
    return Suspect(text, key=entry.key)


def _of_theirs(line: Line, word: str) -> Suspect:
    amount = line.measures.get("amount")
    currency = f" {line.currency}" if line.currency else ""
    cost = f", {amount}{currency}" if amount is not None else ""
    name = f", id {line.id}" if line.id else ""
    return Suspect(f"{word}not in the ledger: line {line.number}{cost}{name}", line=line.number)


def _forgive_midnight(
    rows: Sequence[Difference], entries: Sequence[OwnCharge], unit: Decimal
) -> None:
    """Opposite rests of two neighbouring days cancel where as much was charged at midnight; of
    amounts, to what two roundings may differ by."""
    near = _at_midnight(entries)
    by_place = {(row.day, row.model, row.measure, row.currency): row for row in rows}
    for row in rows:
        if _is_month(row.day):
            continue
        blur = unit if row.measure == "amount" else ZERO
        tomorrow = (date.fromisoformat(row.day) + timedelta(days=1)).isoformat()
        other = by_place.get((tomorrow, row.model, row.measure, row.currency))
        if not row.unexplained or other is None or not other.unexplained:
            continue
        if abs(row.unexplained + other.unexplained) > blur:
            continue
        if near.get((tomorrow, row.model, row.measure), ZERO) + blur >= abs(row.unexplained):
            for each in (row, other):
                each.explained, each.by_midnight, each.suspects = each.gap, True, ()


def _at_midnight(entries: Sequence[OwnCharge]) -> Mapping[tuple[str, str, Measure], Decimal]:
    """What was charged close to the midnight that begins a day, by day, model and measure."""
    sums: dict[tuple[str, str, Measure], Decimal] = defaultdict(lambda: ZERO)
    for entry in entries:
        later = (entry.at + MIDNIGHT).date()
        if later != (entry.at - MIDNIGHT).date():
            for measure, value in entry.measures.items():
                sums[later.isoformat(), entry.model, measure] += value
    return sums
