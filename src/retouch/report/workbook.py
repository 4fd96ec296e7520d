"""A review or its charges as an Excel workbook (extra `bills`).

A spreadsheet's numbers hold 15 digits. Where an amount has more, its column has another beside it
with the amounts as text, in full. No text becomes a formula or a link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path

import xlsxwriter

from retouch.errors import StorageFailed
from retouch.report.rows import AMOUNTS, Plain, Review
from retouch.text import one_clean_line

MONEY = frozenset(
    (*AMOUNTS, "low", "high", "would_be", "previous confirmed", "previous unknown_high")
)
SHEET_ROWS = 1_048_575  # below the header: a sheet's own limit
DIGITS = 15  # significant ones of a double that Excel keeps
EXACT = " (exact)"
_CELL_CHARACTERS = 32_000
_NAME_CHARACTERS = 31


@dataclass(frozen=True, slots=True)
class Page:
    """One sheet: its name, its columns, and its rows, which are asked for twice."""

    name: str
    columns: Sequence[str]
    rows: Callable[[], Iterable[Plain]]


def pages_of(review: Review) -> list[Page]:
    """A sheet of totals, one a breakdown, and what was wasted and what failed where it was."""
    tables: list[tuple[str, list[Plain]]] = [
        ("Totals", review.totals),
        *((f"By {', '.join(grouping)}", rows) for grouping, rows in review.by.items()),
        ("Waste", review.waste),
        ("Failed attempts", review.failures),
        ("As another model", review.what_if),
        ("Notes", [{"note": note} for note in (review.about, *review.notes) if note]),
    ]
    return [Page(name, list(_flat(rows[0])), _again(rows)) for name, rows in tables if rows]


def _again(rows: list[Plain]) -> Callable[[], Iterable[Plain]]:
    return lambda: map(_flat, rows)


def _flat(row: Plain) -> Plain:
    """A row whose part `previous`, of another span, is columns of its own."""
    earlier = row.get("previous")
    if not isinstance(earlier, dict):
        return row
    rest = {name: value for name, value in row.items() if name != "previous"}
    return rest | {f"previous {name}": value for name, value in earlier.items()}


def write_workbook(pages: Iterable[Page], path: Path) -> None:
    """Write the sheets; a page with more rows than a sheet holds goes on in another. Raises
    StorageFailed."""
    ready = [(page, _columns(page)) for page in pages]  # a ledger that is damaged is known by now
    try:
        with path.open("wb") as file:
            book = xlsxwriter.Workbook(file, {"constant_memory": True})
            for page, columns in ready:
                rows, number = iter(page.rows()), 1
                first = next(rows, None)
                while first is not None or number == 1:
                    sheet = _Sheet(book, _name(page.name, number), columns)
                    sheet.write(chain(filter(None, [first]), islice(rows, SHEET_ROWS - 1)))
                    first, number = next(rows, None), number + 1
            book.close()
    except (OSError, xlsxwriter.exceptions.XlsxFileError) as error:
        raise StorageFailed(f"{path}: {getattr(error, 'strerror', None) or error}") from error


class _Sheet:
    """A sheet below its header line, which stays when it is scrolled."""

    def __init__(
        self, book: xlsxwriter.Workbook, name: str, columns: list[tuple[str, bool]]
    ) -> None:
        self._sheet = book.add_worksheet(name)
        self._columns = columns
        self._money = book.add_format({"num_format": "#,##0.00########"})
        bold = book.add_format({"bold": True})
        self._sheet.freeze_panes(1, 0)
        for at, (column, is_exact) in enumerate(columns):
            heading = column + (EXACT if is_exact else "")
            self._sheet.set_column(at, at, max(10, len(heading) + 2))
            self._sheet.write_string(0, at, heading, bold)

    def write(self, rows: Iterable[Plain]) -> None:
        for line, row in enumerate(rows, 1):
            for at, (column, is_exact) in enumerate(self._columns):
                value = row.get(column)
                if isinstance(value, int):
                    self._sheet.write_number(line, at, value)
                elif value is not None and column in MONEY and not is_exact:
                    self._sheet.write_number(line, at, float(value), self._money)
                elif value is not None:  # a string, whatever it looks like
                    self._sheet.write_string(line, at, one_clean_line(value, _CELL_CHARACTERS))


def _name(name: str, number: int) -> str:
    """A sheet's name: without what Excel forbids, and short enough."""
    end = f" {number}" if number > 1 else ""
    plain = "".join(" " if each in "[]:*?/\\'" else each for each in one_clean_line(name, 60))
    return plain[: _NAME_CHARACTERS - len(end)] + end


def _columns(page: Page) -> list[tuple[str, bool]]:
    """Each column, and after one with amounts of too many digits the same in full."""
    inexact = {
        name
        for row in page.rows()
        for name in MONEY & row.keys()
        if isinstance(value := row[name], str) and not is_held(value)
    }
    return [
        (name, is_exact)
        for name in page.columns
        for is_exact in ((False, True) if name in inexact else (False,))
    ]


def is_held(amount: str) -> bool:
    """Whether a spreadsheet's number is this amount to the last digit."""
    digits = amount.replace(".", "").lstrip("-0").rstrip("0")
    return len(digits) <= DIGITS and Decimal(f"{float(amount):.{DIGITS}g}") == Decimal(amount)
