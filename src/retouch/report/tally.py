"""The one pass over Records that a review is made of.

Takes what a Charge is, and when it is settled, from `ledger.charges`, and keeps no Outcomes:
memory holds the rows (`breakdown`), what is open, and each Job's last Attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal, localcontext
from typing import Protocol

from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    Failed,
    Reused,
    RunBegins,
    TermsRecord,
    Unknown,
    Unsent,
)
from retouch.money import EXACT, Money
from retouch.report.breakdown import Breakdown, RowKey
from retouch.report.sums import Grouping, Period, Sums
from retouch.report.waste import Example, Kept, Wasted, waste_of_done, waste_of_failure


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
    same Attempts did cost. `on_kept` is told of each Job done within the period. `rejected` are
    Keys of Jobs whose pictures a person refused.
    """

    def __init__(
        self,
        groupings: Iterable[Grouping] = (),
        period: Period | None = None,
        *,
        prices: OtherPrices | None = None,
        on_kept: Callable[[Kept], None] | None = None,
        rejected: frozenset[str] = frozenset(),
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
        self._charges = Charges(self._cost)
        self._rejected = rejected
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
        charges = self._charges = Charges(self._cost)
        with localcontext(EXACT):
            for number, record in enumerate(records):
                if number == shared:
                    charges.disown()
                if number < shared:
                    charges.apply(record)
                else:
                    self._apply(record)
            for charge in charges.open.values():
                self._post_unknown(charge)
            self._breakdown.add_up()

    def _apply(self, record: AnyRecord) -> None:
        self.records += 1
        posting = self._charges.apply(record)
        if posting is not None:
            self._post(record, posting)
        if isinstance(record, Done):
            if posting is not None:
                self._done(record, posting)
        elif isinstance(record, Failed):
            if self._charges.owns(record):
                self._failed(record, posting)
        elif isinstance(record, Unknown):
            if self._charges.owns(record):
                self._count_failure(record.error.kind, "unknown", record.at[:10])
        elif isinstance(record, Unsent):
            if posting is not None:
                self._count_failure(record.error.kind, "unsent", record.at[:10])
        elif isinstance(record, Reused):
            self.reused += self._period.holds(record.at[:10])
        elif isinstance(record, RunBegins):
            self.providers.add(record.provider)

    # --- Charges ---------------------------------------------------------------------------

    def _post(self, record: AnyRecord, posting: Posting) -> None:
        """Count the Attempt where it begins, and what it was settled at."""
        charge, is_new, verdict, paid = posting
        if is_new:
            self._begin(charge)
        if verdict == "free":
            self._sums(charge.begun, self._currency(charge), _day(record, charge)).free += 1
        elif isinstance(record, Done | Failed) and verdict != "open":
            self._used(record, posting)
        elif verdict == "charged":
            self._settled(charge, paid)

    def _begin(self, charge: Charge) -> None:
        """Count an Attempt, and its Job at the first one."""
        bound = charge.bound
        if bound is None or self._prices is not None:
            currency = self._currency(charge)
        else:
            currency = self._currencies[charge.model] = bound.currency
        sums = self._sums(charge.begun, currency, charge.day)
        sums.attempts += 1
        if charge.attempt == 1:
            sums.jobs += 1

    def _used(self, record: Done | Failed, posting: Posting) -> None:
        """Count what was used, and pay."""
        charge, _, verdict, cost = posting
        currency = None
        if cost is not None:
            currency = self._currencies[record.model] = cost.currency
        elif charge.bound is not None:
            currency = self._currency(charge)
        sums = self._sums(charge.begun, currency, record.at[:10])
        sums.use(record.usage, len(record.files) if isinstance(record, Done) else 0)
        if verdict == "charged":
            _pay(sums, cost)

    def _settled(self, charge: Charge, paid: AmountRecord | None) -> None:
        """Pay what the user said it cost."""
        currency = paid.currency if paid else self._currency(charge)
        _pay(self._sums(charge.begun, currency, charge.day), paid)
        if self._prices is not None and self._period.holds(charge.day):
            self._note_recorded(paid)

    def _post_unknown(self, charge: Charge) -> None:
        """An open Charge: up to its ceiling; of unknown price where it has none."""
        bound = charge.bound
        currency = bound.currency if bound else self._currency(charge)
        if charge.standing == "uncounted" and self._currency(charge) is None:
            # It was charged, and the other prices have none for its model.
            self._sums(charge.begun, None, charge.day).unpriced_jobs += 1
            return
        sums = self._sums(charge.begun, currency, charge.day)
        sums.unknown += 1
        if bound is None:
            sums.unpriced_jobs += 1
        else:
            sums.unknown_high += Decimal(bound.amount)

    # --- Jobs and waste --------------------------------------------------------------------

    def _done(self, record: Done, posting: Posting) -> None:
        terms = posting.charge.terms
        kinds = waste_of_done(record, terms)
        kinds += ["rejected"] if record.key in self._rejected else []
        if (kinds or self._on_kept) and self._period.holds(record.at[:10]):
            kept = Kept(record, posting.paid)
            for kind in kinds:
                self.wasted.add(kind, kept.example)
            if self._on_kept is not None:
                self._on_kept(kept)

    def _failed(self, record: Failed, posting: Posting | None) -> None:
        day = record.at[:10]
        self._count_failure(record.error.kind, "failed", day)
        charge = posting.charge if posting else Charge(record)
        self._sums(charge.begun, self._currency(charge), day).failed += 1
        if posting and record.billed == "yes" and self._period.holds(day):
            words = (record.key, record.model, record.prompt, record.source)
            paid = posting.paid.money if posting.paid else None
            self.wasted.add(waste_of_failure(record), Example(*words, paid))

    # --- Costs -----------------------------------------------------------------------------

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

    def _count_failure(self, kind: str, event: str, day: str) -> None:
        if self._period.holds(day):
            self.failures[kind, event] += 1

    def _currency(self, charge: Charge) -> str | None:
        if self._prices is not None:
            return self._prices.currency(charge.model, charge.day)
        bound = charge.bound
        return bound.currency if bound else self._currencies.get(charge.model)


def _pay(sums: Sums, amount: AmountRecord | None) -> None:
    if amount is None:
        sums.unpriced_jobs += 1
    else:
        sums.confirmed += Decimal(amount.amount)


def _day(record: AnyRecord, charge: Charge) -> str:
    """The day of what was answered; else the day on which the Attempt began."""
    return record.at[:10] if isinstance(record, Failed) else charge.day
