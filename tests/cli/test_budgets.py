"""Budgets: `--budget` and the manifest's, as caps over what is counted already."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from retouch.cli.budgets import amount_of, budget_of
from retouch.cli.workspace import open_workspace
from retouch.engine.budget import Cap, utc_today
from retouch.errors import InputRefused
from retouch.ledger import read
from tests.support.priced import PRICE, Priced, is_unknown, priced, was_done

BY_IMAGE = "{currency: CNY, per_image: 0.25}"
GEMINI = "gemini-2.5-flash-image"
DONE, CEILING = Decimal("0.2715321"), Decimal("0.6")  # of tests.support.ledgers


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    return priced(tmp_path)


def _caps(
    cats: Priced, said: str | None = None, *, run: str = "", price: str = BY_IMAGE, of: str = ""
) -> list[Cap]:
    budget = f", budget: {of}" if of else ""
    cats.write(price=f"{price}{budget}", more=f"run: {{budget: {run}}}" if run else "")
    workspace = open_workspace(cats.manifest, cats.outputs, rehearse=False)
    return list(budget_of(workspace, read(cats.ledger), said).caps)


def test_a_total_counts_what_is_on_file_confirmed_and_open_at_its_ceiling(cats: Priced) -> None:
    """What may have been charged counts in full: a budget never rests on luck."""
    cats.write(price=BY_IMAGE)
    cats.fill([was_done, is_unknown])
    [cap] = _caps(cats, run="{total: 50, currency: CNY}")
    assert (cap.limit.amount, cap.counted) == (Decimal(50), DONE + CEILING)
    assert cap.counts_history


def test_a_budget_for_one_run_begins_at_nothing(cats: Priced) -> None:
    """What earlier runs cost is no part of this one."""
    cats.write(price=BY_IMAGE)
    cats.fill([was_done])
    [cap] = _caps(cats, run="{amount: 50, currency: CNY}")
    assert (cap.counted, cap.counts_history) == (Decimal(0), False)


def test_a_days_budget_counts_that_day_alone(cats: Priced) -> None:
    """The ledger's charges are of another day: none counts today."""
    cats.write(price=BY_IMAGE)
    cats.fill([was_done])
    [cap] = _caps(cats, run="{per_day: 50, currency: CNY}")
    assert (cap.counted, cap.day) == (Decimal(0), utc_today())


def test_the_flag_stands_for_the_runs_budget_and_leaves_what_counts_history(cats: Priced) -> None:
    """A total and a day's cap are promises over many runs: no single one lifts them."""
    caps = _caps(cats, "7", run="{amount: 1, total: 2, per_day: 3, currency: CNY}")
    assert [str(cap.limit.amount) for cap in caps] == ["2", "3", "7"]


def test_a_models_budget_counts_that_model_alone(cats: Priced) -> None:
    """Its cap bears the model's name, and the flag leaves it."""
    caps = _caps(cats, "7", of="{amount: 5, currency: CNY}")
    assert [(str(cap.limit.amount), cap.model) for cap in caps] == [("7", None), ("5", GEMINI)]


def test_a_flag_in_another_currency_is_refused(cats: Priced) -> None:
    """No rate is known: 7 USD bounds no yuan."""
    assert [cap.limit.currency for cap in _caps(cats, "7")] == ["CNY"]
    with pytest.raises(InputRefused, match="the prices are in CNY"):
        _caps(cats, "7USD")


def test_no_budget_holds_a_model_whose_cost_has_no_bound(cats: Priced) -> None:
    """Unpriced, or priced by tokens of which nothing says how many: refused at its place."""
    with pytest.raises(InputRefused, match="no price"):
        _caps(cats, "7", price="null")
    with pytest.raises(InputRefused, match=r"cats\.yaml:\d+:\d+: .*has no price, so"):
        _caps(cats, run="{amount: 5, currency: CNY}", price="null")
    assert _caps(cats, "7", price=PRICE)  # this model's tokens are bounded by its capabilities


@pytest.mark.parametrize(
    ("said", "amount", "currency"),
    [("0.28", "0.28", ""), ("50CNY", "50", "CNY"), (" 50 USD ", "50", "USD")],
)
def test_amounts_are_read_with_and_without_their_currency(
    said: str, amount: str, currency: str
) -> None:
    """As Decimals, to the last digit."""
    assert amount_of("--budget", said) == (Decimal(amount), currency)


@pytest.mark.parametrize(
    "said", ["", "-1", "1e3", "1,000", "NaN", "٣", "1.2.3", "5 yuan", "5XXQ", "1" * 14]
)
def test_what_is_no_amount_is_refused_by_its_option(said: str) -> None:
    """Neither guessed nor rounded."""
    with pytest.raises(InputRefused, match="--budget"):
        amount_of("--budget", said)
