"""A bill from a file's bytes, whatever form it came in: packed, a workbook, Parquet, JSON, text.

The form is told by the bytes, never by the name. Text is UTF-8, UTF-16 with its mark, GB 18030
where it reads as Chinese, else what charset-normalizer is sure of; anything else is refused.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timezone
from decimal import Decimal
from typing import Any

from retouch.dialects import DIALECTS
from retouch.dialects.base import KeepsUsage
from retouch.dialects.bill import Bill
from retouch.errors import InputRefused, Problem
from retouch.reconcile.lines import Reading, Rows, mapped, read_table
from retouch.reconcile.profiles import NAMES, profile_named

UNPACKED_CAP_BYTES = 1024 * 1024 * 1024
_SAMPLE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What the user says of a bill: `columns` like `date=日期`, a profile's name, units of quota
    (new-api). Empty: nothing."""

    columns: str = ""
    profile: str = ""
    quota_per_unit: str = ""


def read_bill(
    name: str, data: bytes, columns: str = "", zone: timezone = UTC, said: Said | None = None
) -> Bill:
    """A bill from a file's bytes.

    Raises InputRefused with file and line, also for a bill without lines.
    """
    said = said or Said(columns)
    reading = _reading(zone, said)
    data = _unpacked(name, data)
    if data.startswith(b"PAR1"):
        bill = read_table(name, _parquet_rows(name, data), reading)
    elif data.startswith(b"PK"):
        bill = read_table(name, _workbook_rows(name, data), reading)
    else:
        bill = _from_text(name, data, reading)
    if not bill.lines:
        raise InputRefused([Problem(name, 0, 0, "the bill has no lines", "export it again")])
    return bill


def _reading(zone: timezone, said: Said) -> Reading:
    profile = profile_named(said.profile) if said.profile else None
    if said.profile and profile is None:
        raise InputRefused(
            f"--profile {said.profile}: no such profile; there are {', '.join(NAMES)}"
        )
    return Reading(zone, mapped(said.columns), profile, said.quota_per_unit)


def _from_text(name: str, data: bytes, reading: Reading) -> Bill:
    text = decoded(name, data)
    if text.lstrip()[:1] not in ("{", "["):
        rows, has_commas = _csv_rows(name, text)
        return read_table(name, rows, dataclasses.replace(reading, has_commas=has_commas))
    try:
        document = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        what = f"is no JSON: {error}"
        raise InputRefused([Problem(name, 0, 0, what, "export it again")]) from None
    if isinstance(document, dict) and _has_buckets(document):
        return read_table(name, _openai_rows(document), reading)
    rows_of = document if isinstance(document, list) else document.get("data")
    if isinstance(rows_of, list) and rows_of and "items" not in _first(rows_of):
        return read_table(name, _object_rows(rows_of), reading)
    return _usage_export(name, data, reading.zone)


def _usage_export(name: str, data: bytes, zone: timezone) -> Bill:
    """A usage export, in the form of the first dialect that can read it."""
    problems: list[Problem] = []
    for dialect in DIALECTS.values():
        if isinstance(dialect, KeepsUsage):
            try:
                return dialect.read_usage(name, [data], zone)
            except InputRefused as error:
                problems += error.problems
    raise InputRefused(problems)


def decoded(name: str, data: bytes) -> str:
    """The text of a bill's file. Raises InputRefused where its encoding cannot be told."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        position = error.start
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    if any("\u4e00" <= one <= "\u9fff" for one in text):
        return text
    from charset_normalizer import from_bytes  # noqa: PLC0415 - needed for few files

    best = from_bytes(data[:_SAMPLE_BYTES]).best()
    if best is None:
        what = f"is in no encoding that can be told (byte {position})"
        raise InputRefused([Problem(name, 0, 0, what, "save it as UTF-8")])
    return data.decode(best.encoding, errors="replace")


def _unpacked(name: str, data: bytes) -> bytes:
    """What a gzip or a ZIP of one file holds; a workbook is a ZIP and stays one."""
    try:
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(data)) as file:
                return _capped(name, file.read(UNPACKED_CAP_BYTES + 1))
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = [each for each in archive.namelist() if not each.endswith("/")]
                if any(each.startswith("xl/") for each in names):
                    return data
                if len(names) != 1:
                    what = f"is a ZIP of {len(names)} files: {', '.join(sorted(names)[:5])}"
                    raise InputRefused([Problem(name, 0, 0, what, "unpack it and name one")])
                with archive.open(names[0]) as member:
                    return _capped(name, member.read(UNPACKED_CAP_BYTES + 1))
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        what = f"cannot be unpacked: {error}"
        raise InputRefused([Problem(name, 0, 0, what, "unpack it, or export it again")]) from None
    return data


def _capped(name: str, data: bytes) -> bytes:
    if len(data) > UNPACKED_CAP_BYTES:
        what = f"unpacks to more than {UNPACKED_CAP_BYTES:,} bytes"
        raise InputRefused([Problem(name, 0, 0, what, "export a month")])
    return data


def _csv_rows(name: str, text: str) -> tuple[Rows, bool]:
    """All rows with their lines, and whether commas may stand between thousands: where cells are
    parted by semicolons, a comma may be the decimal point."""
    lines = text.split("\n", 40)[:40]
    delimiter = max(",;\t", key=lambda mark: max(line.count(mark) for line in lines))
    # Not splitlines(): a cell may hold what Unicode calls a line's end.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputRefused([Problem(name, reader.line_num, 1, f"is no CSV: {error}")]) from None
    return rows, delimiter != ";"


def _workbook_rows(name: str, data: bytes) -> Rows:
    try:
        from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - an extra
    except ImportError:
        what = "is a workbook, which needs the extra `bills`"
        remedy = "make setup EXTRAS=bills, or save it as CSV"
        raise InputRefused([Problem(name, 0, 0, what, remedy)]) from None
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = (book.get_sheet_by_index(at).to_python() for at in range(len(book.sheet_names)))
        rows = next((each for each in sheets if any(map(any, each))), [])
    except (CalamineError, OSError) as error:
        what = f"is no workbook that can be read: {error}"
        raise InputRefused([Problem(name, 0, 0, what, "save it as CSV")]) from None
    return [(at, [_cell(cell) for cell in row]) for at, row in enumerate(rows, 1)]


def _parquet_rows(name: str, data: bytes) -> Rows:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        what = "is Parquet, which needs the extra `parquet`"
        remedy = "make setup EXTRAS=parquet, or save it as CSV"
        raise InputRefused([Problem(name, 0, 0, what, remedy)]) from None
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError) as error:
        what = f"is no Parquet that can be read: {error}"
        raise InputRefused([Problem(name, 0, 0, what, "export it again")]) from None
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    return list(enumerate([table.column_names, *map(list, zip(*columns, strict=True))], 1))


def _cell(value: object) -> str:
    """A typed cell as it would be written in a CSV."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
    return str(value)


def _has_buckets(document: Mapping[str, Any]) -> bool:
    """Whether it is a page of costs by days: OpenAI's GET /v1/organization/costs."""
    data = document.get("data")
    return isinstance(data, list) and "results" in _first(data)


def _openai_rows(document: Mapping[str, Any]) -> Rows:
    """A page of costs as the rows of the CSV export (platform.openai.com, Costs)."""
    head = ["start_time", "amount_value", "amount_currency", "line_item"]
    rows = [
        [
            _cell(bucket.get("start_time")),
            _cell(amount.get("value")),
            _cell(amount.get("currency")),
            _cell(result.get("line_item")),
        ]
        for bucket, result in _results(document)
        for amount in [_first([result.get("amount")])]
    ]
    return list(enumerate([head, *rows], 1))


def _results(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each result of a page of costs, with its bucket."""
    for bucket in _objects(document.get("data")):
        for result in _objects(bucket.get("results")):
            yield bucket, result


def _object_rows(objects: Iterable[Any]) -> Rows:
    """A list of flat objects as a table: JSON logs of LiteLLM, new-api and others."""
    known = list(_objects(objects))
    head = list(dict.fromkeys(key for each in known for key in each))
    rows = [[_cell(each.get(key)) for key in head] for each in known]
    return list(enumerate([head, *rows], 1))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _first(values: list[Any]) -> Mapping[str, Any]:
    return values[0] if values and isinstance(values[0], dict) else {}
