"""The pass over Records that a review is made of.

Takes what a Charge is, and when it is settled, from `ledger.charges`, and keeps no Outcomes:
memory holds the rows (`breakdown`), what is open, and each Job's last Attempt in few bytes. A
Charge belongs to the day on which its Attempt began. Few Jobs need to be seen as a whole: those
done again, and those with a Charge that nobody knows. A second pass reads these alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, timezone
from decimal import Decimal, localcontext
from sys import intern
from typing import Protocol

from retouch.costs.kinds import NOT_TOLD_APART, Part
from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    Failed,
    FileRecord,
    Reused,
    RunBegins,
    Unknown,
    Unsent,
)
from retouch.money import EXACT, Money
from retouch.report.breakdown import Breakdown, Place, Placed, RowKey
from retouch.report.jobs import Spent, WholeJob
from retouch.report.sums import Days, Grouping, Period, Sums
from retouch.report.waste import (
    Kept,
    Wasted,
    WasteKind,
    example_of,
    kept_of,
    waste_of_done,
    waste_of_failure,
)

Stands = Callable[[FileRecord], bool]


PartsOf = Callable[[Done | Failed, Charge, AmountRecord | None], Iterable[Part]]
"""What each kind has of a charge of so much."""


def all_stand(_: FileRecord) -> bool:
    """Where pictures are not at hand, what is on record is taken to stand."""
    return True


class OtherPrices(Protocol):
    """Prices that were not those of the run."""

    def cost(self, record: Done | Failed, charge: Charge) -> CostRecord | None:
        """What a charged Attempt would have cost; None: no price, or too little was counted."""
        ...

    def currency(self, model: str, at: str) -> str | None:
        """In which currency a model is charged at a moment (RFC 3339); None: it has no price."""
        ...


class Compared:
    """Two sums of the same Charges, and how many lack one side."""

    def __init__(self) -> None:
        self.ours: dict[str, Money] = {}
        self.theirs: dict[str, Money] = {}
        self.apart = 0

    def add(self, ours: AmountRecord | None, theirs: AmountRecord | None) -> None:
        """One Charge from both sides."""
        if ours is None or theirs is None:
            self.apart += (ours or theirs) is not None
            return
        for sums, each in ((self.ours, ours), (self.theirs, theirs)):
            known = sums.get(each.currency)
            sums[each.currency] = known + each.money if known else each.money


class Tally:
    """Rows by each of `groupings`, filled ledger by ledger with `read`; days are those of `zone`.

    `prices` are others than those of the run: what it would have cost; `compared` then holds that
    beside what the same Attempts did cost, and `stated` what servers say beside what was worked
    out. `on_kept` is told of each Job done within the period. `rejected` are Keys of Jobs whose
    pictures a person refused. `parts` tells
    apart what rows by kind are of.
    """

    def __init__(
        self,
        groupings: Iterable[Grouping] = (),
        period: Period | None = None,
        *,
        zone: timezone = UTC,
        prices: OtherPrices | None = None,
        parts: PartsOf | None = None,
        on_kept: Callable[[Kept], None] | None = None,
        rejected: Collection[str] = frozenset(),
    ) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        self.wasted = Wasted()
        self.reused = 0
        self.records = 0
        self.providers: set[str] = set()
        self.compared = Compared()
        self.stated = Compared()
        self._period = period or Period()
        self._is_whole = self._period == Period()
        self._day_of = Days(zone).of
        self._breakdown = Breakdown(groupings, self._period)
        self._prices = prices
        self._parts = parts if self._breakdown.by_kind else None
        self._on_kept = on_kept
        self._rejected = rejected
        self._stands: Stands = all_stand
        self._charges = Charges(self._cost)
        self._currencies: dict[str, str] = {}
        self._special: set[str] = set()

    @property
    def rows(self) -> dict[Grouping, dict[RowKey, Sums]]:
        """Each grouping's rows; their keys are the currency and the grouping's values."""
        return self._breakdown.rows

    @property
    def days(self) -> set[str]:
        """The days (of the zone, YYYY-MM-DD) on which Attempts began."""
        return self._breakdown.days

    def read(
        self,
        records: Iterable[AnyRecord],
        shared: int = 0,
        *,
        ledger: str = "",
        stands: Stands = all_stand,
    ) -> None:
        """Take in a whole ledger, perhaps twice; its first `shared` records were counted with
        another copy. `stands` says whether a picture still does."""
        charges = self._charges = Charges(self._cost)
        self._breakdown.place = Place(ledger)
        self._stands = stands
        self._special = set()
        with localcontext(EXACT):
            for line, record, posting in charges.follow(records, shared):
                if line > shared:
                    self._apply(record, posting)
                elif isinstance(record, RunBegins):
                    self._breakdown.place.runs[record.run] = record
            for charge in charges.open.values():
                self._post_unknown(charge)
            # Charges of a ledger that is read are large, and not needed any more.
            self._charges = charges = Charges(self._cost)
            if self._special:
                self._see_whole(records, shared)
            self._breakdown.add_up()

    def _apply(self, record: AnyRecord, posting: Posting | None) -> None:
        if self._is_whole or self._period.holds(self._day_of(record.at)):
            self.records += 1
        if posting is not None:
            self._post(record, posting)
            if isinstance(record, Done):
                self._done(record, posting)
                return
        if isinstance(record, Failed):
            if self._charges.owns(record):
                self._failed(record, posting)
        elif isinstance(record, Unknown):
            if self._charges.owns(record):
                self._count_failure(record.error.kind, "unknown", record.at)
        elif isinstance(record, Unsent):
            if posting is not None:
                self._count_failure(record.error.kind, "unsent", record.at)
        elif isinstance(record, Reused):
            self.reused += self._period.holds(self._day_of(record.at))
        elif isinstance(record, RunBegins):
            self.providers.add(record.provider)
            self._breakdown.place.runs[record.run] = record

    def _sums(self, placed: Placed, currency: str | None, day: str) -> Sums:
        return self._breakdown.at(self._breakdown.spot(placed, currency, day))

    # --- Charges ---------------------------------------------------------------------------

    def _post(self, record: AnyRecord, posting: Posting) -> None:
        """Count the Attempt where it begins, and what it was settled at."""
        charge, verdict = posting.charge, posting.verdict
        if posting.is_new:
            self._begin(charge)
        if posting.former is not None:
            self._take_back(posting.former)
        if verdict == "free":
            self._row(charge).free += 1
        elif isinstance(record, Done | Failed) and verdict != "open":
            self._used(record, posting)
        elif verdict == "charged":
            self._settled(posting)

    def _row(self, charge: Charge) -> Sums:
        return self._sums(charge.begun, self._currency(charge), self._day_of(charge.at))

    def _begin(self, charge: Charge) -> None:
        """Count an Attempt, and its Job at the first one."""
        if charge.bound is not None and self._prices is None:
            self._currencies[charge.model] = charge.bound.currency
        sums = self._row(charge)
        sums.attempts += 1
        if charge.attempt == 1:
            sums.jobs += 1

    def _used(self, record: Done | Failed, posting: Posting) -> None:
        """Count what was used, and pay."""
        verdict, cost = posting.verdict, posting.paid
        sums = self._charged_row(posting)
        if isinstance(record, Done):
            sums.use(record.usage, len(record.files))
            sums.kept += self._standing(record)
        else:
            sums.use(record.usage, 0)
        if verdict == "charged":
            self._pay(sums, posting)
        if self._parts is not None:
            self._tell_apart(self._parts(record, posting.charge, cost), record, posting)
        if record.usage is not None and record.usage.stated is not None:
            self.stated.add(cost, record.usage.stated)

    def _tell_apart(self, parts: Iterable[Part], record: Done | Failed, posting: Posting) -> None:
        """Move what each kind has of a charge from the row of what is not told apart to its own."""
        begun, currency = posting.charge.begun, self._paid_in(posting)
        day = self._day_of(posting.charge.at)
        has_total = record.usage is not None and record.usage.total_tokens is not None
        for part in parts:
            # One row after the other: a new one may make the breakdown add up those it has.
            for kind, sign in ((part.kind, 1), (NOT_TOLD_APART, -1)):
                row = self._breakdown.at(self._breakdown.spot(begun, currency, day, kind))
                row.move(part, sign, is_in_total=has_total)

    def _paid_in(self, posting: Posting) -> str | None:
        """The currency of the row that a charged Attempt belongs to."""
        charge, cost = posting.charge, posting.paid
        if cost is not None:
            self._currencies[charge.model] = cost.currency
            return cost.currency
        return self._currency(charge) if charge.bound is not None else None

    def _charged_row(self, posting: Posting) -> Sums:
        """The row on which a charged Attempt was counted."""
        charge = posting.charge
        return self._sums(charge.begun, self._paid_in(posting), self._day_of(charge.at))

    def _settled(self, posting: Posting) -> None:
        """Pay what the user said it cost: there is no picture for it."""
        charge, paid = posting.charge, posting.paid
        day = self._day_of(charge.at)
        self._pay(self._charged_row(posting), posting)
        self._waste("charged_without_picture", charge, paid)
        if self._prices is not None and self._period.holds(day):
            self.compared.add(paid, paid)

    def _take_back(self, former: Posting) -> None:
        """Undo what a verdict did that another takes the place of."""
        charge, paid = former.charge, former.paid
        if former.verdict == "free":
            self._row(charge).free -= 1
            return
        sums = self._charged_row(former)
        if paid is None:
            sums.unpriced_jobs -= 1
        else:
            sums.confirmed -= Decimal(paid.amount)
        if self._period.holds(self._day_of(charge.at)):
            self.wasted.take_back("charged_without_picture", example_of(charge, paid))

    def _pay(self, sums: Sums, posting: Posting) -> None:
        if posting.paid is None:
            sums.unpriced_jobs += 1
        else:
            sums.confirmed += Decimal(posting.paid.amount)
        if posting.is_again:
            self._special.add(posting.charge.key)

    def _post_unknown(self, charge: Charge) -> None:
        """An open Charge: up to its ceiling; of unknown price where it has none."""
        self._special.add(charge.key)
        sums = self._sums(charge.begun, self._open_in(charge), self._day_of(charge.at))
        if self._is_unpriced(charge):
            sums.unpriced_jobs += 1
        if charge.bound is None or not self._is_unpriced(charge):
            sums.unknown += 1
            sums.unknown_high += Decimal(charge.bound.amount if charge.bound else 0)
            sums.unknown_low += Decimal(charge.least.amount if charge.least else 0)
        if charge.standing == "resolved":
            self._waste("charged_without_picture", charge, None)

    def _is_unpriced(self, charge: Charge) -> bool:
        """Whether an open Charge has no upper end; or it was charged, and the other prices have
        none for its model."""
        is_charged = charge.standing == "uncounted"
        return charge.bound is None or (is_charged and self._currency(charge) is None)

    def _open_in(self, charge: Charge) -> str | None:
        """The currency of the row that an open Charge belongs to."""
        if charge.bound is None or self._is_unpriced(charge):
            return self._currency(charge)
        return charge.bound.currency

    # --- Jobs and waste --------------------------------------------------------------------

    def _done(self, record: Done, posting: Posting) -> None:
        charge = posting.charge
        day = self._day_of(charge.at)
        kinds = waste_of_done(record, charge.terms)
        if record.key in self._rejected:
            kinds.append("rejected")
        if (kinds or self._on_kept) and self._period.holds(day):
            kept = kept_of(record, posting)
            for kind in kinds:
                self.wasted.add(kind, kept.example)
            if self._on_kept is not None:
                self._on_kept(kept)

    def _standing(self, done: Done) -> int:
        if self._stands is all_stand:
            return len(done.files)
        return sum(map(self._stands, done.files))

    def _failed(self, record: Failed, posting: Posting | None) -> None:
        self._count_failure(record.error.kind, "failed", record.at)
        charge = posting.charge if posting else Charge(record)
        self._row(charge).failed += 1
        if posting and record.billed == "yes":
            self._waste(waste_of_failure(record), charge, posting.paid)

    def _waste(self, kind: WasteKind, charge: Charge, paid: AmountRecord | None) -> None:
        if self._period.holds(self._day_of(charge.at)):
            self.wasted.add(kind, example_of(charge, paid))

    # --- Jobs seen as a whole --------------------------------------------------------------

    def _see_whole(self, records: Iterable[AnyRecord], shared: int) -> None:
        """Of Jobs done again only the last result is kept; a Job of which one Charge is not known
        says nothing of what a picture costs."""
        jobs: dict[str, WholeJob] = {}
        charges = Charges(self._recount)
        for record, posting in charges.again(records, self._special, shared):
            if posting.verdict != "open":
                job = jobs.get(posting.charge.key)
                if job is None:
                    job = jobs[posting.charge.key] = WholeJob()
                job.take(posting, self._spent(record, posting))
        for charge in charges.open.values():
            jobs.setdefault(charge.key, WholeJob()).leave_open(charge)
        for job in jobs.values():
            self._correct(job)

    def _spent(self, record: AnyRecord, posting: Posting) -> Spent:
        charge, paid = posting.charge, posting.paid
        currency, day, folder, words = self._breakdown.spot(
            charge.begun, self._paid_in(posting), self._day_of(charge.at)
        )
        # The words repeat thousands of times: each is held once.
        spot = (currency, intern(day), intern(folder), tuple(map(intern, words)))
        return Spent(
            charge.attempt, spot, Decimal(paid.amount) if paid else None,
            is_unpriced=posting.verdict == "charged" and paid is None,
            standing=self._standing(record) if isinstance(record, Done) else 0,
            result=kept_of(record, posting).example if isinstance(record, Done) else None,
        )  # fmt: skip

    def _correct(self, job: WholeJob) -> None:
        at = self._breakdown.at
        unpriced = [each.spot for each in job.charged if each.is_unpriced]
        unpriced += [
            self._breakdown.spot(each.begun, self._open_in(each), self._day_of(each.at))
            for each in job.open
            if self._is_unpriced(each)
        ]
        for spot in unpriced[1:]:  # a Job is counted once, at its first Attempt of unknown price
            at(spot).unpriced_jobs -= 1
        results = [(each, each.result) for each in job.charged if each.result]
        for each, result in results[:-1]:
            at(each.spot).kept -= each.standing
            if self._period.holds(each.spot[1]):
                self.wasted.add("replaced", result)
        if job.is_unsure:
            for each in job.charged:
                at(each.spot).unsure_paid += each.paid or Decimal(0)
            for last, _ in results[-1:]:
                at(last.spot).unsure_kept += last.standing

    def _recount(self, record: Done | Failed, charge: Charge) -> CostRecord | None:
        if self._prices is None or not self._period.holds(self._day_of(charge.at)):
            return record.cost
        return self._prices.cost(record, charge)

    # --- Costs -----------------------------------------------------------------------------

    def _cost(self, record: Done | Failed, charge: Charge) -> CostRecord | None:
        """What it cost, or would have cost; what lies outside the period costs nothing here."""
        if self._prices is None or not self._period.holds(self._day_of(charge.at)):
            return record.cost
        cost = self._prices.cost(record, charge)
        self.compared.add(cost, record.cost)
        return cost

    def _count_failure(self, kind: str, event: str, at: str) -> None:
        if self._period.holds(self._day_of(at)):
            self.failures[kind, event] += 1

    def _currency(self, charge: Charge) -> str | None:
        if self._prices is not None:
            return self._prices.currency(charge.model, charge.at)
        bound = charge.bound
        return bound.currency if bound else self._currencies.get(charge.model)
