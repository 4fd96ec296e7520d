"""A table on a terminal: 100 columns at most, widths as East Asian text has them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100
_GAP = 2
_LEAST_TEXT = 8  # columns that a text may be folded to


def stdout_console() -> Console:
    """A console on stdout; plain text where that is no terminal (NO_COLOR is rich's own)."""
    columns = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    return Console(
        width=min(columns, WIDTH) if columns else WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[int] = (),
    folded: Iterable[int] = (),
    title: str | None = None,
) -> None:
    """Columns by their places: those `folded` hold text that may take several lines, all others
    are whole however narrow the terminal is, for a figure that is cut is a wrong one."""
    table = Table(title=title and Text(title), title_justify="left", title_style="bold", box=None)
    table.pad_edge = False
    lines = list(rows)
    to_the_right, may_fold = set(right), set(folded)
    least = 0
    for place, heading in enumerate(headings):
        width = max(cell_len(text) for text in (heading, *(line[place] for line in lines)))
        width = min(width, _LEAST_TEXT) if place in may_fold else width
        least += width + _GAP
        table.add_column(
            heading,
            justify="right" if place in to_the_right else "left",
            overflow="fold",
            no_wrap=place not in may_fold,
            min_width=width,
        )
    for line in lines:
        table.add_row(*map(Text, line))
    if least > console.width:
        table.width = least
    console.print(table, crop=False)
