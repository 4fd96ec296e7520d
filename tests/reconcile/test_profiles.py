"""Bills in the shapes of real exports, against ledgers made for them: read without --columns, to
the last digit, and one request too few is found."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from retouch.dialects.bill import Bill, Line
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord, Resolved, UsageRecord
from retouch.reconcile.bill_cells import zone_of
from retouch.reconcile.compare import Whole, reconcile
from retouch.reconcile.differences import Reconciliation
from retouch.reconcile.hints import hints
from retouch.reconcile.models import pairs_of, with_our_models
from retouch.reconcile.ours import Ours
from retouch.reconcile.reading import Said, read_bill
from tests.support.ledgers import begins, done, key_of, started, unknown

BILLS = Path(__file__).with_name("bills")
SHAPES = {
    "focus.csv": "focus", "litellm.csv": "litellm", "openai_cost.csv": "openai",
    "openai_costs.json": "openai", "openrouter.csv": "openrouter", "qiniu.csv": "qiniu",
    "qiniu.xlsx": "qiniu", "volc.csv": "volcengine", "volc_gbk.csv": "volcengine",
}  # fmt: skip


def bill_of(name: str) -> Bill:
    return read_bill(name, (BILLS / name).read_bytes())


def ledger_for(lines: Iterable[Line], divided_by: Decimal = Decimal(1)) -> list[AnyRecord]:
    """A ledger whose requests add up to the usage lines of a bill: as many requests as it says,
    the whole of its figures on the first of each line."""
    records: list[AnyRecord] = [begins()]
    number = 0
    for line in lines:
        if line.category:
            continue
        at = line.at or datetime.fromisoformat(f"{line.day}T12:00:00+00:00")
        model = line.model.rpartition("/")[2]
        for place in range(int(line.measures.get("requests", 1))):
            number += 1
            first = place == 0
            counts = {
                name: int(line.measures.get(name, 0)) if first else 0
                for name in ("input_tokens", "output_tokens", "total_tokens", "images")
            }
            amount = line.measures["amount"] / divided_by if first else Decimal(0)
            records.append(started(number, at, model=model))
            records.append(
                done(
                    number,
                    at=at + timedelta(seconds=3),
                    model=model,
                    usage=msgspec.convert(counts, UsageRecord),
                    cost=CostRecord(
                        amount=f"{amount:.9f}",
                        currency=line.currency or "CNY",
                        basis="tokens",
                        price="p",
                    ),
                )
            )
    return records


def ours_of(records: Iterable[AnyRecord], offset: str = "") -> Ours:
    ours = Ours(zone_of(offset))
    ours.read(0, records)
    return ours


def compared(records: Iterable[AnyRecord], bill: Bill) -> Reconciliation:
    ours = ours_of(records)
    return reconcile(ours, with_our_models(bill, ours.models, {}), "CNY")


@pytest.mark.parametrize(("name", "profile"), SHAPES.items())
def test_an_export_is_known_and_agrees_to_the_last_digit(name: str, profile: str) -> None:
    """Each shape is told by its header alone; money is compared and nothing is left."""
    bill = bill_of(name)
    assert bill.profile == profile
    found = compared(ledger_for(bill.lines), bill)
    assert found.money_compared
    assert found.unexplained == []
    theirs = sum((row.theirs for row in found.differences if row.measure == "amount"), Decimal(0))
    ours = sum((row.ours for row in found.differences if row.measure == "amount"), Decimal(0))
    assert theirs == ours > 0


@pytest.mark.parametrize("name", SHAPES)
def test_a_charge_that_is_not_on_an_export_is_found(name: str) -> None:
    """One more request of ours on any day is unexplained."""
    bill = bill_of(name)
    first = next(line for line in bill.lines if not line.category)
    records = ledger_for(bill.lines)
    at = datetime.fromisoformat(f"{first.day}T10:00:00+00:00")
    cost = CostRecord(amount="0.27", currency=first.currency or "CNY", basis="tokens", price="p")
    model = first.model.rpartition("/")[2]
    records += [started(999_999, at, model=model), done(999_999, at=at, model=model, cost=cost)]
    found = compared(records, bill)
    amounts = [row for row in found.unexplained if row.measure == "amount"]
    assert [row.unexplained for row in amounts] == [Decimal("-0.27")]


def test_the_same_rows_in_other_clothes_are_the_same_bill(tmp_path: Path) -> None:
    """GBK, a workbook, gzip, a ZIP, Parquet and UTF-16 change nothing, nor which row is which."""
    plain = (BILLS / "qiniu.csv").read_bytes()
    text = plain.decode("utf-8-sig")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("bill.csv", plain)
    table = pyarrow.csv.read_csv(io.BytesIO(plain))
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    forms = {
        "gbk": text.encode("gb18030"),
        "utf-16": text.encode("utf-16"),
        "gzip": gzip.compress(plain),
        "zip": packed.getvalue(),
        "xlsx": (BILLS / "qiniu.xlsx").read_bytes(),
        "parquet": (tmp_path / "b.parquet").read_bytes(),
        "preamble": f"账单导出\n用户,1234\n\n{text}合计,,,,,,,15.00\n".encode(),
        "empty columns": "\n".join(f"{line},,," for line in text.splitlines()).encode(),
    }
    expected = [(line.day, line.model, line.measures) for line in bill_of("qiniu.csv").lines]
    for form, data in forms.items():
        bill = read_bill(form, data)
        assert [(line.day, line.model, line.measures) for line in bill.lines] == expected, form
        first = 5 if form == "preamble" else 2
        numbers = [first + at for at in range(len(expected))]
        assert [line.number for line in bill.lines] == numbers, form


def test_money_is_compared_before_vouchers_and_the_rest_is_named() -> None:
    """Of several columns of money one is compared; those with figures that are not are named."""
    bill = bill_of("volc.csv")
    assert bill.columns["amount"] == "优惠后金额"
    assert bill.unused_money == ("原价", "优惠金额", "应付金额")


def test_credits_and_tax_are_lines_of_their_own() -> None:
    """They stand for themselves, and explain or accuse no request."""
    bill = bill_of("focus.csv")
    found = compared(ledger_for(bill.lines), bill)
    assert [(line.category, line.measures["amount"]) for line in found.others] == [
        ("credit", Decimal("-5.00")),
        ("tax", Decimal("3.21")),
    ]


def test_a_discount_on_everything_is_named_as_a_factor() -> None:
    """List prices in the ledger, 10 % off on the bill: the factor is found, and explains it."""
    bill = bill_of("volc.csv")
    ours = ours_of(ledger_for(bill.lines, divided_by=Decimal("0.9")))
    found = reconcile(ours, bill, None)
    assert found.unexplained
    (hint,) = hints(ours, bill, None, found)
    assert (hint.kind, hint.value) == ("factor", "0.9")
    assert reconcile(ours.moved(factor=Decimal("0.9")), bill, None).unexplained == []


def test_another_offset_is_named_where_it_explains_more() -> None:
    """Charges late in the evening UTC stand on China's next day."""
    records: list[AnyRecord] = []
    for number, hour in enumerate((1, 9, 17, 20, 22), 1):
        at = datetime(2026, 10, 29, hour, 30, tzinfo=UTC)
        records += [started(number, at), done(number, "0.270000", at)]
    text = (
        "date,model,amount\n2026-10-29,gemini-2.5-flash-image,0.54\n"
        "2026-10-30,gemini-2.5-flash-image,0.81\n"
    )
    bill = read_bill("b", text.encode())
    ours = ours_of(records)
    found = reconcile(ours, bill, "CNY")
    (hint,) = hints(ours, bill, "CNY", found)
    assert (hint.kind, hint.explains) == ("offset", 2)
    assert not reconcile(ours_of(records, hint.value), bill, "CNY").unexplained


def test_an_empty_cell_is_no_zero() -> None:
    """Of what the bill does not state nothing is said; what it states is compared."""
    text = "date,model,amount,images\n2025-10-02,gemini-2.5-flash-image,0.2715321,\n"
    found = compared([started(1), done(1)], read_bill("b", text.encode()))
    assert {row.measure for row in found.differences} == {"amount"}
    assert not found.unexplained


def test_without_money_nothing_is_agreed() -> None:
    """Tokens alone that agree are no agreement about money."""
    text = "date,model,input_tokens\n2025-10-02,gemini-2.5-flash-image,301\n"
    found = compared([started(1), done(1)], read_bill("b", text.encode()))
    assert not found.unexplained
    assert not found.money_compared


def test_a_bill_of_months_is_compared_by_month() -> None:
    """2026-10 and 202610 are months, on our side too."""
    for month in ("2025-10", "202510", "2025年10月"):
        text = f"月份,model,amount\n{month},gemini-2.5-flash-image,0.5430642\n"
        later = datetime(2025, 10, 20, 8, tzinfo=UTC)
        records: list[AnyRecord] = [started(1), done(1), started(2, later), done(2, at=later)]
        (row,) = compared(records, read_bill("b", text.encode())).differences
        assert (row.day, row.ours, row.gap) == ("2025-10", Decimal("0.5430642"), Decimal(0))


def test_new_api_quota_is_money() -> None:
    """500,000 units are 1 USD unless said otherwise; top-ups are no usage."""
    head = "id,created_at,type,model_name,quota,prompt_tokens,completion_tokens"
    rows = "1,1759392000,2,gpt-image-1,27150,301,1290\n2,1759392000,1,,500000,0,0"
    usage, top_up = read_bill("b", f"{head}\n{rows}\n".encode()).lines
    assert (usage.measures["amount"], usage.currency) == (Decimal("0.0543"), "USD")
    assert usage.day == "2025-10-02"
    assert top_up.category
    said = Said(quota_per_unit="1000000")
    assert read_bill("b", f"{head}\n{rows}\n".encode(), said=said).lines[0].measures[
        "amount"
    ] == Decimal("0.02715")


def test_gcp_names_models_in_words() -> None:
    """A SKU means the one model of ours whose words it has; tax is its own line."""
    text = (
        "Billing account name,Service description,SKU description,Usage start date,Cost ($),"
        "Currency,Cost type\n"
        "a,Gemini API,Gemini 2.5 Flash Image output tokens,2026-10-29,0.39,USD,Usage\n"
        "a,Gemini API,Gemini 2.5 Flash Image input tokens,2026-10-29,0.01,USD,Usage\n"
        "a,Invoice,Tax,2026-10-29,0.04,USD,Tax\n"
    )
    bill = read_bill("b", text.encode())
    known = frozenset({"gemini-2.5-flash-image", "gemini-3-pro-image-preview"})
    named = with_our_models(bill, known, {})
    usage = [line for line in named.lines if not line.category]
    assert [(line.model, line.measures["amount"]) for line in usage] == [
        ("gemini-2.5-flash-image", Decimal("0.40"))
    ]
    assert [line.category for line in named.lines if line.category] == ["tax"]


def test_models_are_mapped_as_the_user_says() -> None:
    """THEIRS may hold a star and commas; OURS is what stands after the last sign of equality."""
    pairs = pairs_of(["fal-ai/kling*=kling-v2", "gpt-image-1, *=gpt-image-1"])
    text = 'date,model,amount\n2026-10-29,fal-ai/kling/v2,0.2\n2026-10-29,"gpt-image-1, x",1\n'
    named = with_our_models(read_bill("b", text.encode()), frozenset(), pairs)
    assert [line.model for line in named.lines] == ["kling-v2", "gpt-image-1"]


def test_json_logs_are_a_table_too() -> None:
    """LiteLLM's /spend/logs as JSON is its CSV."""
    rows = [
        {"request_id": "a", "spend": 0.05482, "startTime": "2026-10-29T04:13:31Z",
         "custom_llm_provider": "openai", "model": "gpt-image-1", "prompt_tokens": 290}
    ]  # fmt: skip
    (line,) = read_bill("b", json.dumps(rows).encode()).lines
    assert (line.id, line.measures["amount"]) == ("a", Decimal("0.05482"))


NOON = datetime(2025, 10, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("as_of", "decided"),
    [
        (datetime(2025, 10, 2, 18, tzinfo=UTC), 0),  # the day is not over
        (datetime(2025, 10, 3, 5, 59, tzinfo=UTC), 0),  # not by the margin
        (datetime(2025, 10, 3, 6, tzinfo=UTC), 1),
    ],
)
def test_a_day_is_settled_only_when_it_was_over(as_of: datetime, decided: int) -> None:
    """A bill made before a day's end says nothing of what it does not hold."""
    text = "date,model,amount\n2025-10-02,gemini-2.5-flash-image,0.2715321\n"
    records: list[AnyRecord] = [
        started(1, NOON),
        done(1, at=NOON),
        started(2, NOON),
        unknown(2, NOON),
    ]
    ours = ours_of(records)
    bill = read_bill("b", text.encode())
    found = reconcile(ours, bill, "CNY", Whole(as_of))
    assert len(found.verdicts) == decided


def test_nothing_is_settled_beside_a_day_with_an_unexplained_row() -> None:
    """A wrong zone shows on a neighbouring day: what is unknown stays so."""
    text = (
        "date,model,amount\n2025-10-02,gemini-2.5-flash-image,0.2715321\n"
        "2025-10-03,gemini-2.5-flash-image,0.5\n"
    )
    records: list[AnyRecord] = [
        started(1, NOON),
        done(1, at=NOON),
        started(2, NOON),
        unknown(2, NOON),
    ]
    found = reconcile(
        ours_of(records), read_bill("b", text.encode()), "CNY",
        Whole(datetime(2025, 11, 1, tzinfo=UTC)),
    )  # fmt: skip
    assert found.verdicts == ()


def test_a_day_that_the_bill_does_not_speak_of_settles_nothing() -> None:
    """Within its span, every row explained, and not a line for the model that day: a bill that
    holds none of a model may leave it out altogether."""
    text = "date,model,amount\n2025-10-02,gemini-2.5-flash-image,0.2715321\n"
    records: list[AnyRecord] = [
        started(1, NOON),
        done(1, at=NOON),
        started(2, NOON, model="kling-v2"),
        unknown(2, NOON, model="kling-v2"),
    ]
    found = reconcile(
        ours_of(records), read_bill("b", text.encode()), "CNY",
        Whole(datetime(2025, 11, 1, tzinfo=UTC)),
    )  # fmt: skip
    assert found.unexplained == []
    assert found.verdicts == ()


def test_a_corrected_verdict_is_one_charge() -> None:
    """What a later verdict takes the place of is ours no more."""
    verdicts = [
        Resolved(
            key=key_of(1), attempt=1, verdict="charged", note="",
            amount=AmountRecord(amount=amount, currency="CNY"),
        )
        for amount in ("0.50", "0.27")
    ]  # fmt: skip
    ours = ours_of([started(1), unknown(1), *verdicts])
    assert [entry.measures["amount"] for entry in ours.entries] == [Decimal("0.27")]


@pytest.mark.parametrize("shared", [2, 4])
def test_what_a_copy_of_a_ledger_repeats_is_counted_once(shared: int) -> None:
    """A whole copy, and one made while an attempt was open: each charge and each doubt is ours
    once."""
    records: list[AnyRecord] = [started(1), done(1), started(2), unknown(2)]
    ours = Ours(zone_of(""))
    ours.read(0, records[:shared] if shared < len(records) else records)
    ours.read(1, records, shared)
    assert [entry.key for entry in ours.entries] == [key_of(1)]
    assert [doubt.attempt.key for doubt in ours.doubts] == [key_of(2)]
