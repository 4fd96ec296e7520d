"""A review as a workbook: read back by another's reader, to the last digit."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from retouch.cli import main
from retouch.report import Tally, workbook
from retouch.report.charges import COLUMNS, Wanted, charge_rows
from retouch.report.rows import Plain, review_of
from retouch.report.workbook import EXACT, Page, is_held, pages_of, write_workbook
from tests.support.busy_ledger import busy, write_busy

JOBS = 400


def read(path: Path) -> dict[str, list[dict[str, object]]]:
    """Each sheet's rows by their headings."""
    book = CalamineWorkbook.from_path(path)
    sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    return {
        name: [dict(zip(map(str, rows[0]), row, strict=True)) for row in rows[1:]]
        for name, rows in sheets.items()
    }


def money(row: dict[str, object], name: str) -> Decimal:
    """An amount of a row: in full where there is such a column, else the number."""
    return Decimal(str(row.get(name + EXACT) or row[name] or 0))


def test_a_reviews_sheets_add_up_to_its_totals(tmp_path: Path) -> None:
    """Every column of every breakdown, as another's reader sees it, is the sum of the totals."""
    tally = Tally([("model",), ("day", "prompt"), ("folder",)])
    tally.read(busy(JOBS))
    review = review_of(tally, about="a year")
    write_workbook(pages_of(review), path := tmp_path / "review.xlsx")
    sheets = read(path)
    assert {"Totals", "By model", "By day, prompt", "By folder", "Waste", "Notes"} <= sheets.keys()
    for currency in ("CNY", "USD"):
        (total,) = (row for row in review.totals if row["currency"] == currency)
        for name in ("Totals", "By model", "By day, prompt", "By folder"):
            rows = [row for row in sheets[name] if row["currency"] == currency]
            for sum_of in ("confirmed", "unknown_high"):
                assert sum(money(row, sum_of) for row in rows) == Decimal(str(total[sum_of]))
            assert sum(int(str(row["jobs"]).split(".")[0]) for row in rows) == total["jobs"]


def test_the_charges_add_up_too(tmp_path: Path) -> None:
    """A row a charge, by the command, with the format told by the file's name."""
    ledger = write_busy(tmp_path / "cats" / "ledger.jsonl", JOBS)
    assert main(["report", str(ledger), "--jobs", "--to", str(tmp_path / "c.xlsx")]) == 0
    (rows,) = read(tmp_path / "c.xlsx").values()
    expected = list(charge_rows([("cats", list(busy(JOBS)), 0)], Wanted()))
    assert [row["key"] for row in rows] == [row["key"] for row in expected]
    for name in ("amount", "low", "high"):
        assert [money(row, name) for row in rows] == [
            Decimal(str(row[name] or 0)) for row in expected
        ]
    assert main(["report", str(ledger), "--to", str(tmp_path / "r.xlsx")]) == 0
    assert "By model" in read(tmp_path / "r.xlsx")


LONG = "1234567.123456789012"


def test_what_a_number_cannot_hold_is_there_in_full(tmp_path: Path) -> None:
    """19 digits: the number is near, the text beside it is exact; other columns have no such."""
    rows: list[Plain] = [{"amount": LONG, "high": "0.3"}, {"amount": "0.1", "high": None}]
    write_workbook([Page("A", ["amount", "high"], lambda: rows)], path := tmp_path / "a.xlsx")
    (sheet,) = read(path).values()
    assert [row["amount" + EXACT] for row in sheet] == [LONG, "0.1"]
    assert sheet[0]["amount"] == pytest.approx(float(LONG))
    assert "high" + EXACT not in sheet[0]
    assert is_held("0.2715321")
    assert not is_held("9007199254740993")
    assert not is_held("0.1234567890123456")


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "-1", "http://example.com", "a\x07b"])
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    """Nothing that a source is called becomes a formula, a number or a link."""
    rows: list[Plain] = [{"source": text}]
    write_workbook([Page("A", ["source"], lambda: rows)], path := tmp_path / "a.xlsx")
    (sheet,) = read(path).values()
    assert sheet == [{"source": text.replace("\x07", "^G")}]


def test_more_rows_than_a_sheet_holds_go_on_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its header; and names that Excel refuses are made fit."""
    monkeypatch.setattr(workbook, "SHEET_ROWS", 3)
    rows: list[Plain] = [{"images": number} for number in range(7)]
    pages = [Page("By tag:team/of a very long name, day", ["images"], lambda: rows)]
    write_workbook(pages, path := tmp_path / "a.xlsx")
    sheets = read(path)
    assert [len(each) for each in sheets.values()] == [3, 3, 1]
    assert [row["images"] for each in sheets.values() for row in each] == list(range(7))


def test_it_needs_a_file_and_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, with what to type; for a folder that is not there 5."""
    ledger = str(write_busy(tmp_path / "cats" / "ledger.jsonl", 5))
    assert main(["report", ledger, "--format", "xlsx"]) == 2
    assert "--to FILE" in capsys.readouterr().err
    assert main(["report", ledger, "--to", str(tmp_path / "none" / "r.xlsx")]) == 5
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    monkeypatch.delitem(sys.modules, "retouch.report.workbook")
    for more in ([], ["--jobs"]):
        assert main(["report", ledger, *more, "--to", str(tmp_path / "r.xlsx")]) == 2
        assert "pip install 'retouch[bills]'" in capsys.readouterr().err


def test_columns_of_charges_are_those_of_every_format() -> None:
    """What a column is called is the same in CSV, JSON Lines and here."""
    (row,) = charge_rows([("", list(busy(1)), 0)], Wanted())
    assert tuple(row) == COLUMNS
