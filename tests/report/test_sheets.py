"""What people read: columns that line up, no amount shown as zero that is none."""

from __future__ import annotations

import re
from typing import Any

import pytest

from retouch.ledger.records import AmountRecord, CostRecord
from retouch.report import Tally
from retouch.report.formats import markdown_of
from retouch.report.rows import Review, review_of
from retouch.report.sheets import Sheet, sheets
from tests.support.ledgers import GEMINI, KLING, begins, done, many, started, unknown


def cost(amount: str, currency: str = "CNY") -> CostRecord:
    return CostRecord(amount=amount, currency=currency, basis="tokens", price="p")


def reviewed(records: list[Any], *groupings: tuple[str, ...]) -> Review:
    tally = Tally(groupings or (("model",),))
    tally.read(records)
    return review_of(tally, "cats")


def column(sheet: Sheet, name: str) -> list[str]:
    return [cells[sheet.names.index(name)] for cells in sheet.cells]


@pytest.mark.parametrize(
    ("amounts", "shown"),
    [
        (["12.5", "0.8"], ["12.50", "0.80"]),
        (["0.2715321", "0.2"], ["0.2715", "0.2000"]),
        (["1234.5", "0.0021"], ["1,234.5000", "0.0021"]),
        (["0.0000039", "0"], ["0.00000390", "0.00000000"]),
    ],
)
def test_a_columns_amounts_line_up(amounts: list[str], shown: list[str]) -> None:
    """All of a column have as many decimals, and what is not zero is not shown as zero."""
    models = [GEMINI, KLING]
    records: list[Any] = [begins()]
    for number, (model, amount) in enumerate(zip(models, amounts, strict=True)):
        records += [started(number, model=model)]
        records += [done(number, model=model, cost=cost(amount))]
    by_model = sheets(reviewed(records))[1]
    assert column(by_model, "confirmed") == shown


def test_shares_are_of_their_own_currency() -> None:
    """A share is of what is confirmed in the row's currency; without a price there is none."""
    records: list[Any] = [begins()]
    costs = [("a", cost("3")), ("b", cost("1")), ("c", cost("5", "USD")), ("d", None)]
    for number, (model, paid) in enumerate(costs):
        ceiling = AmountRecord(amount="9", currency=paid.currency) if paid else None
        records += [started(number, model=model, ceiling=ceiling)]
        records += [done(number, model=model, cost=paid)]
    by_model = sheets(reviewed(records))[1]
    assert column(by_model, "share") == ["75.0 %", "25.0 %", "100.0 %", "-"]
    assert column(by_model, "currency") == ["CNY", "CNY", "USD", "no price"]
    records += [started(9, model="e"), done(9, model="e", cost=cost("0.0001"))]
    assert column(sheets(reviewed(records))[1], "share")[2] == "<0.1 %"


def test_what_breaks_nothing_down_is_left_out() -> None:
    """One folder and one run are no breakdown, unless they were asked for."""
    records = [begins(), started(1), done(1), started(6), done(6)]
    every = reviewed(records, ("model",), ("label",), ("run",))
    assert [sheet.title for sheet in sheets(every)] == ["Totals", "By model"]
    asked = reviewed(records, ("label",))
    assert [sheet.title for sheet in sheets(asked)] == ["Totals", "By label (folder)"]


def test_all_tables_are_in_markdown() -> None:
    """Markdown holds the same titles as the tables on a terminal."""
    review = reviewed([begins(), *many(3), started(50), unknown(50)])
    titles = [sheet.title for sheet in sheets(review)]
    assert titles == re.findall(r"^## (.*)$", markdown_of(review), re.MULTILINE)
