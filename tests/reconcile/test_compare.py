"""Bills against ledgers: one request too many or too few is found and named, unknowns explain."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.dialects.base import Endpoint
from retouch.dialects.qiniu.usage import usage_bill, usage_requests
from retouch.errors import InputRefused
from retouch.ledger.records import AnyRecord, CostRecord, Done, Resolved, UsageRecord
from retouch.reconcile.bill_cells import zone_of
from retouch.reconcile.compare import reconcile
from retouch.reconcile.differences import Reconciliation
from retouch.reconcile.ours import Ours
from retouch.reconcile.reading import read_bill
from tests.support.ledgers import (
    FIRST,
    GEMINI,
    KLING,
    begins,
    done,
    key_of,
    many,
    started,
    unknown,
)

COUNT = 10_000


def ours_of(records: Iterable[Any], offset: str = "") -> Ours:
    ours = Ours(zone_of(offset))
    ours.read(0, records)
    return ours


def itemised(dones: Iterable[Any]) -> str:
    """A bill of a line a request, with the server's time some seconds before ours."""
    lines = ["time,model,amount"]
    for each in dones:
        at = datetime.fromisoformat(each.at) - timedelta(seconds=3)
        assert each.cost is not None
        lines.append(f"{at.isoformat()},{each.model},{each.cost.amount}")
    return "\n".join(lines)


def summed(dones: Iterable[Done]) -> str:
    """A bill of a line a day and model."""
    sums: dict[tuple[str, str], list[int | Decimal]] = {}
    for each in dones:
        cell = sums.setdefault((each.at[:10], each.model), [Decimal(0), 0, 0, 0])
        assert each.cost is not None
        assert each.usage is not None
        cell[0] += Decimal(each.cost.amount)
        cell[1] += each.usage.input_tokens or 0
        cell[2] += each.usage.output_tokens or 0
        cell[3] += 1
    head = "date,model,amount,input_tokens,output_tokens,requests"
    rows = (",".join(map(str, (*cell, *values))) for cell, values in sums.items())
    return "\n".join([head, *rows])


def against(records: Iterable[Any], bill: str) -> Reconciliation:
    return reconcile(ours_of(records), read_bill("bill.csv", bill.encode()), "CNY")


def keys_named(found: Reconciliation) -> set[str]:
    return {each.key for row in found.unexplained for each in row.suspects if each.key}


@pytest.fixture(scope="module")
def ledger() -> list[AnyRecord]:
    """10,000 jobs over several hours, half of them priced by the picture (all alike)."""
    records: list[AnyRecord] = [begins(), *many(COUNT // 2)]
    cost = CostRecord(amount="0.200000", currency="CNY", basis="images", price="k")
    for number in range(COUNT // 2, COUNT):
        at = FIRST + timedelta(seconds=1.5 * number)
        records.append(started(number, at, model=KLING))
        records.append(
            done(number, at=at + timedelta(seconds=8), model=KLING, cost=cost,
                 usage=UsageRecord(images=1))
        )  # fmt: skip
    return records


@pytest.fixture(scope="module")
def dones(ledger: list[AnyRecord]) -> list[Done]:
    return [record for record in ledger if isinstance(record, Done)]


@pytest.mark.parametrize("form", [itemised, summed])
def test_a_true_bill_agrees(ledger: list[AnyRecord], dones: list[Done], form: object) -> None:
    """A bill of what was charged leaves nothing unexplained."""
    assert callable(form)
    found = against(ledger, form(dones))
    assert not found.unexplained
    assert len(found.differences) >= 2


@pytest.mark.parametrize("number", [0, 17, 2_499, 4_999, 5_000, 7_321, 9_999])
def test_a_removed_request_is_named(
    ledger: list[AnyRecord], dones: list[Done], number: int
) -> None:
    """One of 10,000 requests missing from an itemised bill is named, also among thousands of the
    same price."""
    bill = itemised(dones[:number] + dones[number + 1 :])
    found = against(ledger, bill)
    assert keys_named(found) == {key_of(number)}
    (row,) = found.unexplained
    assert (row.day, row.model) == (dones[number].at[:10], dones[number].model)


@pytest.mark.parametrize("number", [3, 4_123])
def test_a_request_missing_from_sums_is_named(
    ledger: list[AnyRecord], dones: list[Done], number: int
) -> None:
    """One request missing from a bill of daily sums is known by what it counted."""
    found = against(ledger, summed(dones[:number] + dones[number + 1 :]))
    assert key_of(number) in keys_named(found)
    assert all(row.model == GEMINI for row in found.unexplained)


@pytest.mark.parametrize("number", [11, 4_800, 5_100, 9_998])
def test_an_added_request_is_named(ledger: list[AnyRecord], dones: list[Done], number: int) -> None:
    """A request billed twice, or one that was never ours, is named by its line."""
    twice = itemised([*dones[:number], dones[number], *dones[number:]])
    (row,) = against(ledger, twice).unexplained
    assert {each.line for each in row.suspects} <= {number + 2, number + 3}
    strange = f"{itemised(dones)}\n2025-10-02T09:00:00Z,{GEMINI},0.5"
    (row,) = against(ledger, strange).unexplained
    assert [each.line for each in row.suspects] == [COUNT + 2]
    assert row.unexplained == Decimal("0.5")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 299), st.booleans(), st.booleans())
def test_any_single_change_is_found(number: int, is_removed: bool, is_itemised: bool) -> None:
    """Whichever request is removed from a bill or added to it, in either form, it is found."""
    records = [begins(), *many(300, 5)]
    dones = [record for record in records if isinstance(record, Done)]
    changed = [*dones[:number], *dones[number + 1 :]] if is_removed else [*dones, dones[number]]
    found = against(records, itemised(changed) if is_itemised else summed(changed))
    amounts = [row for row in found.unexplained if row.measure == "amount"]
    assert [(row.day, row.model) for row in amounts] == [("2025-10-02", GEMINI)]
    if is_removed or not is_itemised:
        assert key_of(number) in keys_named(found)
    else:
        assert amounts[0].suspects


def test_unknown_outcomes_explain() -> None:
    """A bill above ours is explained up to the unknown ceilings, and not beyond."""
    records = [begins(), *many(3), started(50), unknown(50)]
    dones = [record for record in records if isinstance(record, Done)]
    within = against(records, itemised([*dones, done(50, "0.5500000")]))
    assert not within.unexplained
    (verdict,) = within.verdicts
    assert verdict.doubt.attempt.key == key_of(50)
    assert verdict.charged is not None
    assert verdict.charged.amount == Decimal("0.55")
    beyond = against(records, itemised([*dones, done(50, "0.7000000")]))
    assert [row.unexplained for row in beyond.unexplained] == [Decimal("0.1")]
    assert not beyond.verdicts
    nothing = against(records, itemised(dones))
    assert [each.charged for each in nothing.verdicts] == [None]


def test_two_unknowns_are_not_guessed_apart() -> None:
    """Where one of two unknown requests was charged, the bill decides neither."""
    records = [begins(), *many(3), started(50), unknown(50), started(51), unknown(51)]
    dones = [record for record in records if isinstance(record, Done)]
    found = against(records, itemised([*dones, done(50, "0.3000000")]))
    assert not found.unexplained
    assert not found.verdicts
    both = against(records, itemised([*dones, done(50, "0.6"), done(51, "0.6")]))
    assert len(both.verdicts) == 2


def test_charged_without_an_amount_is_explained() -> None:
    """What was resolved as charged, nobody knew how much, may stand on the bill."""
    resolved = Resolved(key=key_of(50), attempt=1, verdict="charged", at=started(50).at)
    records = [begins(), *many(3), started(50), unknown(50), resolved]
    dones = [record for record in records if isinstance(record, Done)]
    assert not against(records, itemised([*dones, done(50, "0.5")])).unexplained
    assert not against(records, itemised(dones)).unexplained


def test_midnight_is_forgiven() -> None:
    """A request charged around midnight may stand on the next day's bill, but none of noon."""
    late = FIRST.replace(hour=23, minute=59, second=50)
    records = [*many(3), started(50, late), done(50, "0.3", late)]
    next_day = "\n".join([itemised(records[1::2][:3]), f"2025-10-03,{GEMINI},0.3"])
    found = against(records, next_day)
    assert not found.unexplained
    assert any(row.by_midnight for row in found.differences)
    noon = [*many(3), started(50), done(50, "0.3")]
    assert len(against(noon, next_day).unexplained) == 2


def test_the_bills_own_days() -> None:
    """A bill in Chinese time is compared in Chinese days."""
    evening = FIRST.replace(hour=20)
    records = [started(1, evening), done(1, "0.3", evening)]
    bill = read_bill(
        "b", f"日期,模型,金额\n2025/10/03,{GEMINI},¥0.3".encode(), "", zone_of("+08:00")
    )
    assert not reconcile(ours_of(records, "+08:00"), bill, "CNY").unexplained
    assert reconcile(ours_of(records), bill, "CNY").unexplained


def test_rounding_is_no_difference() -> None:
    """A bill rounded to cents a day agrees; a cent more does not."""
    records = [begins(), *many(10)]
    amounts = [each.cost.amount for each in records if isinstance(each, Done) and each.cost]
    total = sum(map(Decimal, amounts), Decimal(0))
    rounded = total.quantize(Decimal("0.01"))
    assert not against(records, f"date,model,amount\n2025-10-02,{GEMINI},{rounded}").unexplained
    more = rounded + Decimal("0.02")
    assert against(records, f"date,model,amount\n2025-10-02,{GEMINI},{more}").unexplained


def test_currencies_are_compared_apart() -> None:
    """A bill in another currency is not our sum."""
    records = [begins(), started(1), done(1, "0.3")]
    bill = f"date,model,amount,currency\n2025-10-02,{GEMINI},0.3,USD"
    found = against(records, bill)
    assert {row.currency for row in found.unexplained} == {"CNY", "USD"}


def export(values: dict[str, list[tuple[str, int]]]) -> bytes:
    """The service's usage export of one model (PROTOCOL §1, Billing)."""
    items = [
        {
            "name": name, "unit": "token", "total": sum(value for _, value in each),
            "categories": [{"name": "x", "values": [{"time": t, "value": v} for t, v in each]}],
        }
        for name, each in values.items()
    ]  # fmt: skip
    return json.dumps(
        {"status": True, "data": [{"id": GEMINI, "name": GEMINI, "items": items}]}
    ).encode()


def test_the_services_export() -> None:
    """Usage JSON is compared by tokens; a request less is named by them."""
    records = [begins(), *many(20)]
    dones = [each for each in records if isinstance(each, Done)]
    given = sum(each.usage.input_tokens or 0 for each in dones if each.usage)
    tokens = sum(each.usage.output_tokens or 0 for each in dones if each.usage)
    day = "2025-10-02T00:00:00Z"
    true = export({"input_tokens": [(day, given)], "output_tokens": [(day, tokens)]})
    assert not reconcile(ours_of(records), read_bill("u.json", true), None).unexplained
    seventh = dones[7].usage
    assert seventh is not None
    less = export(
        {
            "input_tokens": [(day, given - (seventh.input_tokens or 0))],
            "output_tokens": [(day, tokens - (seventh.output_tokens or 0))],
        }
    )
    found = reconcile(ours_of(records), read_bill("u.json", less), None)
    assert key_of(7) in keys_named(found)
    both = usage_bill("u", [true, true])
    assert both.lines[0].measures["input_tokens"] == 2 * given


def test_a_year_is_asked_for_in_months() -> None:
    """The export gives at most 31 days at once."""
    first = datetime(2025, 1, 1, tzinfo=UTC).date()
    urls = [each.url for each in usage_requests(
        Endpoint("https://api.qnaigc.com/v1"), first, first + timedelta(days=99)
    )]  # fmt: skip
    assert len(urls) == 4
    assert urls[0].startswith(
        "https://api.qnaigc.com/v2/stat/usage?granularity=day&start=2025-01-01"
    )
    assert urls[-1].endswith("end=2025-04-11T00:00:00Z")


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", "", "no column is known to hold the date"),
        ("date,model,amount", "", "the bill has no lines"),
        ("a,b,c\n1,2,3", "", "its columns: a, b, c"),
        ("date,model,amount\n2025-10-02,m,1", "amount=Betrag", "there is no column `Betrag`"),
        ("date,model,amount\n2025-10-02,m,1", "sum=amount", "the roles are date, model"),
        ("date,model,amount\nyesterday,m,1", "", "b:2:1: `yesterday` is no day"),
        ("date,model,amount\n2025-13-02,m,1", "", "is no day or time"),
        ("date,model,amount\n2025-10-02,m,abc", "", "b:2:1: `abc` is no number"),
        ("date,model,amount\n2025-10-02,m,NaN", "", "is no number"),
        ("date,model,amount,currency\n2025-10-02,m,1,XRP", "", "`XRP` is no currency"),
        ("date,model,amount\n2025-10-02", "", "has 1 cells, fewer than the header"),
        ('{"status": true}', "", "is no usage export"),
        ('{"status": true, "data": [{"items": 3}]}', "", "is no usage export"),
        ('{"status": false, "data": []}', "", "its status is false"),
        ("[" * 100_000, "", "is no JSON"),
    ],
)
def test_bad_bills_are_refused(text: str, columns: str, message: str) -> None:
    """Each kind of bad bill gets one clear message with its place."""
    with pytest.raises(InputRefused) as refused:
        read_bill("b", text.encode(), columns)
    assert message in refused.value.message


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_bill_or_refused(data: bytes) -> None:
    """No bytes make the reader fail otherwise than by refusing them."""
    try:
        found: object = read_bill("b", data).lines
    except InputRefused as refused:
        found = refused.message
    assert found


@pytest.mark.parametrize("offset", ["8", "+25:00", "Asia/Shanghai"])
def test_offsets_are_checked(offset: str) -> None:
    """What is no offset is refused."""
    with pytest.raises(InputRefused, match="write an offset"):
        zone_of(offset)


def test_random_bills_add_up() -> None:
    """Whatever is dropped and added, what is unexplained is exactly the sums' difference."""
    chance = random.Random(3)
    records = [begins(), *many(60, 9)]
    dones = [each for each in records if isinstance(each, Done)]
    for _ in range(20):
        kept = [each for each in dones if chance.random() > 0.1]
        extra = [
            done(900 + n, f"0.{chance.randint(1000, 9999)}") for n in range(chance.randint(0, 3))
        ]
        found = against(records, itemised([*kept, *extra]))
        rest = sum((row.unexplained for row in found.unexplained), Decimal(0))
        theirs = sum(Decimal(each.cost.amount) for each in [*kept, *extra] if each.cost)
        mine = sum(Decimal(each.cost.amount) for each in dones if each.cost)
        assert rest == theirs - mine
