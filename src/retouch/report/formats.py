"""A review as text: CSV for programs and spreadsheets, Markdown for people.

Text in it came from file names, prompts and servers: CSV cells cannot become formulas, Markdown
keeps to its cell. The HTML page is made by `page`.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Sequence

from retouch.report.rows import Plain, Review, Value
from retouch.report.sheets import Sheet, foot, heads, sheets
from retouch.text import one_clean_line

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%", "＝", "＋", "－", "＠")


def csv_of(names: Sequence[str], rows: Iterable[Plain]) -> str:
    """Rows below a header line; UTF-8 text, lines end as RFC 4180 has it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([safe_cell(row[name]) for name in names])
    return out.getvalue()


def safe_cell(value: Value) -> Value:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    text = one_clean_line(value, 10_000)
    return f"'{text}" if value.startswith(_FORMULA) or text.startswith(_FORMULA) else text


def markdown_of(review: Review) -> str:
    """The whole review as Markdown tables."""
    parts = ["# Cost review", *map(_markdown_cell, heads(review))]
    for sheet in sheets(review):
        parts += [f"## {sheet.title}", _markdown_table(sheet)]
    return "\n\n".join([*parts, foot(review)]) + "\n"


def _markdown_table(sheet: Sheet) -> str:
    aligned = ("---:" if sheet.is_number(name) else "---" for name in sheet.names)
    lines = [_markdown_line(sheet.headings), _markdown_line(aligned)]
    lines += [_markdown_line(map(_markdown_cell, cells)) for cells in sheet.cells]
    return "\n".join(lines)


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(text: str) -> str:
    escaped = html.escape(text, quote=False)
    for character in "\\`*_[]|":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
