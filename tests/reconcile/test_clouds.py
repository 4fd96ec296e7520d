"""Bills of clouds in shapes made from their public documents; values are invented.

aws_cur.csv: the Cost and Usage Report (docs.aws.amazon.com/cur, Line item details and Billing
details); aws_cur2.csv: CUR 2.0 (the same, table dictionary); azure.csv: the header of a real
export as kubecost/kubecost#917 has it (learn.microsoft.com, cost-usage-details-ea), days as
Azure/azure-powershell#20185 complains of them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from retouch.dialects.bill import Bill
from retouch.errors import InputRefused
from retouch.ledger.records import AnyRecord, CostRecord
from retouch.reconcile.models import with_our_models
from retouch.reconcile.reading import read_bill
from tests.reconcile.test_profiles import bill_of, compared, ledger_for
from tests.support.ledgers import done, started

OURS = ("gpt-image-1", "nova-canvas", "titan-image-generator-g1")
SHAPES = {
    "aws_cur.csv": ("aws", "USD", {
        ("2026-10-29", "nova-canvas"): "0.28", ("2026-10-30", "titan-image-generator-g1"): "0.032",
    }),
    "aws_cur2.csv": ("aws-cur2", "USD", {
        ("2026-10-29", "nova-canvas"): "0.2", ("2026-10-30", "nova-canvas"): "0.08",
    }),
    "azure.csv": ("azure", "EUR", {
        ("2026-10-29", "gpt-image-1"): "0.5137", ("2026-11-03", "gpt-image-1"): "0.1664",
    }),
}  # fmt: skip
OTHERS = {
    "aws_cur.csv": {("credit", "-0.1"), ("tax", "0.02")},
    "aws_cur2.csv": {("edpdiscount", "-0.0112")},
    "azure.csv": {("refund", "-0.04")},
}


def ours_named(name: str) -> Bill:
    """The bill with its models by our names, as the command has it."""
    return with_our_models(bill_of(name), OURS, {})


@pytest.mark.parametrize("name", SHAPES)
def test_what_it_bills_is_read_without_columns(name: str) -> None:
    """Day, model, currency and amount to the last digit; credits, tax and refunds apart."""
    profile, currency, expected = SHAPES[name]
    bill = ours_named(name)
    assert bill.profile == profile
    usage = [line for line in bill.lines if not line.category]
    assert {(line.day, line.model): line.measures["amount"] for line in usage} == {
        place: Decimal(amount) for place, amount in expected.items()
    }
    assert {line.currency for line in bill.lines} == {currency}
    others = {(line.category, line.measures["amount"]) for line in bill.lines if line.category}
    assert others == {(category, Decimal(amount)) for category, amount in OTHERS[name]}


@pytest.mark.parametrize("name", SHAPES)
def test_it_agrees_with_a_ledger_made_for_it(name: str) -> None:
    bill = ours_named(name)
    found = compared(ledger_for(bill.lines), bill)
    assert found.money_compared
    assert found.unexplained == []


def gaps(records: list[AnyRecord], bill: Bill) -> list[Decimal]:
    """What of the money is unexplained."""
    found = compared(records, bill)
    return [row.unexplained for row in found.unexplained if row.measure == "amount"]


@pytest.mark.parametrize("name", SHAPES)
def test_one_request_too_many_is_found(name: str) -> None:
    """On either side: one of ours that it does not bill, and one billed that is not ours."""
    bill = ours_named(name)
    first = next(line for line in bill.lines if not line.category)
    at = datetime.fromisoformat(f"{first.day}T10:00:00+00:00")
    cost = CostRecord(amount="0.04", currency=first.currency or "", basis="images", price="p")
    more: list[AnyRecord] = [
        started(999, at, model=first.model),
        done(999, at=at, model=first.model, cost=cost),
    ]
    assert gaps([*ledger_for(bill.lines), *more], bill) == [Decimal("-0.04")]
    rest = [line for line in bill.lines if line is not first]
    assert gaps(ledger_for(rest), bill) == [first.measures["amount"]]


def test_a_page_of_costs_of_another_kind_is_refused() -> None:
    """Days with results whose amounts are no objects: said, without a traceback."""
    page = b'{"data": [{"starting_at": "2026-10-29", "results": [{"amount": "1", "model": "m"}]}]}'
    with pytest.raises(InputRefused, match="has no lines"):
        read_bill("b.json", page)
