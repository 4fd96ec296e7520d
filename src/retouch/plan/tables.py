"""Tables and lists of URLs, row by row, every fault with its file, row and column.

UTF-8 with or without BOM. CSV as RFC 4180 has it, JSON Lines with one object a line, Parquet
through the extra `parquet`. Plain cells are texts and variables; lists and objects are carried to
the labels of what is exported, and are no variables.
"""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import orjson

from retouch.errors import Problem
from retouch.plan.annotations import Cell
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line

TABLE_CAP_BYTES = 1024**3
COLUMN_CAP = 1000
CELL_CAP_CHARACTERS = 100_000
PROBLEM_CAP = 100  # problems told of one table


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: `line` is its first line (in Parquet, its number), counted from 1.

    `cells` are all its columns as JSON texts, where the table has kinds of values; None where all
    are texts (CSV).
    """

    line: int
    header: tuple[str, ...]
    values: tuple[str, ...]
    cells: tuple[Cell, ...] | None = None


def read_table(
    path: Path, shown: str, needed: str | None, read: Callable[[], bytes] | None = None
) -> Iterator[TableRow | Problem]:
    """The rows of a table and what is wrong with it; `shown` names it in messages, `needed` is the
    column of the pictures (None: its caller looks for that), `read` gives its bytes where it is no
    file."""
    readers = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        yield Problem(
            shown, 0, 0, "is no table by its name", "name a .csv, .jsonl or .parquet file"
        )
        return
    try:
        data = read() if read else read_regular(path, cap=TABLE_CAP_BYTES)
    except UnreadableFile as error:
        yield Problem(shown, 0, 0, f"the table {error.reason}", error.remedy)
        return
    problems = 0
    for item in reader(data, shown, needed):
        problems += isinstance(item, Problem)
        if problems > PROBLEM_CAP:
            yield Problem(
                shown, 0, 0, f"more than {PROBLEM_CAP} rows are wrong", "mend these first"
            )
            return
        yield item


def read_urls(
    path: Path, shown: str, read: Callable[[], bytes] | None = None
) -> Iterator[TableRow | Problem]:
    """The URLs of a list, one a line, as rows with one column; blank lines and # are passed."""
    try:
        data = read() if read else read_regular(path, cap=TABLE_CAP_BYTES)
        text = _text(data, shown)
    except UnreadableFile as error:
        yield Problem(shown, 0, 0, f"the list {error.reason}", error.remedy)
        return
    if isinstance(text, Problem):
        yield text
        return
    for line, url in enumerate(text.splitlines(), start=1):
        if url.strip() and not url.lstrip().startswith("#"):
            yield TableRow(line, ("image",), (url.strip(),))


def _text(data: bytes, shown: str) -> str | Problem:
    """The text of UTF-8 bytes, without BOM; or where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return Problem(shown, 1, 1, "is UTF-16", "save it as UTF-8")
        line = data.count(b"\n", 0, error.start) + 1
        begin = data.rfind(b"\n", 0, error.start) + 1
        column = len(data[begin : error.start].decode("utf-8", "replace")) + 1
        what = f"is not UTF-8: byte 0x{data[error.start]:02x} (perhaps it is Latin-1 or GBK)"
        return Problem(shown, line, column, what, "save it as UTF-8")


_NOT_ASCII_RUN = re.compile(r"[^\x00-\x7f]+")
_ODD_WORD = re.compile(r"(?<![A-Za-z])[^\x00-\x7f]+(?![A-Za-z])")


def _perhaps_gbk(text: str, shown: str) -> Problem | None:
    """GBK whose bytes happen to be UTF-8 too (`猫` is then `è`): words without a letter of ASCII,
    and each is Chinese in GBK."""
    words = list(_ODD_WORD.finditer(text))
    if not words or any(letter > "\u07ff" for letter in text):
        return None
    try:
        meant = [found[0].encode().decode("gb2312") for found in words]
    except UnicodeDecodeError:
        return None
    if len(words) < len(_NOT_ASCII_RUN.findall(text)) or not all(map(_is_chinese, meant)):
        return None
    first = words[0]
    line = text.count("\n", 0, first.start()) + 1
    column = first.start() - text.rfind("\n", 0, first.start())
    what = f"reads `{first[0]}` as UTF-8, and would read `{meant[0]}` as GBK"
    remedy = "if that is meant, save it as UTF-8"
    return Problem(shown, line, column, what, remedy, "warning")


def _is_chinese(text: str) -> bool:
    return all("\u4e00" <= letter <= "\u9fff" for letter in text)


def _header_problem(
    header: Sequence[str], shown: str, line: int, needed: str | None
) -> Problem | None:
    if len(header) > COLUMN_CAP:
        what = f"has {len(header):,} columns; at most {COLUMN_CAP:,} are read"
        return Problem(shown, line, 1, what, "keep those that are used")
    for index, name in enumerate(header, start=1):
        if not name:
            return Problem(shown, line, index, f"column {index} has no name", "give it one")
        if name in header[: index - 1]:
            what = f"two columns are named `{one_clean_line(name, 60)}`"
            return Problem(shown, line, index, what, "rename one of them")
    if needed is not None and needed not in header:
        names = ", ".join(one_clean_line(name, 30) for name in header[:12])
        what = f"has no column `{one_clean_line(needed, 60)}` (it has: {names})"
        return Problem(shown, line, 1, what, _advice(header))
    return None


def _advice(header: Sequence[str]) -> str:
    for sign, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and sign in header[0]:
            return f"its columns are separated by {name}: save it with commas"
    return "say which one holds the picture's path or URL, by `image_column: ...`"


def _csv(data: bytes, shown: str, needed: str | None) -> Iterator[TableRow | Problem]:
    text = _text(data, shown)
    if isinstance(text, Problem):
        yield text
        return
    if doubt := _perhaps_gbk(text, shown):
        yield doubt
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: tuple[str, ...] = ()
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield Problem(shown, reader.line_num, 1, f"is not CSV from here on: {error}", "mend it")
            return
        if cells and not header:
            header = _without_empty_end(tuple(cell.strip() for cell in cells))
            if problem := _header_problem(header, shown, line, needed):
                yield problem
                return
        elif any(cells):  # empty rows of a sheet are left out
            yield _row(line, header, _without_empty_end(tuple(cells), len(header)), shown)
        line = reader.line_num + 1
    if not header:
        yield Problem(shown, 1, 1, "the table is empty", "begin it with a header: image,...")


def _without_empty_end(cells: tuple[str, ...], at_least: int = 1) -> tuple[str, ...]:
    """Without the empty cells that a sheet saves to the right of its columns."""
    end = len(cells)
    while end > at_least and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _row(
    line: int, header: tuple[str, ...], cells: tuple[str, ...], shown: str
) -> TableRow | Problem:
    if len(cells) != len(header):
        what = f"the row has {len(cells)} cells, the header {len(header)}"
        remedy = "quote cells that hold commas, and give each column a cell"
        return Problem(shown, line, min(len(cells), len(header)) + 1, what, remedy)
    return TableRow(line, header, cells)


def _json_lines(data: bytes, shown: str, needed: str | None) -> Iterator[TableRow | Problem]:
    headers: dict[tuple[str, ...], tuple[str, ...]] = {}
    has_rows = False
    for line, written in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not written.strip():
            continue
        has_rows = True
        row = _json_row(line, written, shown)
        if isinstance(row, TableRow):
            known = headers.setdefault(row.header, row.header)  # one tuple for all rows alike
            problem = (
                None if known is not row.header else _header_problem(known, shown, line, needed)
            )
            yield problem or replace(row, header=known)
        else:
            yield row
    if not has_rows:
        yield Problem(shown, 1, 1, "the table is empty", 'write rows like {"image": "cat.jpg"}')


def _json_row(line: int, written: bytes, shown: str) -> TableRow | Problem:
    try:
        found = orjson.loads(written)
    except orjson.JSONDecodeError as error:
        what = f"the line is not JSON: {one_clean_line(error.msg, 100)}"
        return Problem(shown, line, error.colno, what, "write one JSON object a line")
    if not isinstance(found, dict):
        what = "the line is not a JSON object"
        return Problem(shown, line, 1, what, 'write it like {"image": "cat.jpg"}')
    return row_of(line, found)


def row_of(line: int, found: Mapping[str, object]) -> TableRow:
    """One row of values of any kind: plain ones are texts and variables, all are carried."""
    texts = {name: text for name, value in found.items() if (text := _plain(value)) is not None}
    cells = tuple((name, _as_json(value)) for name, value in found.items())
    return TableRow(line, tuple(texts), tuple(texts.values()), cells)


def _plain(value: object) -> str | None:
    """A plain value as text; None if it is not a plain value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _as_json(value: object) -> str:
    """Any value of a table as JSON text; bytes and what JSON does not know become null."""
    return orjson.dumps(value, default=_for_json, option=orjson.OPT_NON_STR_KEYS).decode()


def _for_json(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else None


def _parquet(data: bytes, shown: str, needed: str | None) -> Iterator[TableRow | Problem]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")  # an optional extra
    except ImportError:
        remedy = "`make setup EXTRAS=parquet`, or save the table as CSV"
        yield Problem(shown, 0, 0, "Parquet is not installed", remedy)
        return
    try:
        table = parquet.ParquetFile(io.BytesIO(data))
        header = tuple(str(name) for name in table.schema_arrow.names)
        if problem := _header_problem(header, shown, 1, needed):
            yield problem
            return
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for values in batch.to_pylist():
                number += 1
                yield row_of(number, values)
    except Exception as error:  # pyarrow raises many kinds of error
        what = f"cannot be read as Parquet: {one_clean_line(str(error), 150)}"
        yield Problem(shown, 0, 0, what, "write it anew")
        return
    if not number:
        yield Problem(shown, 0, 0, "the table is empty", "give it rows")
