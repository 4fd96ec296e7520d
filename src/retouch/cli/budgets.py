"""`--budget` and the manifest's budgets, as caps over what is counted already."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol

from retouch.cli.sharding import Split
from retouch.cli.workspace import Workspace
from retouch.costs.pricing import has_ceiling
from retouch.engine.budget import Cap, Purse, utc_today
from retouch.errors import InputRefused
from retouch.ledger.state import Replay
from retouch.manifest import Budget as BudgetSetting
from retouch.manifest import Location, Model
from retouch.money import CODES, NO_CURRENCY, Money
from retouch.text import one_clean_line


def add_budget(parser: argparse.ArgumentParser) -> None:
    """`--budget`."""
    parser.add_argument(
        "--budget",
        metavar="AMOUNT",
        help="the most this run may cost, like 50 or 50CNY; instead of the manifest's",
    )


class Counted(Protocol):
    """What counts towards a budget: what is confirmed, and what is open at its ceiling."""

    def counted(self, currency: str, model: str | None = None, day: str | None = None) -> Money: ...


def budget_of(
    workspace: Workspace,
    state: Replay,
    said: str | None,
    *,
    split: Split | None = None,
    counted: Counted | None = None,
) -> Purse:
    """All caps of a run; of a shard its shares, towards which `counted` counts (default: `state`).
    Raises InputRefused for an amount that is none, for a currency that is not the prices' and for
    an unpriced model."""
    manifest = workspace.loaded.manifest
    refuse_restated(workspace, state)
    counted = counted or state
    is_shared = split is not None and not split.has_whole
    share = f", a share for {split.said}" if split is not None and is_shared else ""
    caps = list(_caps("the budget", manifest.run.budget, counted, None, share))
    if said is not None:
        amount = _amount(said, workspace)
        caps = [cap for cap in caps if cap.counts_history]
        caps.append(Cap(f"the budget (--budget{share})", split.amount(amount) if split else amount))
    for model in manifest.models:
        caps += _caps(f"the budget of {model.name}", model.budget, counted, model, share)
    _refuse_unbounded(workspace, caps)
    return Purse(caps)


def refuse_restated(workspace: Workspace, state: Replay) -> None:
    """Money of two currencies is never added: a price restated in another one waits until what is
    open in the old one is settled, and a total over both is no total. Raises InputRefused."""
    manifest = workspace.loaded.manifest
    problems = []
    for index, model in enumerate(manifest.models):
        price = workspace.prices[model.name]
        alike = [each.name for each in manifest.models if each.model == model.model]
        stated = {held.currency for name in alike if (held := workspace.prices[name])}
        others = state.open_currencies(model.model) - stated - {NO_CURRENCY}
        if price is not None and others:
            problems.append(
                workspace.loaded.problem(
                    ("models", index),
                    f"{one_clean_line(model.model, 60)} is priced in {price.currency} now, and "
                    f"charges in {' and '.join(sorted(others))} are open",
                    "run with the old price until its tasks are fetched, or `retouch resolve` them",
                )
            )
    settings: list[tuple[Location, BudgetSetting | None, str | None]]
    settings = [(("run", "budget"), manifest.run.budget, None)]
    settings += [
        (("models", index, "budget"), model.budget, model.model)
        for index, model in enumerate(manifest.models)
    ]
    for where, setting, of_model in settings:
        if setting is None or (setting.total is None and setting.per_day is None):
            continue
        others = state.currencies(of_model) - {setting.currency, NO_CURRENCY}
        if others:
            problems.append(
                workspace.loaded.problem(
                    where,
                    f"a budget in {setting.currency} over a ledger with amounts in "
                    f"{' and '.join(sorted(others))}",
                    "state it in that currency, or give the manifest a new `name`",
                )
            )
    if problems:
        raise InputRefused(problems)


def _refuse_unbounded(workspace: Workspace, caps: list[Cap]) -> None:
    """A budget holds only where the most that a request may cost can be said."""
    problems = []
    for index, model in enumerate(workspace.loaded.manifest.models):
        price = workspace.prices[model.name]
        capped = any(cap.model in (None, model.name) for cap in caps)
        tokens = workspace.dialect.capabilities(model.like or model.model).tokens
        if not capped or (price is not None and has_ceiling(price, tokens)):
            continue
        what = f"model `{one_clean_line(model.model, 60)}` has "
        if price is None:
            what += "no price today, so no budget can hold it"
            remedy = "add a price that holds today, or take the budget out"
        else:
            what += "a price by tokens, and nothing says how many a request may count at most"
            remedy = "add `ceiling_input_tokens` and `ceiling_output_tokens_per_image` to its price"
        problems.append(workspace.loaded.problem(("models", index), what, remedy))
    if problems:
        raise InputRefused(problems)


def _caps(
    name: str, setting: BudgetSetting | None, counted: Counted, of: Model | None, share: str
) -> Iterator[Cap]:
    """A setting's caps. What lanes of one model cost before counts for each of them."""
    if setting is None:
        return
    currency = setting.currency
    model, lane = (of.model, of.name) if of else (None, None)
    today = utc_today()
    if setting.amount is not None:
        yield Cap(f"{name} for one run{share}", Money(setting.amount, currency), model=lane)
    if setting.total is not None:
        so_far = counted.counted(currency, model).amount
        limit = Money(setting.total, currency)
        yield Cap(f"{name} in total{share}", limit, so_far, lane, counts_history=True)
    if setting.per_day is not None:
        so_far = counted.counted(currency, model, today).amount
        limit = Money(setting.per_day, currency)
        name = f"{name} for a day{share}"
        yield Cap(name, limit, so_far, lane, counts_history=True, day=today)


def _amount(said: str, workspace: Workspace) -> Money:
    """`50`, `50CNY` or `50 CNY`; every model must be priced in that one currency."""
    prices = workspace.prices
    unpriced = [model for model, price in prices.items() if price is None]
    if unpriced:
        raise InputRefused(
            f"--budget: {', '.join(unpriced)} has no price, so no budget can hold it"
        )
    currencies = {
        price.currency for price in prices.values() if price is not None and not price.local
    }
    amount, currency = amount_of("--budget", said)
    if not currencies and not currency:
        raise InputRefused(f"--budget {said}: nothing here costs anything; add the currency")
    if currencies and currencies != {currency or min(currencies)}:
        shown = " and ".join(sorted(currencies))
        raise InputRefused(f"--budget {said}: the prices are in {shown}")
    return Money(amount, currency or min(currencies))


_AMOUNT = re.compile(r"(\d{1,13}(?:\.\d{1,12})?) ?([A-Z]{3})?", re.ASCII)


def amount_of(option: str, said: str) -> tuple[Decimal, str]:
    """The amount, and its currency ("" where none is written). Raises InputRefused."""
    found = _AMOUNT.fullmatch(said.strip())
    if found is None:
        raise InputRefused(
            f"{option} {one_clean_line(said, 40)}: write an amount like 0.28 or 0.28CNY"
        )
    if found[2] and found[2] not in CODES:
        raise InputRefused(f"{option} {said}: {found[2]} is no currency; write a code like CNY")
    return Decimal(found[1]), found[2] or ""
