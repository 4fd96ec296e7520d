"""Bills as providers and spreadsheets write them: the right figure, or one clear refusal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from retouch.dialects.bill import Bill, UnreadableCell, when
from retouch.errors import InputRefused
from retouch.reconcile.bill_cells import number, zone_of
from retouch.reconcile.reading import read_bill

HEAD = "date,model,amount\n"


def bill(text: str, columns: str = "", offset: str = "") -> Bill:
    return read_bill("b", text.encode(), columns, zone_of(offset))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1,234.56", "1234.56"),
        ("12,345,678", "12345678"),
        ("¥0.27", "0.27"),
        ("-¥0.27", "-0.27"),
        ("¥ -0.27", "-0.27"),
        ("0.27元", "0.27"),
        ("(0.27)", "-0.27"),
        ("\u22120.27", "-0.27"),
        (".5", "0.5"),
        ("4.5E-05", "0.000045"),
        ("1\u00a0234.5", "1234.5"),
    ],
)
def test_numbers_as_they_are_written(written: str, meant: str) -> None:
    """Separators, signs, brackets and credits mean what a bookkeeper means by them."""
    assert number(written, "amount") == Decimal(meant)


@pytest.mark.parametrize(
    "written",
    [
        "0,27",
        "0,271",
        "1.234,56",
        "12,34,567",
        "1e400",
        "1_000",
        "٣",
        "5 CNY",
        "()",
        "NaN",
        "+",
    ],
)
def test_numbers_that_could_mean_two_things(written: str) -> None:
    """A decimal comma, and what is no number, is refused rather than read a thousandfold."""
    with pytest.raises(UnreadableCell, match="is no number"):
        number(written, "amount")


@pytest.mark.parametrize("written", ["", " ", "-", "--"])
def test_nothing_is_no_zero(written: str) -> None:
    """An empty cell says nothing."""
    assert number(written, "amount") is None


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2025-10-02", "2025-10-02"),
        ("2025/10/2", "2025-10-02"),
        ("2025.10.02", "2025-10-02"),
        ("20251002", "2025-10-02"),
        ("2025年10月2日", "2025-10-02"),
        ("2025/10/2 8:05", "2025-10-02"),
        ("2025年10月2日 8:05:06", "2025-10-02"),
        ("2025-10-02 23:30:00 +00:00", "2025-10-03"),
        ("2025-10-02T16:00:00Z", "2025-10-03"),
        ("2025-10-02T15:59:59.999Z", "2025-10-02"),
    ],
)
def test_days_as_they_are_written(written: str, day: str) -> None:
    """Days and times in their usual forms, as days of the bill's own zone."""
    assert when(written, zone_of("+08:00"))[0] == day


@pytest.mark.parametrize(
    "written",
    ["10/02/2025", "02-10-25", "2025-10/02", "Oct 2, 2025", "45932",
     "2025-10-02 25:00", "2025-10-02 8pm", "0001-01-01T00:00:00+14:00"],
)  # fmt: skip
def test_days_that_could_be_others(written: str) -> None:
    """Another order of day and month, and what is no day, is refused."""
    with pytest.raises(UnreadableCell, match="is no day or time"):
        when(written, zone_of(""))


def test_a_sheet_with_all_its_habits() -> None:
    """A mark at its beginning, semicolons, CRLF, quoted newlines, other columns, empty rows."""
    text = (
        "\ufeff日期;说明;模型;金额;币种\r\n"
        '2025-10-02;"two\r\nlines\u2028and ; more";gemini;¥0.27;人民币\r\n'
        ";;;;\r\n"
        "2025-10-03;;kling-v2;-0.20;RMB\r\n"
    )
    lines = bill(text).lines
    assert [(each.day, each.model, each.currency) for each in lines] == [
        ("2025-10-02", "gemini", "CNY"), ("2025-10-03", "kling-v2", "CNY"),
    ]  # fmt: skip
    assert [each.measures["amount"] for each in lines] == [Decimal("0.27"), Decimal("-0.20")]


@pytest.mark.parametrize("row", ["合计,,5.40", "total:,,5.40", ",,5.40", "2025-10-02,小计,5.40"])
def test_totals_are_left_out_and_said(row: str) -> None:
    """What adds up other lines is no line of its own; its amount is said."""
    read = bill(f"{HEAD}2025-10-02,m,5.40\n{row}\n")
    assert len(read.lines) == 1
    assert read.notes == ("b:3: left out, a total or of no day (5.40)",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}2025-10-02,m,\n", "b:2:1: has no figure"),
        ("date,model,amount,fee\n2025-10-02,m,1,2", "`amount` and `fee` may be the amount; say"),
        ("date,model,amount,amount\n2025-10-02,m,1,2", "may be the amount"),
        ("date;model;amount\n2025-10-02;m;1,234", "may be two numbers"),
        (f'{HEAD}2025-10-02,m,"0,27"', "`0,27` is no number (amount); write it like 1,234.56"),
        ("date,model,amount,currency\n2025-10-02,m,$1,CNY", "`$1` is not an amount in CNY"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, message: str) -> None:
    """One clear message with its place, and no guess."""
    with pytest.raises(InputRefused) as refused:
        bill(text)
    assert message in refused.value.message


def test_a_mapping_decides_between_columns() -> None:
    """Of two columns that may be the amount the named one is; a name that stands twice is none."""
    text = "date,model,amount,fee\n2025-10-02,m,1,2"
    assert bill(text, "amount=fee").lines[0].measures["amount"] == 2
    with pytest.raises(InputRefused, match="more than one column `fee`"):
        bill("date,model,fee,fee\n2025-10-02,m,1,2", "amount=fee")
