"""Our side of a reconciliation: every Attempt that ledgers say was charged, and what is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from retouch.dialects.bill import Measure
from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.records import AmountRecord, AnyRecord, Done, Failed, Resolved
from retouch.money import NO_CURRENCY, Money
from retouch.report.sums import Period

Cell = tuple[str, str]  # a day in the bill's zone, and a model


@dataclass(frozen=True, slots=True)
class OwnCharge:
    """One charged Attempt; `at` is when that was recorded, in the bill's zone."""

    key: str
    at: datetime
    model: str
    prompt: str
    source: str
    task: str | None
    currency: str | None
    measures: Mapping[Measure, Decimal] = field(repr=False)

    @property
    def cell(self) -> Cell:
        return self.at.date().isoformat(), self.model


@dataclass(frozen=True, slots=True)
class Doubt:
    """One unknown Attempt, the number of its ledger, and its day in the bill's zone."""

    ledger: int
    attempt: Charge
    day: str

    @property
    def cell(self) -> Cell:
        return self.day, self.attempt.model


class Ours:
    """What ledgers say was charged, and what they leave open; filled ledger by ledger."""

    def __init__(self, zone: timezone = UTC, period: Period | None = None) -> None:
        self.entries: list[OwnCharge] = []
        self.doubts: list[Doubt] = []
        self._zone = zone
        self._period = period or Period()

    @property
    def models(self) -> frozenset[str]:
        """Every model that something was charged for, or may have been."""
        return frozenset(
            [each.model for each in self.entries] + [each.attempt.model for each in self.doubts]
        )

    def moved(
        self, zone: timezone | None = None, days: int = 0, factor: Decimal = Decimal(1)
    ) -> Ours:
        """The same charges with their days in another zone or so many days later, and their
        amounts times a factor: what a bill is compared with to find out how it was made."""
        other = Ours(zone or self._zone, self._period)
        later = timedelta(days=days)
        for entry in self.entries:
            measures = dict(entry.measures)
            if "amount" in measures:
                measures["amount"] *= factor
            at = entry.at.astimezone(other._zone) + later
            other.entries.append(replace(entry, at=at, measures=measures))
        for doubt in self.doubts:
            day = (other._local(doubt.attempt.at) + later).date().isoformat()
            other.doubts.append(replace(doubt, day=day))
        return other

    def read(self, ledger: int, records: Iterable[AnyRecord], shared: int = 0) -> None:
        """Take in a whole ledger, known as number `ledger`; of a copy, only the Attempts begun
        after its `shared` first records."""
        charges = Charges()
        for _, record, posting in charges.follow(records, shared):
            if posting is None:
                continue
            if posting.former is not None:
                self._take_back(posting.former)
            if posting.verdict == "charged":
                self._charged(record, posting)
        for charge in charges.open.values():
            day = self._local(charge.at).date().isoformat()
            if self._period.holds(day):
                self.doubts.append(Doubt(ledger, charge, day))

    def _take_back(self, former: Posting) -> None:
        """A verdict of the user's that another has taken the place of."""
        at = self._local(former.charge.at)
        for entry in self.entries:
            if (entry.key, entry.at) == (former.charge.key, at):
                self.entries.remove(entry)
                return

    def _charged(self, record: AnyRecord, posting: Posting) -> None:
        charge, paid = posting.charge, posting.paid
        if isinstance(record, Done | Failed):
            self._add(charge, record.at, _counted(record), paid)
        elif isinstance(record, Resolved) and paid is not None:
            images = charge.terms.n if charge.terms else 1
            counted: dict[Measure, Decimal] = {"images": Decimal(images)}
            self._add(charge, charge.at, counted, paid)

    def _add(
        self,
        charge: Charge,
        at: str,
        counted: dict[Measure, Decimal],
        paid: AmountRecord | None,
    ) -> None:
        measures: dict[Measure, Decimal] = {"requests": Decimal(1), **counted}
        if paid is not None:
            measures["amount"] = Decimal(paid.amount)
        currency = paid.currency if paid else None
        if currency == NO_CURRENCY:
            return  # work of the user's own server is on no bill
        words = (charge.model, charge.prompt, charge.source, charge.task, currency)
        entry = OwnCharge(charge.key, self._local(at), *words, measures)
        if self._period.holds(entry.cell[0]):
            self.entries.append(entry)

    def _local(self, at: str) -> datetime:
        return datetime.fromisoformat(at).astimezone(self._zone)


def _counted(record: Done | Failed) -> dict[Measure, Decimal]:
    """What the server counted of an answered Attempt; pictures that came where it counted none."""
    kept = len(record.files) if isinstance(record, Done) else 0
    usage = record.usage
    if usage is None:
        return {"images": Decimal(kept)}
    return {
        "images": Decimal(kept if usage.images is None else usage.images),
        "input_tokens": Decimal(usage.input_tokens or 0),
        "output_tokens": Decimal(usage.output_tokens or 0),
        "total_tokens": Decimal(usage.total_tokens or 0),
    }


def ceilings(doubts: Iterable[Doubt], currency: str | None) -> list[Money]:
    """The ceilings of doubts in one currency."""
    found = (each.attempt.ceiling for each in doubts)
    return [ceiling for ceiling in found if ceiling and currency in (None, ceiling.currency)]
