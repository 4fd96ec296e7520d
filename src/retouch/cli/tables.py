"""A review as tables on a terminal: 100 columns at most, widths as East Asian text has them."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from retouch.cli.screen import stdout_console
from retouch.report.formats import heading, is_number, sections, shown
from retouch.report.rows import Plain, Review, Value

SHOWN_ROWS = 20
_TOTALS = ("currency", "confirmed", "unknown_high", "unpriced_jobs", "jobs", "images")
_TOKENS = ("input_tokens", "output_tokens", "total_tokens")
_ROWS = ("currency", "confirmed", "unknown_high", "jobs", "images", "cost_per_kept", "total_tokens")
_EXAMPLE = ("kind", "cost", "source", "prompt", "key")
_NAMES = {
    "unknown_high": "unknown up to",
    "unpriced_jobs": "unpriced",
    "cost_per_kept": "per kept",
    "input_tokens": "in tokens",
    "output_tokens": "out tokens",
    "total_tokens": "tokens",
}


def print_review(review: Review) -> None:
    """Every section that has rows; of long ones the dearest."""
    console = stdout_console()
    if review.is_virtual:
        console.print("Costs are virtual: this was a rehearsal, nobody was paid.")
    for note in review.notes:
        console.print(Text(note))
    if not review.totals:
        console.print("nothing was sent yet")
    for title, rows in sections(review):
        if _is_one_row_of_no_use(title, rows):
            continue
        console.print()
        console.print(_table(title, rows))
        if len(rows) > SHOWN_ROWS:
            console.print(f"... {len(rows) - SHOWN_ROWS:,} more: --format csv has them all")
    counts = review.counts
    console.print()
    parts = [f"{counts['kept']:,} pictures kept", f"{counts['retries']:,} further attempts"]
    parts += [f"{counts['reused']:,} jobs reused (free)"] if counts["reused"] else []
    console.print(", ".join(parts))


def _is_one_row_of_no_use(title: str, rows: list[Plain]) -> bool:
    """A breakdown that breaks nothing down."""
    return title in ("By run", "By label") and len(rows) < 2


def _table(title: str, rows: list[Plain]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None)
    table.pad_edge = False
    names = _columns(title, rows)
    for name in names:
        if is_number(name, rows):
            table.add_column(_NAMES.get(name, heading(name)), justify="right", no_wrap=True)
        else:
            table.add_column(heading(name), overflow="fold", ratio=None)
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*(Text(_cell(name, row[name])) for name in names))
    return table


def _columns(title: str, rows: list[Plain]) -> list[str]:
    """What fits a hundred columns; zeros all the way down are left out."""
    chosen: tuple[str, ...]
    if title == "Totals":
        chosen = (*_TOTALS, *_TOKENS)
    elif title.startswith("By "):
        chosen = (*title.removeprefix("By ").split(", "), *_ROWS)
    elif title == "Waste: which jobs":
        chosen = _EXAMPLE
    else:
        chosen = tuple(rows[0])
    optional = ("unpriced_jobs", "unknown_high", "unsent", "failed", "unknown")
    return [
        name
        for name in chosen
        if name not in optional or any(_is_something(row[name]) for row in rows)
    ]


def _is_something(value: Value) -> bool:
    return bool(value) and set(str(value)) != set("0.")


def _cell(name: str, value: Value) -> str:
    text = shown(name, value)
    return text[:12] if name == "key" else text
