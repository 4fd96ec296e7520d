"""The one pass over Records that a review is made of.

Follows `replay` in what a Charge is and when it closes, but keeps no Outcomes: memory holds the
rows and what is open. A Job is counted at its first Attempt, so that no set of keys is needed.
Each Record touches one fine row; these are added up to the groupings' rows now and then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext

from retouch.money import EXACT
from retouch.record import (
    AmountRecord,
    AnyRecord,
    AskedRecord,
    CostRecord,
    Done,
    Failed,
    Resolved,
    Reused,
    RunBegins,
    Started,
    Unknown,
    Unsent,
)
from retouch.report.places import DIMENSIONS, Grouping, Period, place_of
from retouch.report.sums import Sums
from retouch.report.waste import Example, Kept, Wasted, waste_of_done, waste_of_failure

Reprice = Callable[[Done | Failed, AskedRecord | None], CostRecord | None]
Row = tuple[str | None, ...]
FINE_ROWS = 50_000  # more, and they are added up
_DAY = DIMENSIONS.index("day")


@dataclass(frozen=True, slots=True)
class _Open:
    """An Attempt that nobody knows the Charge of yet."""

    place: tuple[str, ...]
    day: str
    ceiling: AmountRecord | None
    asked: AskedRecord | None = None


class Tally:
    """Rows by each of `groupings`, filled ledger by ledger with `read`.

    `rows` maps a grouping to its rows; a row's key is its currency and the grouping's values.
    The grouping () is the totals. `reprice` gives costs by other prices than those recorded, and
    `currency_of` says of a model and a day in which currency; `on_kept` is told of each Job done.
    """

    def __init__(
        self,
        groupings: Iterable[Grouping] = (),
        period: Period | None = None,
        *,
        reprice: Reprice | None = None,
        currency_of: Callable[[str, str], str | None] | None = None,
        on_kept: Callable[[Kept], None] | None = None,
    ) -> None:
        self.rows: dict[Grouping, dict[Row, Sums]] = {(): {}} | {each: {} for each in groupings}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.wasted = Wasted()
        self.retries = 0
        self.reused = 0
        self.records = 0
        self.providers: set[str] = set()
        self._period = period or Period()
        self._reprice = reprice
        self._currency_of = currency_of
        self._on_kept = on_kept
        self._fine: dict[tuple[str | None, tuple[str, ...]], Sums] = {}
        self._dimensions = [each for each in DIMENSIONS if any(each in g for g in self.rows)]
        self._indexes = tuple(map(DIMENSIONS.index, self._dimensions))
        self._open: dict[tuple[str, int], _Open] = {}
        self._others: set[tuple[str, int]] = set()
        self._currencies: dict[str, str] = {}

    def read(self, records: Iterable[AnyRecord], shared: int = 0) -> None:
        """Take in a whole ledger; its first `shared` records were counted with another copy."""
        self._open, self._others = {}, set()
        with localcontext(EXACT):
            for number, record in enumerate(records):
                if number < shared:
                    self._remember(record)
                else:
                    self._apply(record)
                if len(self._fine) > FINE_ROWS:
                    self._add_up()
            for attempt in self._open.values():
                self._post_unknown(attempt)
            self._add_up()

    def _remember(self, record: AnyRecord) -> None:
        """Attempts of the shared beginning are the other copy's, whatever became of them here."""
        if isinstance(record, Started):
            self._others.add((record.key, record.attempt))

    def _apply(self, record: AnyRecord) -> None:
        self.records += 1
        if isinstance(record, Started):
            self._started(record)
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

    def _started(self, record: Started) -> None:
        self._open_charge(record, record.asked)
        if self._period.holds(record.at[:10]):
            self.retries += record.attempt > 1

    def _open_charge(self, record: Started | Unknown, asked: AskedRecord | None) -> None:
        """Open a Charge and count its Attempt, and its Job at the first one."""
        ceiling = record.ceiling
        if ceiling is not None:
            self._currencies[record.model] = ceiling.currency
        begun = _Open(_place(record), record.at[:10], ceiling, asked)
        self._open[record.key, record.attempt] = begun
        self._count_attempt(begun, record.attempt)

    def _count_attempt(self, begun: _Open, attempt: int) -> None:
        sums = self._sums(begun, self._currency(begun))
        sums.attempts += 1
        sums.jobs += attempt == 1

    def _done(self, record: Done) -> None:
        if (record.key, record.attempt) in self._others:
            return
        begun = self._close(record)
        cost = self._cost(record, begun.asked)
        self._charge(record, begun, cost, len(record.files))
        kinds = waste_of_done(record, begun.asked)
        if (kinds or self._on_kept) and self._period.holds(record.at[:10]):
            kept = Kept(record, cost.money if cost else None)
            for kind in kinds:
                self.wasted.add(kind, kept.example)
            if self._on_kept is not None:
                self._on_kept(kept)

    def _failed(self, record: Failed) -> None:
        if (record.key, record.attempt) in self._others:
            return
        begun = self._close(record)
        day = record.at[:10]
        self._count_failure(record.error.kind, "failed", day)
        sums = self._sums(begun, self._currency(begun), day)
        sums.failed += 1
        sums.free += record.billed == "no"
        if record.billed == "unknown":
            self._open[record.key, record.attempt] = begun
        elif record.billed == "yes":
            cost = self._cost(record, begun.asked)
            self._charge(record, begun, cost, 0)
            if self._period.holds(day):
                money = cost.money if cost else None
                words = (record.key, record.model, record.prompt, record.source)
                self.wasted.add(waste_of_failure(record), Example(*words, money))

    def _unknown(self, record: Unknown) -> None:
        place = (record.key, record.attempt)
        if place in self._others:
            return
        if place not in self._open:
            self._open_charge(record, None)
        self._count_failure(record.error.kind, "unknown", record.at[:10])

    def _unsent(self, record: Unsent) -> None:
        begun = self._open.pop((record.key, record.attempt), None)
        if begun is not None:
            self._count_failure(record.error.kind, "unsent", record.at[:10])
            self._sums(begun, self._currency(begun)).free += 1

    def _resolved(self, record: Resolved) -> None:
        begun = self._open.get((record.key, record.attempt))
        amount = record.amount
        charged = record.verdict == "charged"
        if begun is None or (charged and amount is None and begun.ceiling is not None):
            return  # charged, and nobody knows how much: unknown up to its ceiling
        del self._open[record.key, record.attempt]
        sums = self._sums(begun, amount.currency if amount else self._currency(begun))
        sums.free += not charged
        if charged:
            _pay(sums, amount)

    # --- Charges ---------------------------------------------------------------------------

    def _close(self, record: Done | Failed) -> _Open:
        """Take the Attempt's open Charge; one that was never opened is counted here."""
        begun = self._open.pop((record.key, record.attempt), None)
        if begun is None:
            stated = record.ceiling if isinstance(record, Failed) else None
            begun = _Open(_place(record), record.at[:10], stated)
            self._count_attempt(begun, record.attempt)
        return begun

    def _charge(
        self, record: Done | Failed, begun: _Open, cost: CostRecord | None, kept: int
    ) -> None:
        """Count what was used, and pay; a priced Attempt that was not counted stays open."""
        day = record.at[:10]
        if cost is not None:
            self._currencies[record.model] = cost.currency
        is_open = cost is None and begun.ceiling is not None and self._reprice is None
        if is_open:
            self._open[record.key, record.attempt] = begun
        currency = cost.currency if cost else self._currency(begun) if is_open else None
        sums = self._sums(begun, currency, day)
        sums.use(record.usage, kept)
        if not is_open:
            _pay(sums, cost)

    def _cost(self, record: Done | Failed, asked: AskedRecord | None) -> CostRecord | None:
        return record.cost if self._reprice is None else self._reprice(record, asked)

    def _post_unknown(self, begun: _Open) -> None:
        ceiling = begun.ceiling
        sums = self._sums(begun, ceiling.currency if ceiling else self._currency(begun))
        sums.unknown += 1
        if ceiling is None:
            sums.unpriced_jobs += 1
        else:
            sums.unknown_high += Decimal(ceiling.amount)

    def _count_failure(self, kind: str, event: str, day: str) -> None:
        if self._period.holds(day):
            self.failures[kind, event] += 1

    def _currency(self, begun: _Open) -> str | None:
        if self._currency_of is not None:
            return self._currency_of(begun.place[0], begun.day)
        return begun.ceiling.currency if begun.ceiling else self._currencies.get(begun.place[0])

    # --- Rows ------------------------------------------------------------------------------

    def _sums(self, begun: _Open, currency: str | None, day: str = "") -> Sums:
        """The fine row of an Attempt, on the day it was begun or on another one."""
        place = begun.place
        if day and day != begun.day:
            place = (*place[:_DAY], day, *place[_DAY + 1 :])
        if not self._period.holds(place[_DAY]):
            return Sums()  # outside the period: counted, and forgotten
        key = (currency, tuple([place[index] for index in self._indexes]))
        sums = self._fine.get(key)
        if sums is None:
            sums = self._fine[key] = Sums()
        return sums

    def _add_up(self) -> None:
        """Add the fine rows to those of every grouping."""
        for grouping, rows in self.rows.items():
            places = tuple(map(self._dimensions.index, grouping))
            for (currency, values), sums in self._fine.items():
                key = (currency, *[values[place] for place in places])
                known = rows.get(key)
                if known is None:
                    known = rows[key] = Sums()
                known.add(sums)
        self._fine = {}


def _pay(sums: Sums, amount: AmountRecord | CostRecord | None) -> None:
    if amount is None:
        sums.unpriced_jobs += 1
    else:
        sums.confirmed += Decimal(amount.amount)


def _place(record: Started | Unknown | Done | Failed) -> tuple[str, ...]:
    return place_of(record.model, record.prompt, record.source, record.at[:10], record.run)
