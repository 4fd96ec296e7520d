"""What a review's Charges would have cost otherwise: at other prices, or as part of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from retouch.costs.kinds import Part, parts_of
from retouch.costs.pricing import Delivered, cost_at, delivered, in_batch
from retouch.ledger.charges import Charge
from retouch.ledger.records import AmountRecord, CostRecord, Done, Failed, UsageRecord
from retouch.manifest import Price
from retouch.money import Money
from retouch.text import how_many, one_clean_line

PriceAt = Callable[[str, datetime], Price | None]
_A_MINUTE = timedelta(minutes=1)


def no_price(model: str, moment: datetime) -> None:
    """Nothing has a price before `WhatIf.by` says so."""


class WhatIf:
    """Costs by `price_at`, each as of the moment its Attempt began.

    `is_batch` takes off what the price says of batches; `without_discount` are the models whose
    prices say nothing of them, `unpriced` those that have no price when they were used.
    `instead` says which other model's price a model's Attempts are charged at.
    """

    def __init__(
        self,
        price_at: PriceAt = no_price,
        *,
        is_batch: bool = False,
        instead: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.is_batch = is_batch
        self.without_discount: set[str] = set()
        self.unpriced: set[str] = set()
        self._price_at = price_at
        self._instead = instead
        self._minutes: dict[tuple[str, str], tuple[Price | None, ...]] = {}

    def by(self, price_at: PriceAt) -> None:
        """Go on with other prices: the next ledger's."""
        self._price_at, self._minutes = price_at, {}

    def cost(self, record: Done | Failed, charge: Charge) -> CostRecord | None:
        """What a charged Attempt would have cost; None: no price, or too little was counted."""
        price = self.price(record.model, charge.at)
        if price is None:
            self.unpriced.add(record.model)
            return None
        cost = cost_at(
            price, record.usage or UsageRecord(), _pictures(record, charge), *_asked(charge)
        )
        if cost is None or not self.is_batch:
            return cost
        if price.batch_discount is None:
            self.without_discount.add(record.model)
        return in_batch(cost, price)

    def parts(self, record: Done | Failed, charge: Charge, paid: AmountRecord | None) -> list[Part]:
        """What each kind has of a charge of so much, at the prices it was charged at."""
        usage, pictures = record.usage or UsageRecord(), _pictures(record, charge)
        price = self.price(record.model, charge.at)
        amount = Decimal(paid.amount) if paid else None
        return parts_of(usage, pictures, price, amount, _asked(charge))

    def currency(self, model: str, at: str) -> str | None:
        """In which currency a model is charged at a moment; None: it has no price then."""
        price = self.price(model, at)
        return price.currency if price else None

    def notes(
        self, whose: str, now: Iterable[Money], recorded: Iterable[Money], apart: int
    ) -> Iterator[str]:
        """What to say beside the figures: whose prices, how the sums of the same Attempts compare,
        and how many Attempts (`apart`) are in neither sum, one side of them not being known."""
        way = f"{whose}, in batches" if self.is_batch else whose
        sums = f"{_sums(now)}, where {_sums(recorded)} is recorded"
        yield f"As it would be at {way}: {sums}. What is unknown stays as recorded."
        if apart:
            yield f"In neither sum, for one side of them is not known: {how_many(apart, 'charge')}."
        if self.without_discount:
            names = _names(self.without_discount)
            yield f"At the full price, for it states no `batch_discount`: {names}."
        if self.unpriced:
            names = _names(self.unpriced)
            yield f"In neither sum, without a price when it was used: {names}."

    def price(self, model: str, at: str) -> Price | None:
        """The price at a moment (RFC 3339); nearly every minute has one, which is kept."""
        place = (model, at[:16])
        prices = self._minutes.get(place)
        if prices is None:
            begin = datetime.fromisoformat(f"{at[:16]}:00+00:00")
            ends = (self._of(model, begin), self._of(model, begin + _A_MINUTE))
            prices = self._minutes[place] = ends[:1] if ends[0] is ends[1] else ends
        if len(prices) == 1:
            return prices[0]
        return self._of(model, datetime.fromisoformat(at))

    def _of(self, model: str, moment: datetime) -> Price | None:
        return self._price_at(self._instead.get(model, model), moment)


def _pictures(record: Done | Failed, charge: Charge) -> Delivered:
    files = record.files if isinstance(record, Done) else ()
    return delivered(files, len(files), charge.terms.n if charge.terms else None)


def _asked(charge: Charge) -> tuple[str | None, str | None]:
    """The size and quality asked for."""
    terms = charge.terms
    return (terms.size, terms.quality) if terms else (None, None)


def _sums(amounts: Iterable[Money]) -> str:
    return " and ".join(str(each) for each in amounts if each.amount) or "nothing"


def _names(models: Iterable[str]) -> str:
    return ", ".join(one_clean_line(model, 60) for model in sorted(models))
