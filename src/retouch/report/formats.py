"""A review as text for other programs and pages: CSV, Markdown, HTML.

Text in it came from file names, prompts and servers: CSV cells cannot become formulas, HTML is
escaped and loads nothing, Markdown keeps to its cell.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

from retouch.money import shown as shown_amount
from retouch.report.rows import Plain, Review, Value
from retouch.text import one_clean_line

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%", "＝", "＋", "－", "＠")
AMOUNTS = ("confirmed", "unknown_low", "unknown_high", "cost_per_kept", "cost")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;
color:#1c1c1c;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}td:not(.n){min-width:8rem;overflow-wrap:break-word}
.virtual{background:#fff3cd;padding:.5rem .8rem;border-radius:.3rem}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th,td{border-color:#444}
.virtual{background:#4d3f00}}
"""


def csv_of(rows: Sequence[Plain]) -> str:
    """Rows with a header line; UTF-8 text, lines end as RFC 4180 has it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    if rows:
        writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_safe_cell(value) for value in row.values()])
    return out.getvalue()


def _safe_cell(value: Value) -> Value:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    text = one_clean_line(value, 10_000)
    return f"'{text}" if value.startswith(_FORMULA) or text.startswith(_FORMULA) else text


def markdown_of(review: Review) -> str:
    """The whole review as Markdown tables."""
    parts = ["# Cost review", *_said(review)]
    for title, rows in sections(review):
        parts += [f"## {title}", _markdown_table(rows)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: Sequence[Plain]) -> str:
    names = list(rows[0])
    aligned = ("---:" if is_number(name, rows) else "---" for name in names)
    lines = [_markdown_line(map(heading, names)), _markdown_line(aligned)]
    lines += [
        _markdown_line(_markdown_cell(shown(name, row[name])) for name in names) for row in rows
    ]
    return "\n".join(lines)


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(text: str) -> str:
    escaped = html.escape(text, quote=False)
    for character in "\\`*_[]|":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def html_of(review: Review) -> str:
    """The whole review as one page that needs nothing else."""
    body = ["<h1>Cost review</h1>"]
    css = ' class="virtual"' if review.is_virtual else ""
    body += [f"<p{css}>{html.escape(text)}</p>" for text in _said(review)]
    for title, rows in sections(review):
        body += [f"<h2>{html.escape(title)}</h2>", _html_table(rows)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Cost review</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _html_table(rows: Sequence[Plain]) -> str:
    names = list(rows[0])
    css = {name: ' class="n"' if is_number(name, rows) else "" for name in names}
    head = "".join(f"<th{css[name]}>{html.escape(heading(name))}</th>" for name in names)
    lines = [
        "<tr>"
        + "".join(f"<td{css[name]}>{html.escape(shown(name, row[name]))}</td>" for name in names)
        + "</tr>"
        for row in rows
    ]
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines)
    return f'<div class="scroll">{table}\n</tbody></table></div>'


def sections(review: Review) -> list[tuple[str, list[Plain]]]:
    """Titled tables, in the order a reviewer reads them; empty ones left out."""
    titled = [("Totals", review.totals)]
    titled += [(f"By {', '.join(grouping)}", rows) for grouping, rows in review.by.items()]
    titled += [("Waste", review.waste), ("Waste: which jobs", review.examples)]
    titled += [("Failures", review.failures)]
    return [(title, rows) for title, rows in titled if rows]


def _said(review: Review) -> list[str]:
    virtual = ["Costs are virtual: this was a rehearsal, nobody was paid."]
    return [*(virtual if review.is_virtual else []), *review.notes]


def heading(name: str) -> str:
    """A column's name for people."""
    return name.replace("_", " ")


def is_number(name: str, rows: Sequence[Plain]) -> bool:
    """Whether a column is aligned to the right."""
    return name in AMOUNTS or any(isinstance(row[name], int) for row in rows)


def shown(name: str, value: Value) -> str:
    """A value for people: amounts rounded, counts with separators, text on one clean line."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if name in AMOUNTS:
        return shown_amount(Decimal(value))
    return one_clean_line(value, 300)
