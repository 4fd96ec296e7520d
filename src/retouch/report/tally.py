"""The one pass over Records that a review is made of.

Follows `replay` in what a Charge is and when it closes, but keeps no Outcomes: memory holds the
rows (`breakdown`) and what is open. A Job is counted at its first Attempt, so that no set of keys
is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal, localcontext
from itertools import islice
from typing import Protocol

from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    Failed,
    Resolved,
    Reused,
    RunBegins,
    Started,
    TermsRecord,
    Unknown,
    Unsent,
)
from retouch.money import EXACT, Money
from retouch.report.breakdown import Breakdown, RowKey
from retouch.report.sums import Grouping, Period, Sums
from retouch.report.waste import Example, Kept, Wasted, waste_of_done, waste_of_failure

Begun = Started | Unknown | Done | Failed
"""The first Record of an Attempt: its model, prompt, source, run and day are the Attempt's."""


class OtherPrices(Protocol):
    """Prices that were not those of the run."""

    def cost(self, record: Done | Failed, terms: TermsRecord | None) -> CostRecord | None:
        """What a charged Attempt would have cost; None: no price, or too little was counted."""
        ...

    def currency(self, model: str, day: str) -> str | None:
        """In which currency a model is charged on a day (YYYY-MM-DD); None: it has no price."""
        ...


class Tally:
    """Rows by each of `groupings`, filled ledger by ledger with `read`.

    `prices` are others than those of the run: what it would have cost; `recorded` is then what the
    same Attempts did cost. `on_kept` is told of each Job done within the period.
    """

    def __init__(
        self,
        groupings: Iterable[Grouping] = (),
        period: Period | None = None,
        *,
        prices: OtherPrices | None = None,
        on_kept: Callable[[Kept], None] | None = None,
    ) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        self.wasted = Wasted()
        self.reused = 0
        self.records = 0
        self.providers: set[str] = set()
        self.recorded: dict[str, Money] = {}
        self._period = period or Period()
        self._breakdown = Breakdown(groupings, self._period)
        self._sums = self._breakdown.sums
        self._prices = prices
        self._on_kept = on_kept
        self._open: dict[tuple[str, int], Begun] = {}
        self._others: set[tuple[str, int]] = set()
        self._currencies: dict[str, str] = {}

    @property
    def rows(self) -> dict[Grouping, dict[RowKey, Sums]]:
        """Each grouping's rows; their keys are the currency and the grouping's values."""
        return self._breakdown.rows

    @property
    def days(self) -> set[str]:
        """The days (UTC, YYYY-MM-DD) that anything was sent or charged on."""
        return self._breakdown.days

    def read(self, records: Iterable[AnyRecord], shared: int = 0) -> None:
        """Take in a whole ledger; its first `shared` records were counted with another copy."""
        self._open, self._others = {}, set()
        with localcontext(EXACT):
            every = iter(records)
            for record in islice(every, shared):
                self._remember(record)
            for record in every:
                self._apply(record)
            for begun in self._open.values():
                self._post_unknown(begun)
            self._breakdown.add_up()

    def _remember(self, record: AnyRecord) -> None:
        """Attempts of the shared beginning are the other copy's, whatever became of them here."""
        if isinstance(record, Started):
            self._others.add((record.key, record.attempt))

    def _apply(self, record: AnyRecord) -> None:
        self.records += 1
        if isinstance(record, Started):
            self._begin(record)
        elif isinstance(record, Done):
            self._done(record)
        elif isinstance(record, Failed):
            self._failed(record)
        elif isinstance(record, Unknown):
            self._unknown(record)
        elif isinstance(record, Unsent):
            self._unsent(record)
        elif isinstance(record, Resolved):
            self._resolved(record)
        elif isinstance(record, Reused):
            self.reused += self._period.holds(record.at[:10])
        elif isinstance(record, RunBegins):
            self.providers.add(record.provider)

    # --- Records ---------------------------------------------------------------------------

    def _begin(self, record: Begun) -> None:
        """Open a Charge and count its Attempt, and its Job at the first one."""
        attempt = record.attempt
        self._open[record.key, attempt] = record
        ceiling = _ceiling(record)
        if ceiling is None or self._prices is not None:
            currency = self._currency(record)
        else:
            currency = self._currencies[record.model] = ceiling.currency
        sums = self._sums(record, currency, record.at[:10])
        sums.attempts += 1
        if attempt == 1:
            sums.jobs += 1

    def _done(self, record: Done) -> None:
        if (record.key, record.attempt) in self._others:
            return
        begun = self._answered(record)
        terms = begun.terms if isinstance(begun, Started) else None
        cost = self._cost(record, terms)
        self._charge(record, begun, cost, len(record.files))
        kinds = waste_of_done(record, terms)
        if (kinds or self._on_kept) and self._period.holds(record.at[:10]):
            kept = Kept(record, cost)
            for kind in kinds:
                self.wasted.add(kind, kept.example)
            if self._on_kept is not None:
                self._on_kept(kept)

    def _failed(self, record: Failed) -> None:
        if (record.key, record.attempt) in self._others:
            return
        begun = self._answered(record)
        day = record.at[:10]
        self._count_failure(record.error.kind, "failed", day)
        sums = self._sums(begun, self._currency(begun), day)
        sums.failed += 1
        sums.free += record.billed == "no"
        if record.billed == "unknown":
            self._open[record.key, record.attempt] = begun
        elif record.billed == "yes":
            cost = self._cost(record, begun.terms if isinstance(begun, Started) else None)
            self._charge(record, begun, cost, 0)
            if self._period.holds(day):
                words = (record.key, record.model, record.prompt, record.source)
                self.wasted.add(
                    waste_of_failure(record), Example(*words, cost.money if cost else None)
                )

    def _unknown(self, record: Unknown) -> None:
        place = (record.key, record.attempt)
        if place in self._others:
            return
        if place not in self._open:
            self._begin(record)
        self._count_failure(record.error.kind, "unknown", record.at[:10])

    def _unsent(self, record: Unsent) -> None:
        begun = self._open.pop((record.key, record.attempt), None)
        if begun is not None:
            self._count_failure(record.error.kind, "unsent", record.at[:10])
            self._sums(begun, self._currency(begun), begun.at[:10]).free += 1

    def _resolved(self, record: Resolved) -> None:
        begun = self._open.get((record.key, record.attempt))
        amount = record.amount
        charged = record.verdict == "charged"
        if begun is None or (charged and amount is None and _ceiling(begun) is not None):
            return  # charged, and nobody knows how much: unknown up to its ceiling
        del self._open[record.key, record.attempt]
        currency = amount.currency if amount else self._currency(begun)
        sums = self._sums(begun, currency, begun.at[:10])
        sums.free += not charged
        if charged:
            _pay(sums, amount)
            if self._prices is not None and self._period.holds(begun.at[:10]):
                self._note_recorded(amount)

    # --- Charges ---------------------------------------------------------------------------

    def _answered(self, record: Done | Failed) -> Begun:
        """Take the Attempt's open Charge; one that was never opened is counted here."""
        begun = self._open.pop((record.key, record.attempt), None)
        if begun is None:
            self._begin(record)
            begun = self._open.pop((record.key, record.attempt))
        return begun

    def _charge(
        self, record: Done | Failed, begun: Begun, cost: CostRecord | None, kept: int
    ) -> None:
        """Count what was used, and pay; a priced Attempt that was not counted stays open."""
        currency = None
        if cost is not None:
            currency = self._currencies[record.model] = cost.currency
        elif _ceiling(begun) is not None:
            currency = self._currency(begun)
        sums = self._sums(begun, currency, record.at[:10])
        sums.use(record.usage, kept)
        if cost is None and currency is not None:
            self._open[record.key, record.attempt] = begun
        else:
            _pay(sums, cost)

    def _cost(self, record: Done | Failed, terms: TermsRecord | None) -> CostRecord | None:
        """What it cost, or would have cost; what lies outside the period costs nothing here."""
        if self._prices is None or not self._period.holds(record.at[:10]):
            return record.cost
        cost = self._prices.cost(record, terms)
        if cost is not None:  # so that what is compared is of the same Attempts
            self._note_recorded(record.cost)
        return cost

    def _note_recorded(self, amount: AmountRecord | None) -> None:
        if amount is not None:
            known = self.recorded.get(amount.currency)
            self.recorded[amount.currency] = known + amount.money if known else amount.money

    def _post_unknown(self, begun: Begun) -> None:
        ceiling = _ceiling(begun)
        currency = ceiling.currency if ceiling else self._currency(begun)
        sums = self._sums(begun, currency, begun.at[:10])
        sums.unknown += 1
        if ceiling is None:
            sums.unpriced_jobs += 1
        else:
            sums.unknown_high += Decimal(ceiling.amount)

    def _count_failure(self, kind: str, event: str, day: str) -> None:
        if self._period.holds(day):
            self.failures[kind, event] += 1

    def _currency(self, begun: Begun) -> str | None:
        if self._prices is not None:
            return self._prices.currency(begun.model, begun.at[:10])
        ceiling = _ceiling(begun)
        return ceiling.currency if ceiling else self._currencies.get(begun.model)


def _pay(sums: Sums, amount: AmountRecord | None) -> None:
    if amount is None:
        sums.unpriced_jobs += 1
    else:
        sums.confirmed += Decimal(amount.amount)


def _ceiling(begun: Begun) -> AmountRecord | None:
    return None if isinstance(begun, Done) else begun.ceiling
