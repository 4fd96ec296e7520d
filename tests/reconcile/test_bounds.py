"""How far a bill and a ledger may be apart and still agree, and what is said where they do not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from retouch.dialects.bill import Bill
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord, UsageRecord
from retouch.money import Money
from retouch.reconcile import matching
from retouch.reconcile.bill_cells import zone_of
from retouch.reconcile.compare import reconcile
from retouch.reconcile.differences import Reconciliation
from retouch.reconcile.hints import hints
from retouch.reconcile.matching import is_itemised, offsets, unmatched
from retouch.reconcile.ours import Ours
from retouch.reconcile.reading import read_bill
from retouch.report.sums import Period
from tests.reconcile.test_found import CENT, DAY, entry, line, lines_of, ours_of, row
from tests.support.ledgers import FIRST, GEMINI, done, key_of, started, unknown


def bill_of(head: str, *rows: str) -> Bill:
    return read_bill("b", "\n".join([head, *rows]).encode())


def settled(found: Reconciliation) -> list[Money | None]:
    return [each.charged for each in found.verdicts]


@pytest.mark.parametrize(
    ("ours", "rows", "is_rounding"),
    [
        ("0.505", ["0.50"], True),
        ("0.5051", ["0.50"], False),
        ("0.495", ["0.50"], True),
        ("0.4949", ["0.50"], False),
        ("0.51", ["0.20", "0.30"], True),  # half a cent of each row that was summed
        ("0.5101", ["0.20", "0.30"], False),
        ("0.005", [], True),
        ("0.0051", [], False),
    ],
)
def test_a_row_of_a_bill_may_be_off_by_half_of_its_last_digit(
    ours: str, rows: list[str], *, is_rounding: bool
) -> None:
    """And by no more; a row that rounds to nothing may not be there."""
    here = (f"2025-10,{DAY},{GEMINI},{amount}" for amount in rows)
    bill = bill_of("计费月,日期,模型,费用", "2025-11,2025-11-02,other,1.00", *here)
    found = reconcile(ours_of([started(1), done(1, ours)]), bill, "CNY")
    (amount,) = (each for each in found.differences if (each.day, each.measure) == (DAY, "amount"))
    assert amount.is_settled == is_rounding
    assert bool(amount.rounding) == is_rounding
    assert all(isinstance(each, Decimal) for each in (amount.ours, amount.theirs, amount.gap))


def test_sums_of_any_length_are_exact() -> None:
    """More digits than Python's own Decimals keep."""
    long, tiny = "123456789012345.000000000000000001", "0.000000000000000002"
    records = [each for n, amount in enumerate((long, tiny)) for each in (
        started(n), done(n, cost=CostRecord(amount=amount, currency="CNY", basis="tokens",
                                            price="p")))]  # fmt: skip
    found = row(reconcile(ours_of(records), lines_of({"amount": long}), "CNY"), "amount")
    assert Fraction(found.ours) == Fraction(long) + Fraction(tiny)
    assert found.gap == -Decimal(tiny)


def test_what_midnight_moves_is_forgiven_in_every_measure_to_the_last_one() -> None:
    """As many requests and pictures as were charged then, and no more."""
    late = FIRST.replace(hour=23, minute=59, second=50)
    usage = UsageRecord(images=1)
    records: list[AnyRecord] = [each for n in range(4) for each in (
        started(n), done(n, "0.30", usage=usage))]  # fmt: skip
    records += [started(9, late), done(9, "0.30", late, usage=usage)]
    head = "date,model,amount,requests,images"
    moved = bill_of(head, f"{DAY},{GEMINI},1.20,4,4", f"2025-10-03,{GEMINI},0.30,1,1")
    found = reconcile(ours_of(records), moved, "CNY")
    assert found.unexplained == []
    assert {each.measure for each in found.differences if each.by_midnight} == {
        "amount", "requests", "images",
    }  # fmt: skip
    more = bill_of(head, f"{DAY},{GEMINI},0.90,3,3", f"2025-10-03,{GEMINI},0.60,2,2")
    assert len(reconcile(ours_of(records), more, "CNY").unexplained) == 6


def test_a_request_without_its_terms_is_taken_for_one_picture() -> None:
    """Of an old ledger; two of them reach to two."""
    records = [each for n in (1, 2) for each in (started(n, terms=None), unknown(n))]
    found = row(reconcile(ours_of(records), lines_of({"images": "3"}), "CNY"), "images")
    assert (found.explained, found.unexplained) == (Decimal(2), Decimal(1))


def test_without_a_price_money_is_not_settled() -> None:
    """It is counted of how many requests nobody knows what they should have cost; what else is
    compared is settled."""
    records = [started(1, ceiling=None), done(1, cost=None), started(2), done(2, "0.5")]
    bill = lines_of({"amount": "0.5", "requests": "2"})
    found = reconcile(ours_of(records), bill, "CNY")
    assert (row(found, "amount").unpriced, row(found, "requests").unpriced) == (1, 0)
    assert [each.measure for each in found.unexplained] == ["amount"]


def test_a_verdict_needs_the_money_alone() -> None:
    """What one unknown request counted beside it is explained by the same."""
    records = [started(1), done(1, "0.5"), started(2), unknown(2)]
    bill = lines_of({"amount": "0.9", "requests": "2"})
    assert settled(reconcile(ours_of(records), bill, "CNY")) == [Money(Decimal("0.4"), "CNY")]
    tokens = lines_of({"amount": "0.5", "requests": "2"})
    assert settled(reconcile(ours_of(records), tokens, "CNY")) == []


def test_days_outside_of_what_is_asked_for_are_not_ours() -> None:
    """Neither what was charged then, nor what is unknown."""
    later = FIRST + timedelta(days=3)
    records: list[AnyRecord] = [started(1), done(1), started(2, later), done(2, at=later)]
    records += [started(3, later), unknown(3), started(4), unknown(4)]
    for period, keys, doubts in (
        (Period("2025-10-02", "2025-10-04"), [1], [4]),
        (Period("2025-10-03"), [2], [3]),
        (None, [1, 2], [3, 4]),
    ):
        ours = Ours(zone_of(""), period)
        ours.read(0, records)
        assert [each.key for each in ours.entries] == [key_of(each) for each in keys]
        assert [each.attempt.key for each in ours.doubts] == [key_of(each) for each in doubts]


def _alike(bill_has: Iterable[int], *, later: float, itemised: bool | None = True) -> list[str]:
    """Ten requests alike and three that are not, the clocks apart: which of ours are named."""
    records: list[AnyRecord] = []
    rows = []
    for number in range(13):
        at = FIRST + timedelta(seconds=number * 97 + number * number)
        amount = "0.20" if number < 10 else f"0.{number}"
        records += [started(number, at), done(number, amount, at + timedelta(seconds=later))]
        if number in bill_has:
            rows.append({"date": at.isoformat(), "model": GEMINI, "amount": amount})
    bill = read_bill("b", json.dumps(rows).encode())
    if itemised is not None:
        bill = Bill("b", bill.lines, is_itemised=itemised)
    found = reconcile(ours_of(records), bill, "CNY")
    return [each.text.partition(",")[0] for each in row(found, "amount").suspects]


@pytest.mark.parametrize("later", [0, 200.0, -200.0])
@pytest.mark.parametrize("missing", [{0, 9}, {4, 5}, {0, 1}, {8, 9}, {3}])
def test_how_far_clocks_are_apart_is_learnt_from_requests_that_cannot_be_mistaken(
    missing: set[int], later: float
) -> None:
    """Two gone at once, at the ends or in between, are the two that are named."""
    bill_has = set(range(13)) - missing
    for itemised in (True, None):
        named = _alike(bill_has, later=later, itemised=itemised)
        assert set(named) == {f"not on the bill: cats/{each % 5}/{each}.jpg" for each in missing}
    if len(missing) == 1:
        (first, *_) = _alike(bill_has, later=later, itemised=False)
        assert first.startswith("1 of 10 not on the bill")


def test_clocks_are_compared_by_amounts_as_the_bill_rounds_them() -> None:
    """A half upwards."""
    ours = [entry(1, 10, "0.2715321"), entry(2, 20, "0.265"), entry(3, 33, "0.3")]
    theirs = [line(1, 7, "0.27"), line(2, 17, "0.28"), line(3, 30, "0.30")]
    assert offsets(ours, theirs, ("amount",), CENT) == [3.0]
    alike = [entry(1, 10, "0.2715321"), entry(2, 20, "0.275")]
    assert offsets(alike, [line(1, 7, "0.27"), line(2, 17, "0.28")], ("amount",), CENT) == [3, 3]


def test_a_request_that_cost_nothing_keeps_no_other_from_its_partner() -> None:
    """It has none on the bill itself; those after it have."""
    ours = [entry(1, 0, "0"), entry(2, 1, "0.30"), entry(3, 2, "0.40")]
    left = unmatched(ours, [line(1, None, "0.31"), line(2, None, "0.41")], ("amount",), CENT)
    assert ([each.key for each in left.ours], left.theirs) == (["k1"], ())


@pytest.mark.parametrize(("surplus", "is_told"), [(2, True), (3, False)])
def test_too_many_alike_are_not_told_apart_by_their_times(
    monkeypatch: pytest.MonkeyPatch, surplus: int, *, is_told: bool
) -> None:
    """Up to that number they are."""
    monkeypatch.setattr(matching, "_TIMED", 2)
    ours = [entry(number, 100 * number) for number in range(6)]
    kept = [line(number, 100 * number) for number in range(6 - surplus)]
    left = unmatched(ours, kept, ("amount",), CENT, 0.0)
    last = [f"k{number}" for number in range(6 - surplus, 6)]
    assert (sorted(each.key for each in left.ours) == last) == is_told
    assert len(left.ours) == surplus


def test_lines_that_say_nothing_of_requests_may_be_requests() -> None:
    """Two of them, beside two of ours."""
    assert is_itemised([entry(1, 1), entry(2, 2)], [line(1, 1), line(2, 2)])


def test_of_offsets_that_explain_as_much_the_nearest_is_named() -> None:
    """West as east."""
    for hour, offset, day in ((0, "-01:00", "2025-10-01"), (23, "+01:00", "2025-10-03")):
        at = FIRST.replace(hour=hour, minute=30)
        ours = ours_of([started(1, at), done(1, "0.3", at), started(2), done(2, "0.4")])
        bill = bill_of(
            "date,model,amount,currency", f"{DAY},{GEMINI},0.4,CNY", f"{day},{GEMINI},0.3,CNY"
        )
        found = reconcile(ours, bill, None)
        told = {each.kind: each.value for each in hints(ours, bill, None, found)}
        assert told["offset"] == offset


def test_a_factor_is_that_of_the_money_alone() -> None:
    """Lines that say none, and requests that have no price, change nothing of it."""
    records = [started(1), done(1, "0.50"), started(2, ceiling=None), done(2, cost=None),
               started(3, model="other"), done(3, "1.00", model="other")]  # fmt: skip
    bill = bill_of(
        "date,model,amount,images", f"{DAY},other,1.06,1", f"{DAY},{GEMINI},0.53,2",
        f"2025-10-04,{GEMINI},,7",
    )  # fmt: skip
    ours = ours_of(records)
    found = reconcile(ours, bill, "CNY")
    told = {each.kind: each.value for each in hints(ours, bill, "CNY", found)}
    assert told["factor"] == "1.06"


def test_what_is_more_than_the_ledger_is_named_by_its_line() -> None:
    """Its number, and its money where it says no currency."""
    ours = ours_of([started(1), done(1, "0.2", usage=UsageRecord(images=1))])
    found = reconcile(ours, lines_of({"amount": "0.9", "images": "4"}), "CNY")
    assert [each.line for each in row(found, "amount").suspects] == [2]
    alone = reconcile(ours_of([]), lines_of({"amount": "1"}), "CNY")
    assert [each.text for each in row(alone, "amount").suspects] == ["not in the ledger: line 2, 1"]


def test_a_ceiling_in_another_currency_explains_nothing() -> None:
    """Of the bill's currency, or of any where the bill says none."""
    dollar = AmountRecord(amount="5", currency="USD")
    ours = ours_of([started(1, ceiling=dollar), unknown(1, ceiling=dollar)])
    assert row(reconcile(ours, lines_of({"amount": "1"}), "CNY"), "amount").unexplained == 1
    assert row(reconcile(ours, lines_of({"amount": "1"}), None), "amount").unexplained == 0
