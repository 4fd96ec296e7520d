"""A bill's file as exports really come: columns left out, rows cut short, other ends of lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.dialects.bill import Line
from retouch.errors import InputRefused
from retouch.reconcile import reading
from retouch.reconcile.bill_cells import zone_of
from retouch.reconcile.profiles import profile_of
from retouch.reconcile.reading import read_bill
from tests.reconcile.test_shapes import ROWS

BILLS = Path(__file__).with_name("bills")
HEAD = "date,model,amount"


def read(*rows: list[str]) -> tuple[Line, ...]:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return read_bill("b", text.getvalue().encode()).lines


@pytest.mark.parametrize(("header", "row"), [each[:2] for each in ROWS])
def test_a_column_that_a_shape_can_do_without_may_be_left_out_or_cut_off(
    header: str, row: str
) -> None:
    """It reads as if the cell were empty, whichever column it is."""
    names, cells = next(csv.reader([header])), next(csv.reader([row]))
    profile = profile_of(frozenset(name.lower() for name in names))
    needed = {each for role in ("date", "model", "amount", "quota")
              for each in profile.columns.get(role, ())}  # fmt: skip
    for at, name in enumerate(names):
        bare = name.lower().partition(" (")[0]
        if bare in needed or cells[at] == "":
            continue
        fewer, rest = names[:at] + names[at + 1 :], cells[:at] + cells[at + 1 :]
        empty = read([*fewer, name], [*rest, ""])
        assert read([*fewer, name], rest) == empty
        if bare not in profile.signature:
            assert read(fewer, rest) == empty
    assert read(names, cells)


def test_a_page_of_costs_and_a_list_in_an_object_are_tables_too() -> None:
    """OpenAI's costs with their currency; logs as a list, or as `data` of an answer."""
    result = {"amount": {"value": 0.3, "currency": "eur"}, "line_item": "m, output"}
    page = {"data": [{"start_time": 1790899200, "results": [result]}]}
    (line,) = read_bill("b", json.dumps(page).encode()).lines
    assert (line.day, line.model, line.currency) == ("2026-10-02", "m", "EUR")
    rows = [{"date": "2026-10-02", "model": "m", "amount": 1}] * 1000
    rows.append({"date": "2026-10-03", "model": "m", "images": 2})
    plain = read_bill("b", json.dumps(rows).encode()).lines
    assert read_bill("b", json.dumps({"data": rows}).encode()).lines == plain
    assert plain[-1].measures == {"images": Decimal(2)}


def test_a_usage_export_is_of_the_bills_own_days() -> None:
    """In the zone that the user says."""
    values = [{"time": "2026-10-02T20:00:00Z", "value": 7}]
    items = [{"name": "input tokens", "categories": [{"values": values}]}]
    data = json.dumps({"status": True, "data": [{"id": "m", "items": items}]}).encode()
    for offset, day in (("", "2026-10-02"), ("+08:00", "2026-10-03"), ("-21:00", "2026-10-01")):
        (line,) = read_bill("b", data, zone=zone_of(offset)).lines
        assert (line.day, line.measures) == (day, {"input_tokens": Decimal(7)})
    with pytest.raises(InputRefused) as refused:
        read_bill("b", b'{"status": 3}', zone=UTC)
    assert [each.file for each in refused.value.problems] == ["b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_on_any_system(end: str) -> None:
    """Also as they once did on a Macintosh."""
    text = end.join([HEAD, "2026-10-02,m,1", "2026-10-03,m,2", ""])
    lines = read_bill("b", text.encode()).lines
    assert [(line.number, str(line.measures["amount"])) for line in lines] == [(2, "1"), (3, "2")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "gb18030"])
def test_text_is_read_in_its_own_encoding(encoding: str) -> None:
    """By its mark, or as Chinese; a sign is kept for who asks for the currency."""
    mark = "\ufeff" if encoding.startswith("utf-16") else ""
    bill = read_bill("b", f"{mark}日期,模型,金额\n2026-10-02,雪,¥1\n".encode(encoding))
    assert [line.model for line in bill.lines] == ["雪"]
    assert bill.signs == {"¥"}


def test_what_is_in_no_encoding_is_refused_where_it_begins_to_be() -> None:
    """With its file and the byte."""
    with pytest.raises(InputRefused) as refused:
        read_bill("b.csv", b"ab" + bytes(range(128, 256)) * 3)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.column) == ("b.csv", 0, 0)
    assert problem.what == "is in no encoding that can be told (byte 2)"
    assert problem.remedy == "save it as UTF-8"


def _gzip_with_a_false_sum(data: bytes) -> bytes:
    packed = gzip.compress(data)
    return packed[:-8] + struct.pack("<II", 0, len(data))


def _zip_with_a_false_sum(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("bill.csv", data)
        (told,) = archive.infolist()
        told.CRC ^= 1
    return packed.getvalue()


@pytest.mark.parametrize("pack", [_gzip_with_a_false_sum, _zip_with_a_false_sum])
def test_a_bomb_is_refused_before_it_is_unpacked_whole(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """Its end, which tells that it is damaged, is never come to."""
    data = pack(b"x" * (1 << 20))
    with pytest.raises(InputRefused, match="cannot be unpacked"):
        read_bill("b", data)
    monkeypatch.setattr(reading, "UNPACKED_CAP_BYTES", 1000)
    with pytest.raises(InputRefused, match="unpacks to more than 1,000 bytes"):
        read_bill("b", data)


def test_an_empty_workbook_is_refused_like_an_empty_text() -> None:
    """A sheet without a cell is no bill."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(BILLS / "qiniu.xlsx") as book,
        zipfile.ZipFile(packed, "w") as emptied,
    ):
        for name in book.namelist():
            data = book.read(name)
            if name.startswith("xl/worksheets/"):
                data = re.sub(rb"<sheetData>.*</sheetData>", b"<sheetData/>", data, flags=re.DOTALL)
            emptied.writestr(name, data)
    with pytest.raises(InputRefused, match="no column is known to hold the date"):
        read_bill("b.xlsx", packed.getvalue())


def test_the_header_is_found_by_the_columns_that_the_user_names() -> None:
    """Below a preamble, whatever their names are."""
    text = "Rechnung,42\nTag,Gerät,Betrag (EUR)\n2026-10-02,m,1\n"
    bill = read_bill("b", text.encode(), "date=Tag,model=Gerät,amount=Betrag (EUR)")
    assert [(line.number, line.currency) for line in bill.lines] == [(3, "EUR")]
    assert bill.columns == {"date": "Tag", "model": "Gerät", "amount": "Betrag (EUR)"}
    (plain,) = read_bill("b", f"{HEAD}\n2026-10-02,m,1".encode()).lines
    assert plain.currency is None
