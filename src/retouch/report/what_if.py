"""What a review's Charges would have cost otherwise: at other prices, or as part of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date

from retouch.costs.pricing import cost_at, in_batch
from retouch.ledger.records import CostRecord, Done, Failed, TermsRecord, UsageRecord
from retouch.manifest import Price
from retouch.money import Money
from retouch.text import one_clean_line

PriceOn = Callable[[str, date], Price | None]


def _no_price(model: str, day: date) -> None:
    """Nothing has a price before `WhatIf.by` says so."""


class WhatIf:
    """Costs by `price_on`, each as of the day it was charged.

    `is_batch` takes off what the price says of batches; `without_discount` are the models whose
    prices say nothing of them, `unpriced` those that have no price on a day they were used.
    """

    def __init__(self, price_on: PriceOn = _no_price, *, is_batch: bool = False) -> None:
        self.is_batch = is_batch
        self.without_discount: set[str] = set()
        self.unpriced: set[str] = set()
        self._price_on = price_on
        self._prices: dict[tuple[str, str], Price | None] = {}

    def by(self, price_on: PriceOn) -> None:
        """Go on with other prices: the next ledger's."""
        self._price_on, self._prices = price_on, {}

    def cost(self, record: Done | Failed, terms: TermsRecord | None) -> CostRecord | None:
        """What a charged Attempt would have cost; None: no price, or too little was counted."""
        price = self._price(record.model, record.at[:10])
        if price is None:
            self.unpriced.add(record.model)
            return None
        pictures = len(record.files) if isinstance(record, Done) else 0
        size, quality = (terms.size, terms.quality) if terms else (None, None)
        cost = cost_at(price, record.usage or UsageRecord(), pictures, size, quality)
        if cost is None or not self.is_batch:
            return cost
        if price.batch_discount is None:
            self.without_discount.add(record.model)
        return in_batch(cost, price)

    def currency(self, model: str, day: str) -> str | None:
        """In which currency a model is charged on a day; None: it has no price then."""
        price = self._price(model, day)
        return price.currency if price else None

    def notes(
        self, whose: str, now: Mapping[str, Money], recorded: Mapping[str, Money]
    ) -> Iterator[str]:
        """What to say beside the figures: whose prices, how the sums compare, what is left out."""
        way = f"{whose}, in batches" if self.is_batch else whose
        sums = f"{_sums(now.values())}, where {_sums(recorded.values())} is recorded"
        yield f"As it would be at {way}: {sums}. What is unknown stays as recorded."
        if self.without_discount:
            names = _names(self.without_discount)
            yield f"At the full price, for it states no `batch_discount`: {names}."
        if self.unpriced:
            names = _names(self.unpriced)
            yield f"In neither sum, without a price on the days it was used: {names}."

    def _price(self, model: str, day: str) -> Price | None:
        place = (model, day)
        if place not in self._prices:
            self._prices[place] = self._price_on(model, date.fromisoformat(day))
        return self._prices[place]


def _sums(amounts: Iterable[Money]) -> str:
    return " and ".join(str(each) for each in amounts if each.amount) or "nothing"


def _names(models: Iterable[str]) -> str:
    return ", ".join(one_clean_line(model, 60) for model in sorted(models))
