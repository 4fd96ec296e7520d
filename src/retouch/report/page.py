"""A review as one HTML page that needs nothing else: no script, no network, no other file.

Every value is escaped, for file names and prompts came from outside. Readable on a desk and in a
narrow window, in the dark, and on paper.
"""

from __future__ import annotations

import html
from collections.abc import Iterator

from retouch.report.rows import Plain, Review
from retouch.report.sheets import VIRTUAL, Sheet, foot, heads, sheets

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SHORT = ("currency", "day", "key")
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d8dee4;--paper:#fff;
--tint:#f4f6f8;--warn:#fff3cd}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa4af;--line:#363c44;
--paper:#14171a;--tint:#1e2227;--warn:#4d3f00}}
*{box-sizing:border-box}
body{font:15px/1.45 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;color:var(--ink);
background:var(--paper);max-width:72rem;margin:0 auto;padding:1.5rem 1.25rem 3rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:2rem 0 .4rem}
p{margin:.3rem 0;color:var(--soft);overflow-wrap:anywhere}
.virtual{background:var(--warn);color:inherit;padding:.5rem .8rem;border-radius:.4rem;
margin:.6rem 0}
.sums{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.75rem;
margin:1.2rem 0 0;padding:0}
.sums div{background:var(--tint);border-radius:.5rem;padding:.7rem .9rem}
.sums dt{color:var(--soft);font-size:.85rem}
.sums dd{margin:0;font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.32rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600;font-size:.85rem;vertical-align:bottom}
td.t{overflow-wrap:anywhere;min-width:6rem}
td.n,th.n{text-align:right}td.n,td.w{white-space:nowrap}
th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}
@media(max-width:46rem){body{font-size:13px;padding:1rem .75rem}th,td{padding:.28rem .35rem}}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--tint:#fff}
body{font-size:9.5pt;max-width:none;padding:0}.sums div{border:1px solid var(--line)}
.scroll{overflow:visible}thead{display:table-header-group}tr,.sums div{break-inside:avoid}
h2{break-after:avoid}}
@page{margin:15mm}
"""


def html_of(review: Review) -> str:
    """The whole review."""
    tables = sheets(review)
    body = ["<h1>Cost review</h1>", *map(_paragraph, heads(review))]
    body += _sums(tables[0], is_virtual=review.is_virtual) if tables else []
    for sheet in tables:
        body += [f"<h2>{html.escape(sheet.title)}</h2>", _table(sheet)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(f'Cost review: {review.about}')}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join([*body, f"<p>{html.escape(foot(review))}</p>"])
        + "\n</body>\n</html>\n"
    )


def _paragraph(text: str) -> str:
    css = ' class="virtual"' if text == VIRTUAL else ""
    return f"<p{css}>{html.escape(text)}</p>"


def _sums(totals: Sheet, *, is_virtual: bool) -> Iterator[str]:
    """The sums a reader looks for first, large: what was paid, what is open, what has no price."""
    word = ", virtual" if is_virtual else ""
    yield '<dl class="sums">'
    for row, cells in zip(totals.rows, totals.cells, strict=True):
        shown = dict(zip(totals.names, cells, strict=True))
        if row["currency"] is None:
            yield _sum("charges without a price", shown.get("unpriced_jobs", "0"))
            continue
        yield _sum(f"confirmed{word}", f"{shown['confirmed']} {shown['currency']}")
        if "unknown_high" in shown and _is_open(row):
            yield _sum(f"unknown, at most{word}", f"{shown['unknown_high']} {shown['currency']}")
    yield "</dl>"


def _is_open(row: Plain) -> bool:
    return set(str(row["unknown_high"])) != set("0.")


def _sum(name: str, amount: str) -> str:
    return f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(amount)}</dd></div>"


def _table(sheet: Sheet) -> str:
    css = {name: _css(sheet, name) for name in sheet.names}
    head = "".join(
        f'<th class="{css[name]}">{html.escape(heading)}</th>'
        for name, heading in zip(sheet.names, sheet.headings, strict=True)
    )
    lines = (
        "".join(_cell(name, css[name], text) for name, text in zip(sheet.names, cells, strict=True))
        for cells in sheet.cells
    )
    rows = "\n".join(f"<tr>{line}</tr>" for line in lines)
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _css(sheet: Sheet, name: str) -> str:
    """Numbers to the right; text in lines where it is long, and whole where it is short."""
    return "n" if sheet.is_number(name) else "w" if name in _SHORT else "t"


def _cell(name: str, css: str, text: str) -> str:
    shown = text[:12] if name == "key" else text
    return f'<td class="{css}">{html.escape(shown)}</td>'
