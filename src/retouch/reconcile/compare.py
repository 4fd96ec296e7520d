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
from datetime import date, timedelta
from decimal import Decimal, localcontext

from retouch.dialects.bill import Bill, Line, Measure
from retouch.money import EXACT, Money
from retouch.reconcile.differences import ZERO, Difference, Finding, Reconciliation, Suspect
from retouch.reconcile.matching import Left, is_itemised, offsets, unmatched
from retouch.reconcile.ours import Cell, Doubt, Ours, OwnCharge, ceilings

MIDNIGHT = timedelta(minutes=15)
NAMED = 5
SURE = 3  # requests that cannot be mistaken: enough to say by how much the clocks differ


def reconcile(ours: Ours, bill: Bill, currency: str | None) -> Reconciliation:
    """Compare; `currency` is that of a bill whose lines do not say theirs."""
    with localcontext(EXACT):
        cells = _cells(ours, bill)
        unit = _unit(bill.lines)
        offset = _offset(cells.values(), bill.measures, unit)
        terms = _Terms(bill.measures, currency, unit, offset)
        found: list[Difference] = []
        verdicts: list[Finding] = []
        for cell in sorted(cells):
            compared = _Comparison(cell, cells[cell], terms)
            rows = compared.differences()
            found += rows
            verdicts += compared.verdicts(rows)
        _forgive_midnight(found, ours.entries)
        return Reconciliation(tuple(found), tuple(verdicts))


@dataclass(slots=True)
class _Content:
    """What both sides hold of one cell."""

    entries: list[OwnCharge]
    lines: list[Line]
    doubts: list[Doubt]


def _cells(ours: Ours, bill: Bill) -> dict[Cell, _Content]:
    cells: dict[Cell, _Content] = defaultdict(lambda: _Content([], [], []))
    for entry in ours.entries:
        cells[entry.cell].entries.append(entry)
    for line in bill.lines:
        cells[line.day, line.model].lines.append(line)
    for doubt in ours.doubts:
        cells[doubt.cell].doubts.append(doubt)
    return cells


def _unit(lines: Iterable[Line]) -> Decimal:
    """The bill's last digit of amounts: at least cents."""
    places = 2
    for line in lines:
        exponent = line.measures.get("amount", ZERO).as_tuple().exponent
        places = max(places, -exponent if isinstance(exponent, int) else 0)
    return Decimal(1).scaleb(-places)


def _offset(
    contents: Iterable[_Content], measures: Sequence[Measure], unit: Decimal
) -> float | None:
    """Seconds by which our times are usually later than the bill's; None where too few say."""
    found = [
        each
        for content in contents
        if is_itemised(content.entries, content.lines)
        for each in offsets(content.entries, content.lines, measures, unit)
    ]
    return statistics.median(found) if len(found) >= SURE else None


@dataclass(frozen=True, slots=True)
class _Terms:
    """What all cells are compared by: the bill's measures, the currency of lines that do not say
    theirs, what amounts are rounded to, and by how many seconds our times are later."""

    measures: Sequence[Measure]
    currency: str | None
    unit: Decimal
    offset: float | None


class _Comparison:
    """One cell's two sides."""

    def __init__(self, cell: Cell, content: _Content, terms: _Terms) -> None:
        self.cell = cell
        self.content = content
        self.measures = terms.measures
        self.currency = terms.currency
        self.unit = terms.unit
        self.left = self._left(terms.offset)

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
            for currency in (self._currencies() if measure == "amount" else [None])
        ]
        for row in rows:
            if row.unexplained:
                row.suspects = tuple(self._suspects(rows))
        return rows

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
        if measure == "amount" and abs(gap) < self.unit:
            gap = ZERO
        row = Difference(*self.cell, measure, currency, *sums, gap, doubts=len(self.content.doubts))
        if measure == "amount":
            row.unpriced = sum("amount" not in e.measures for e in self.content.entries)
        if gap > 0 and self.content.doubts:
            row.explained = min(gap, self._reach(measure, currency))
        return row

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
    text = f"{word}{entry.source}, {entry.prompt}{cost}{task}, key {entry.key}"
    return Suspect(text, key=entry.key)


def _of_theirs(line: Line, word: str) -> Suspect:
    amount = line.measures.get("amount")
    currency = f" {line.currency}" if line.currency else ""
    cost = f", {amount}{currency}" if amount is not None else ""
    name = f", id {line.id}" if line.id else ""
    return Suspect(f"{word}not in the ledger: line {line.number}{cost}{name}", line=line.number)


def _forgive_midnight(rows: Sequence[Difference], entries: Sequence[OwnCharge]) -> None:
    """Opposite rests of two neighbouring days cancel where as much was charged at midnight."""
    near = _at_midnight(entries)
    by_place = {(row.day, row.model, row.measure, row.currency): row for row in rows}
    for row in rows:
        tomorrow = (date.fromisoformat(row.day) + timedelta(days=1)).isoformat()
        other = by_place.get((tomorrow, row.model, row.measure, row.currency))
        if not row.unexplained or other is None or other.unexplained != -row.unexplained:
            continue
        if near.get((tomorrow, row.model, row.measure), ZERO) >= abs(row.unexplained):
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
