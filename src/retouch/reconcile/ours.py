"""Our side of a reconciliation: every Attempt that ledgers say was charged, and what is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timezone
from decimal import Decimal

from retouch.dialects.bill import Measure
from retouch.ledger.pending import PendingCharges, Unsettled
from retouch.ledger.records import AnyRecord, Done, Failed, Resolved
from retouch.money import Money
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
    attempt: Unsettled
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

    def read(self, ledger: int, records: Iterable[AnyRecord], shared: int = 0) -> None:
        """Take in a whole ledger, known as number `ledger`; of a copy, only the Attempts begun
        after its `shared` first records."""
        pending = PendingCharges()
        for number, record in enumerate(records):
            known = None
            if isinstance(record, Done | Failed | Resolved):
                known = pending.get(record.key, record.attempt)
            pending.apply(record)
            if number < shared:
                continue
            if isinstance(record, Resolved) and known is not None:
                self._settled(record, known)
            elif isinstance(record, Done | Failed):
                self._charged(record, known, pending)
            if number == shared - 1:
                pending = PendingCharges()  # what was open in the shared part is the other copy's
        for each in pending.open():
            day = self._local(each.at).date().isoformat()
            if self._period.holds(day):
                self.doubts.append(Doubt(ledger, each, day))

    def _charged(
        self, record: Done | Failed, known: Unsettled | None, pending: PendingCharges
    ) -> None:
        """An answered Attempt; one of unknown cost stays a doubt and is no entry."""
        is_paid = isinstance(record, Done) or record.billed == "yes"
        if not is_paid or pending.get(record.key, record.attempt) is not None:
            return
        measures: dict[Measure, Decimal] = {"requests": Decimal(1)}
        if record.cost is not None:
            measures["amount"] = Decimal(record.cost.amount)
        kept = len(record.files) if isinstance(record, Done) else 0
        usage = record.usage
        said = None if usage is None else usage.images
        measures["images"] = Decimal(kept if said is None else said)
        if usage is not None:
            measures["input_tokens"] = Decimal(usage.input_tokens or 0)
            measures["output_tokens"] = Decimal(usage.output_tokens or 0)
            measures["total_tokens"] = Decimal(usage.total_tokens or 0)
        currency = record.cost.currency if record.cost else None
        task = record.task or (known.task if known else None)
        words = (record.model, record.prompt, record.source, task, currency)
        self._add(OwnCharge(record.key, self._local(record.at), *words, measures))

    def _settled(self, record: Resolved, known: Unsettled) -> None:
        if record.verdict == "charged" and record.amount is not None:
            measures: dict[Measure, Decimal] = {
                "requests": Decimal(1),
                "amount": Decimal(record.amount.amount),
                "images": Decimal(known.n),
            }
            words = (known.model, known.prompt, known.source, known.task, record.amount.currency)
            self._add(OwnCharge(record.key, self._local(known.at), *words, measures))

    def _add(self, entry: OwnCharge) -> None:
        if self._period.holds(entry.cell[0]):
            self.entries.append(entry)

    def _local(self, at: str) -> datetime:
        return datetime.fromisoformat(at).astimezone(self._zone)


def ceilings(doubts: Iterable[Doubt], currency: str | None) -> list[Money]:
    """The ceilings of doubts in one currency."""
    found = (each.attempt.ceiling for each in doubts)
    return [ceiling for ceiling in found if ceiling and currency in (None, ceiling.currency)]
