"""Reviews and reconciliations on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice

from rich.console import Console
from rich.text import Text

from retouch.cli.console import print_table, stdout_console
from retouch.dialects.bill import Bill
from retouch.job import KEY_DIGITS
from retouch.money import exact
from retouch.reconcile.differences import Difference, Reconciliation
from retouch.report.rows import Plain, Review
from retouch.report.sheets import NO_PRICE, VIRTUAL, Sheet, foot, heads, places_of, sheets
from retouch.text import how_many, one_clean_line

AGREEING_SHOWN = 8  # rows that agree: more are counted
SUSPECTS_SHOWN = 20  # requests and lines of the bill that nobody can explain


SHOWN_ROWS = 20
_WHOLE = ("currency", "model", "key", "kind", "day", "week", "month", "run", "provider")
_LEAST_FIRST = (
    "share", "output_tokens", "input_tokens", "total_tokens", "pictures", "jobs", "cost_per_kept",
    "unpriced_jobs", "prompt", "amount_high", "kept",
)  # fmt: skip
SHOWN_CHARGES = 100


def print_review(review: Review) -> None:
    """Every section that has rows; of long ones the dearest."""
    console = stdout_console()
    for line in heads(review):
        console.print(Text(line))
    for sheet in sheets(review):
        console.print()
        _print_sheet(console, sheet)
        hidden = sheet.count - min(len(sheet.rows), SHOWN_ROWS)
        if hidden > 0:
            console.print(f"... {hidden:,} more: {sheet.complete}")
    console.print()
    console.print(foot(review))


def print_charges(rows: Iterable[Plain]) -> None:
    """A row a charge; of many the first, for the rest there are csv and jsonl."""
    console = stdout_console()
    kept = list(islice(rows, SHOWN_CHARGES + 1))
    names = ["key", "at", "model", "source", "charge", "currency", "amount", "waste"]
    if not any(row["waste"] for row in kept):
        names.remove("waste")
    shown_rows = [[_charge_cell(row, name) for name in names] for row in kept[:SHOWN_CHARGES]]
    least_first = [each for each in ("charge", "currency", "at", "waste", "model") if each in names]
    if len({row["currency"] for row in kept}) > 1:
        least_first.remove("currency")  # an amount without a currency is not counted
    print_table(
        console,
        names,
        shown_rows,
        right=(names.index("amount"),),
        folded=[names.index(each) for each in ("source", "waste") if each in names],
        droppable=map(names.index, least_first),
    )
    if len(kept) > SHOWN_CHARGES:
        console.print("... more: --format csv or jsonl has them all")


def _charge_cell(row: Plain, name: str) -> str:
    """What a row a charge shows; of an unknown amount the most it may be."""
    if name == "at":
        return str(row["at"])[:19].replace("T", " ")
    if name == "amount" and row["amount"] is None and row["high"] is not None:
        low = Decimal(str(row["low"] or 0))
        return f"{row['low']}-{row['high']}" if low else f"≤{row['high']}"
    return _cut(name, one_clean_line(str(row[name] or "-"), 200))


def _print_sheet(console: Console, sheet: Sheet) -> None:
    names = sheet.names
    is_number = [sheet.is_number(name) for name in names]
    rows = [list(map(_cut, names, cells)) for cells in sheet.cells[:SHOWN_ROWS]]
    print_table(
        console,
        sheet.headings,
        rows,
        right=[place for place, number in enumerate(is_number) if number],
        folded=[
            place for place, name in enumerate(names) if not is_number[place] and name not in _WHOLE
        ],
        droppable=[names.index(name) for name in _LEAST_FIRST if name in names],
        title=sheet.title,
    )


def _cut(name: str, text: str) -> str:
    return text[:KEY_DIGITS] if name == "key" else text


def print_reconciliation(found: Reconciliation, bill: Bill, *, is_virtual: bool) -> None:
    """Both sides by day and model, their totals first, the requests in question, the verdict.

    Rows that agree are folded to a count; lines that are no usage stand for themselves.
    """
    console = stdout_console()
    if is_virtual:
        console.print(VIRTUAL)
    if not found.differences:
        console.print("nothing to compare: neither side has anything of these days")
        return
    _print_differences(console, found)
    suspects = list(
        dict.fromkeys(
            f"{row.day} {row.model}: {each.text}"
            for row in found.unexplained
            for each in row.suspects
        )
    )
    for line in suspects[:SUSPECTS_SHOWN]:
        console.print(Text(one_clean_line(line)), soft_wrap=True)
    if len(suspects) > SUSPECTS_SHOWN:
        console.print(f"... {len(suspects) - SUSPECTS_SHOWN:,} more, not shown (--json has all)")
    _print_beside(console, found, bill)
    console.print(_verdict(found))


def _print_differences(console: Console, found: Reconciliation) -> None:
    """Both sides by day and model, those that agree folded where there are many."""
    sums = [row for row in found.totals if row.currency or row.measure != "amount"]
    totals = sums if len(found.differences) > len(found.totals) else []
    headings: tuple[str, ...] = ("day", "model", "in", "ours", "theirs", "apart", "")
    told = [row for row in found.differences if not _agrees(row)]
    folded = len(found.differences) - len(told)
    if folded <= AGREEING_SHOWN:
        told, folded = list(found.differences), 0
    rows = list(_differences(told, totals))
    units = {row[2] for row in rows}
    if len(units) == 1:  # said once, above
        headings, rows = _without(headings, 2), [_without(row, 2) for row in rows]
    last = len(headings) - 1
    print_table(
        console,
        headings,
        rows,
        right=(last - 3, last - 2, last - 1),
        folded=(last,),
        title=f"in {units.pop()}" if len(units) == 1 else None,
    )
    if folded:
        console.print(f"{how_many(folded, 'row')} that agree, not shown (--json has all)")


def _print_beside(console: Console, found: Reconciliation, bill: Bill) -> None:
    """What the bill has that no request of ours answers to."""
    for other in found.others:
        amount = other.measures.get("amount")
        said = "no amount" if amount is None else f"{exact(amount)} {other.currency or ''}".strip()
        console.print(Text(one_clean_line(f"no usage: {other.category} {said} ({other.day})")))
    if bill.unused_money:
        names = ", ".join(one_clean_line(each, 40) for each in bill.unused_money)
        used = bill.columns.get("amount")
        compared = f"compared was {one_clean_line(used, 40)}; " if used else ""
        console.print(Text(f"{compared}columns of money that are not used: {names}"))


def _without(cells: tuple[str, ...], place: int) -> tuple[str, ...]:
    return (*cells[:place], *cells[place + 1 :])


def _agrees(row: Difference) -> bool:
    """Whether nothing need be said of a row."""
    return not row.gap and not row.unpriced and not row.by_midnight


def _verdict(found: Reconciliation) -> str:
    """How much is left to ask, in one line."""
    count = sum(bool(row.unexplained) for row in found.unexplained)
    priceless = len(found.unexplained) - count
    if not found.money_compared:
        money = "money was not compared: no amount of the bill stands beside one of the ledger"
        return f"{money}; all else is explained" if not found.unexplained else money
    if not found.unexplained:
        return "everything is explained"
    said = [f"{count} difference{'s are' if count > 1 else ' is'} unexplained"] if count else []
    said += [f"{priceless} cannot be judged: requests without a price"] if priceless else []
    return ", ".join(said)


def _differences(
    rows: Sequence[Difference], totals: Sequence[Difference]
) -> Iterator[tuple[str, ...]]:
    every = (*totals, *rows)
    amounts = [row for row in every if row.measure == "amount"]
    places = places_of(each for row in amounts for each in (row.ours, row.theirs))
    for row in every:
        gap = row.theirs - row.ours
        yield (
            row.day,
            one_clean_line(row.model, 60),
            row.currency or _unit(row),
            "-" if row.unpriced and not row.ours else _number(row, row.ours, places),
            _number(row, row.theirs, places),
            _number(row, gap, places) if gap else "-",
            "" if row in totals else _remark(row, places),
        )


def _unit(row: Difference) -> str:
    return NO_PRICE if row.measure == "amount" and row.unpriced else row.measure


def _remark(row: Difference, places: int) -> str:
    unpriced = f"{row.unpriced:,} without a price" if row.unpriced else ""
    if row.unexplained:
        part = f": {_number(row, row.unexplained, places)}"
        rest = f"unexplained{part if row.unexplained != row.theirs - row.ours else ''}"
        return f"{rest}; {unpriced}" if unpriced else rest
    if unpriced:
        return unpriced
    if row.by_midnight:
        return "charged at midnight: on the day beside"
    if row.explained:
        return f"{row.doubts} unknown outcome{'s' if row.doubts > 1 else ''} may be this"
    return "agrees" if not row.gap and row.ours == row.theirs else "agrees (rounding)"


def _number(row: Difference, value: Decimal, places: int) -> str:
    """An amount to so many decimals; one that they would show as nothing is `<0.01`."""
    if row.measure != "amount":
        return f"{value:,}"
    least = Decimal(1).scaleb(-places)
    if 0 < abs(value) < least / 2:
        return f"{'-' if value < 0 else ''}<{least}"
    return f"{value:,.{places}f}"
