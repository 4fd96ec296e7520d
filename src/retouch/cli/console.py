"""A table on a terminal: 140 columns at most, widths as East Asian text has them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100
WIDEST = 140
_GAP = 2
_LEAST_TEXT = 8  # columns that a text may be folded to
_FAIR_TEXT = 20  # before it is folded further, less important columns go
_LONG_WORD = 28  # columns of a text that is one word: longer ones are cut
_NEVER_FIRST = " /-_、。，．：；！？）］｝〉》」』】…—～,.:;!?)]}"  # never begin a line


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
    lines = [tuple(row) for row in rows]
    may_fold, to_the_right = set(folded), set(right)
    columns = [(heading, *(line[at] for line in lines)) for at, heading in enumerate(headings)]
    widths = _widths(columns, may_fold, droppable, console.width)
    table = Table(title=title and Text(title), title_justify="left", title_style="bold", box=None)
    table.pad_edge = False
    for place, width in widths.items():
        table.add_column(
            headings[place],
            justify="right" if place in to_the_right else "left",
            overflow="fold",
            no_wrap=True,
            min_width=width,
        )
    for line in lines:
        cells = (
            "\n".join(wrapped(line[place], width)) if place in may_fold else line[place]
            for place, width in widths.items()
        )
        table.add_row(*map(Text, cells))
    if _taken(widths) > console.width:
        table.width = _taken(widths)
    console.print(table, crop=False)


def _widths(
    columns: Sequence[Sequence[str]], may_fold: set[int], droppable: Iterable[int], room: int
) -> dict[int, int]:
    """The columns that are shown, by place, each with its width."""
    natural = {place: max(map(cell_len, column)) for place, column in enumerate(columns)}
    fair = {
        place: min(width, max(_FAIR_TEXT, _least(columns[place]))) if place in may_fold else width
        for place, width in natural.items()
    }
    for place in droppable:
        if _taken(fair) > room:
            del fair[place]
    narrow = [place for place in fair if place in may_fold]
    while narrow and _taken(fair) > room:  # the widest text gives way, column by column
        widest = max(narrow, key=fair.__getitem__)
        if fair[widest] <= _LEAST_TEXT:
            break
        fair[widest] -= 1
    while wanting := [place for place in narrow if fair[place] < natural[place]]:
        if _taken(fair) >= room:
            break
        fair[min(wanting, key=fair.__getitem__)] += 1
    return fair


def _taken(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _least(column: Sequence[str]) -> int:
    """The columns that no word of a text is broken in; of long words, so many as are fair."""
    return min(_LONG_WORD, max(cell_len(word) for text in column for word in _words(text) or [""]))


def wrapped(text: str, width: int) -> list[str]:
    """`text` as lines of at most `width` columns, broken after a blank or a slash and between
    wide characters; inside a word only where it has no room in a line of its own, and there
    after a hyphen, a dot or an underscore if it has one."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines.append("")
        for word in _words(paragraph):
            for piece in [word] if cell_len(word.rstrip()) <= width else _pieces(word, width):
                if cell_len(lines[-1] + piece.rstrip()) > width and lines[-1]:
                    lines.append("")
                lines[-1] += piece
    return [line.rstrip() for line in lines]


def _words(text: str) -> list[str]:
    """What a line is put together from: each with the blank or slash that ends it."""
    words = [""]
    for one in text:
        width, ended = cell_len(one), words[-1][-1:]
        breaks = (width > 1 or ended == "/" or cell_len(ended) > 1) and one not in _NEVER_FIRST
        if words[-1] and width and (breaks or (ended == " " and one != " ")):
            words.append("")
        words[-1] += one
    return [word for word in words if word]


def _pieces(word: str, width: int) -> list[str]:
    """A word that is wider than a line, cut where it hurts least."""
    pieces = [""]
    for part in re.findall(r"[^-_.]*[-_.]+|[^-_.]+", word):
        if pieces[-1] and cell_len(pieces[-1] + part.rstrip()) > width:
            pieces.append("")
        for one in part:
            if pieces[-1] and cell_len(pieces[-1] + one) > width and one != " ":
                pieces.append("")
            pieces[-1] += one
    return pieces
