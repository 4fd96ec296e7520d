"""A table on a terminal: 140 columns at most, widths as East Asian text has them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100
WIDEST = 140
_GAP = 2
_LEAST_TEXT = 8  # columns that a text may be folded to
_FAIR_TEXT = 20  # before it is folded further, less important columns go


def stdout_console() -> Console:
    """A console on stdout; plain text where that is no terminal (NO_COLOR is rich's own)."""
    is_told = sys.stdout.isatty() or "COLUMNS" in os.environ
    columns = shutil.get_terminal_size((WIDTH, 24)).columns if is_told else WIDTH
    return Console(
        width=min(columns, WIDEST) if columns else WIDTH,
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
    droppable: Iterable[int] = (),
    title: str | None = None,
) -> None:
    """Columns by their places: those `folded` hold text that may take several lines, all others
    are whole however narrow the terminal is, for a figure that is cut is a wrong one. Where there
    is no room for all, `droppable` ones go, the first of them first."""
    table = Table(title=title and Text(title), title_justify="left", title_style="bold", box=None)
    table.pad_edge = False
    lines = list(rows)
    to_the_right, may_fold = set(right), set(folded)
    widths = [
        max(cell_len(text) for text in (heading, *(line[place] for line in lines)))
        for place, heading in enumerate(headings)
    ]
    fair = {
        place: (min(width, _FAIR_TEXT) if place in may_fold else width) + _GAP
        for place, width in enumerate(widths)
    }
    for place in droppable:
        if sum(fair.values()) - _GAP > console.width:
            del fair[place]
    least = 0
    for place in fair:
        heading = headings[place]
        width = min(widths[place], _LEAST_TEXT) if place in may_fold else widths[place]
        least += width + _GAP
        table.add_column(
            heading,
            justify="right" if place in to_the_right else "left",
            overflow="fold",
            no_wrap=place not in may_fold,
            min_width=width,
        )
    for line in lines:
        table.add_row(*(Text(line[place]) for place in fair))
    if least > console.width:
        table.width = least
    console.print(table, crop=False)
