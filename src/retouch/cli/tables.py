"""A review as tables on a terminal: 100 columns at most, widths as East Asian text has them."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from retouch.cli.screen import stdout_console
from retouch.report.rows import Review
from retouch.report.sheets import Sheet, foot, heads, sheets

SHOWN_ROWS = 20
_KEY_DIGITS = 12


def print_review(review: Review) -> None:
    """Every section that has rows; of long ones the dearest."""
    console = stdout_console()
    for line in heads(review):
        console.print(Text(line))
    for sheet in sheets(review):
        console.print()
        console.print(_table(sheet))
        hidden = len(sheet.rows) - SHOWN_ROWS
        if hidden > 0:
            console.print(f"... {hidden:,} more: {sheet.complete}")
    console.print()
    console.print(foot(review))


def _table(sheet: Sheet) -> Table:
    table = Table(title=Text(sheet.title), title_justify="left", title_style="bold", box=None)
    table.pad_edge = False
    chosen = [index for index, name in enumerate(sheet.names) if _has_room(sheet, name)]
    for index in chosen:
        if sheet.is_number(sheet.names[index]):
            table.add_column(sheet.headings[index], justify="right", no_wrap=True)
        else:
            table.add_column(sheet.headings[index], overflow="fold")
    for cells in sheet.cells[:SHOWN_ROWS]:
        table.add_row(*(Text(_cut(sheet.names[index], cells[index])) for index in chosen))
    return table


def _has_room(sheet: Sheet, name: str) -> bool:
    """Breakdowns have many columns: their shares are for the page."""
    return name != "share" or not sheet.title.startswith("By ")


def _cut(name: str, text: str) -> str:
    return text[:_KEY_DIGITS] if name == "key" else text
