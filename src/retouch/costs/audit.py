"""Recorded costs worked out again: by the very prices their records name, where these are at hand.

A price without an id is named after its terms; one with an id is the same only while the file
that holds it has the digest that the run recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from retouch.costs.pricing import Delivered, cost_at, delivered
from retouch.ledger.charges import Posting
from retouch.ledger.records import (
    AnyRecord,
    CostRecord,
    Done,
    Failed,
    RunBegins,
    TermsRecord,
    UsageRecord,
)
from retouch.manifest import Loaded, Price
from retouch.money import Money

_KNOWN_COSTS = 4096
_Asked = tuple[int, UsageRecord, Delivered, str | None, str | None]


@dataclass(slots=True)
class CostFindings:
    """How many costs were worked out again, how many could not be, and the keys of those that
    are not what they should be."""

    checked: int = 0
    unchecked: int = 0
    wrong: list[str] = field(default_factory=list)


class CostAudit:
    """Takes a ledger's Records in order; without a manifest no price is at hand."""

    def __init__(self, loaded: Loaded | None) -> None:
        self.found = CostFindings()
        self.last_run: RunBegins | None = None
        self._loaded = loaded
        self._prices: dict[str, Price] = {}
        self._known_costs: dict[_Asked, Money | None] = {}  # at these prices

    @property
    def prices_changed(self) -> bool:
        """Whether the price file is known to be another than the last run's."""
        if self._loaded is None or self.last_run is None:
            return False
        now = self._loaded.prices.sha256 if self._loaded.prices else None
        return self.last_run.prices_sha256 != now

    def apply(self, record: AnyRecord, posting: Posting | None) -> None:
        """Take in one Record, and what it did to its Charge."""
        match record:
            case RunBegins():
                self.last_run = record
                self._prices = {price.name: price for price in self._known(record)}
                self._known_costs.clear()
            case Done() | Failed() if record.cost is not None:
                self._check(record, record.cost, posting.charge.terms if posting else None)

    def _known(self, run: RunBegins) -> Iterator[Price]:
        """The prices that are surely the run's."""
        loaded = self._loaded
        if loaded is None:
            return
        if loaded.prices and loaded.prices.sha256 == run.prices_sha256:
            yield from loaded.prices.prices
        is_same = loaded.sha256 == run.manifest_sha256
        for model in loaded.manifest.models:
            if model.price is not None and (is_same or model.price.id is None):
                yield model.price

    def _check(self, record: Done | Failed, cost: CostRecord, terms: TermsRecord | None) -> None:
        price = self._prices.get(cost.price)
        pictures = self._pictures(record)
        if price is None or pictures is None or (price.per_image_by and terms is None):
            self.found.unchecked += 1
            return
        size, quality = (terms.size, terms.quality) if terms else (None, None)
        files = record.files if isinstance(record, Done) else ()
        came = delivered(files, pictures)
        again = self._worked_out(price, record.usage or UsageRecord(), came, size, quality)
        self.found.checked += 1
        if again != cost.money:
            self.found.wrong.append(record.key)

    def _worked_out(
        self,
        price: Price,
        usage: UsageRecord,
        came: Delivered,
        size: str | None,
        quality: str | None,
    ) -> Money | None:
        """What it costs; of a million Jobs, many count the same."""
        asked = (id(price), usage, came, size, quality)
        try:
            return self._known_costs[asked]
        except KeyError:
            cost = cost_at(price, usage, came, size, quality)
        if len(self._known_costs) >= _KNOWN_COSTS:
            self._known_costs.clear()
        money = self._known_costs[asked] = cost.money if cost else None
        return money

    @staticmethod
    def _pictures(record: Done | Failed) -> int | None:
        """How many pictures the reply held; None where the records do not say."""
        if record.usage is not None and record.usage.images is not None:
            return record.usage.images
        if isinstance(record, Failed):
            return 0 if record.error.kind == "content" else None
        return None if record.warnings else len(record.files)
