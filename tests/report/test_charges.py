"""A row a charge: the rows add up to the review, each with the line that made it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings

from retouch.cli import main
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord, Resolved
from retouch.report import Sums, Tally
from retouch.report.charges import COLUMNS, FOCUS, Wanted, charge_lines, charge_rows
from tests.report.test_tally import lives
from tests.support.ledgers import (
    FIRST,
    GEMINI,
    KLING,
    begins,
    done,
    failed,
    key_of,
    many,
    stamp,
    started,
    unknown,
    write,
)


def ledger() -> list[AnyRecord]:
    """Finished jobs, one replaced, one unknown, one refused and billed, one settled twice, one
    that was free, and one without a price."""
    cost = CostRecord(amount="0.1", currency="CNY", basis="tokens", price="p")
    verdicts = [
        Resolved(
            key=key_of(105), attempt=1, verdict="charged", at=stamp(FIRST),
            amount=AmountRecord(amount=amount, currency="CNY"),
        )
        for amount in ("0.5", "0.3")
    ]  # fmt: skip
    return [
        begins(), *many(20),
        started(3, attempt=2), done(3, "0.4", attempt=2),
        started(101), unknown(101),
        started(102), failed(102, "yes", cost=cost),
        started(103), failed(103, "no"),
        started(104, ceiling=None), done(104, cost=None),
        started(105), unknown(105), *verdicts,
    ]  # fmt: skip


def test_the_rows_add_up_to_the_review() -> None:
    """Confirmed and unknown sums are the totals'; what was free is no row."""
    tally = Tally()
    tally.read(ledger())
    totals = {key[0]: sums for key, sums in tally.rows[()].items()}
    rows = list(charge_rows([("cats", ledger(), 0)], Wanted()))
    confirmed = sum(Decimal(str(row["amount"])) for row in rows if row["amount"])
    assert confirmed == totals["CNY"].confirmed
    assert sum(Decimal(str(row["high"])) for row in rows if row["high"]) == Decimal("0.6")
    assert [row["charge"] for row in rows].count("unpriced") == 1
    assert sum(int(str(row["images"])) for row in rows) == tally_images(totals)
    assert all(tuple(row) == COLUMNS for row in rows)
    assert key_of(103) not in {row["key"] for row in rows}


def tally_images(totals: dict[str | None, Sums]) -> int:
    return sum(sums.images for sums in totals.values())


def test_each_row_names_the_line_that_made_it() -> None:
    """The line's record is the charge's own; a corrected verdict's is the last one's."""
    records = ledger()
    for row in charge_rows([("cats", records, 0)], Wanted()):
        record = records[int(str(row["line"])) - 1]
        assert getattr(record, "key", None) == row["key"]
    (settled,) = (
        row for row in charge_rows([("", records, 0)], Wanted()) if row["key"] == key_of(105)
    )
    assert (settled["amount"], settled["line"]) == ("0.300000", len(records))
    assert settled["waste"] == "charged_without_picture"


def test_waste_and_the_dearest_are_found() -> None:
    """By a kind of waste, by a folder, and the dearest first."""
    ledgers = [("cats", ledger(), 0)]
    (replaced,) = charge_rows(ledgers, Wanted(waste="replaced"))
    assert (replaced["key"], replaced["attempt"]) == (key_of(3), 1)
    dearest = list(charge_rows(ledgers, Wanted(top=2)))
    assert [row["key"] for row in dearest] == [key_of(101), key_of(3)]
    assert {row["folder"] for row in charge_rows(ledgers, Wanted(folder="cats/1"))} == {"cats/1"}


def test_focus_bills_what_is_known_and_bounds_the_rest() -> None:
    """BilledCost adds up to what is confirmed; what is unknown costs 0 between its bounds."""
    text = "".join(charge_lines(charge_rows([("cats", ledger(), 0)], Wanted()), "focus"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == FOCUS
    tally = Tally()
    tally.read(ledger())
    assert sum(Decimal(row["BilledCost"]) for row in rows) == tally.rows[()][("CNY",)].confirmed
    (open_one,) = (row for row in rows if row["x_UnknownHigh"])
    assert (open_one["BilledCost"], open_one["x_UnknownHigh"]) == ("0.000000", "0.600000")
    assert rows[0]["ChargePeriodStart"] == "2025-10-02T08:00:00Z"


@pytest.mark.parametrize(
    ("limit", "code"), [("5.8CNY", 6), ("100CNY", 0), ("0USD", 0), ("much", 2), ("5", 2)]
)
def test_a_review_fails_above_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str, code: int
) -> None:
    """Exit 6 where confirmed and unknown together pass it; the report is printed all the same."""
    path = write(tmp_path / "cats" / "ledger.jsonl", ledger())
    assert main(["report", str(path), "--json", "--fail-above", limit]) == code
    said = capsys.readouterr()
    if code == 2:
        assert "--fail-above" in said.err
    else:
        assert json.loads(said.out)["totals"]


@settings(max_examples=60, deadline=None)
@given(lives())
def test_every_format_adds_up_to_the_totals(records: list[AnyRecord]) -> None:
    """Over any lives of any jobs: totals, each breakdown, rows, CSV, JSON Lines and FOCUS."""
    tally = Tally([("model", "day"), ("source",)])
    tally.read(records)
    sums: list[tuple[Decimal | int, ...]] = [
        (sum(each.confirmed for each in rows.values()),
         sum(each.unknown_low for each in rows.values()),
         sum(each.unknown_high for each in rows.values()))
        for rows in tally.rows.values()
    ]  # fmt: skip
    rows = list(charge_rows([("cats", records, 0)], Wanted()))
    ours = ("amount", "low", "high")
    theirs = ("BilledCost", "x_UnknownLow", "x_UnknownHigh")
    sums.append(added(rows, *ours))
    sums.append(added(map(json.loads, charge_lines(rows, "jsonl")), *ours))
    for form, names in (("csv", ours), ("focus", theirs)):
        text = "".join(charge_lines(rows, form))
        sums.append(added(csv.DictReader(io.StringIO(text)), *names))
    assert len(set(sums)) == 1, sums


def added(rows: Iterable[Mapping[str, object]], *names: str) -> tuple[Decimal, ...]:
    """The sums of some columns."""
    listed = list(rows)
    return tuple(
        sum((Decimal(str(row[name] or 0)) for row in listed), Decimal(0)) for name in names
    )


def test_focus_says_who_bills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whom a run was sent to provides, publishes and bills: FOCUS 1.2 lets none of them be null."""
    path = str(write(tmp_path / "cats" / "ledger.jsonl", ledger()))
    assert main(["report", path, "--format", "focus"]) == 0
    for row in csv.DictReader(io.StringIO(capsys.readouterr().out)):
        names = (row["ProviderName"], row["PublisherName"], row["InvoiceIssuerName"])
        assert names == ("qiniu",) * 3


# Columns that FOCUS 1.2 calls mandatory, by their pages in its repository (tag v1.2,
# specification/columns), and those that must not be null: anywhere, or in a row of usage.
FOCUS_NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription"}
FOCUS_MANDATORY = FOCUS_NULLABLE | {
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost",
    "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
FOCUS_OF_USAGE = {
    "ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "ResourceType", "ServiceSubcategory",
    "SkuId", "SkuPriceId",
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(lives())
def test_focus_keeps_the_rules_of_its_columns(records: list[AnyRecord]) -> None:
    """Over any lives of any jobs: no column is null that must not be, currencies are ISO codes, a
    price is of one SKU, moments are whole seconds of UTC in their billing period."""
    price = CostRecord(amount="0.3", currency="CNY", basis="images", price="price-12345678")
    records = [*records, started(9000, model=KLING), done(9000, model=KLING, cost=price),
               started(9001, model=GEMINI), done(9001, model=GEMINI, cost=price)]  # fmt: skip
    providers: dict[str, str] = {}
    rows_of = charge_rows([("cats", records, 0)], Wanted(), providers=providers)
    text = "".join(charge_lines(rows_of, "focus", providers))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert set(FOCUS) >= FOCUS_MANDATORY
    parents: dict[str, str] = {}
    for row in rows:
        for name in (FOCUS_MANDATORY - FOCUS_NULLABLE) | FOCUS_OF_USAGE:
            assert row[name], name
        assert re.fullmatch(r"[A-Z]{3}", row["BillingCurrency"])
        assert parents.setdefault(row["SkuPriceId"], row["SkuId"]) == row["SkuId"]
        bounds = ("BillingPeriodStart", "ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodEnd")
        moments = [row[name] for name in bounds]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each) for each in moments)
        assert moments == sorted(moments)


def test_jobs_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a charge as JSON Lines, CSV and a table that fits its terminal."""
    path = str(write(tmp_path / "cats" / "ledger.jsonl", ledger()))
    assert main(["report", path, "--jobs", "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["ledger"] for line in lines} == {"cats"}
    assert main(["report", path, "--jobs", "--format", "csv", "--to", str(tmp_path / "c.csv")]) == 0
    with (tmp_path / "c.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(lines)
    capsys.readouterr()
    assert main(["report", path, "--jobs", "--top", "3"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100
    assert main(["report", path, "--jobs", "--json"]) == 2
