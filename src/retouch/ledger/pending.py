"""What may have been charged and is not settled: Attempt by Attempt, with all a reviewer needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from retouch.ledger.records import (
    AnyRecord,
    Done,
    Failed,
    Resolved,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
)
from retouch.money import Money

NO_ANSWER = "no answer on file"


@dataclass(frozen=True, slots=True)
class Unsettled:
    """One Attempt that may have been charged. `ceiling` is None where it is unpriced; `at` is
    when it was sent. `is_polled`: its Task is on file and the next run asks for it. `is_settled`:
    it was charged, nobody knows how much."""

    key: str
    attempt: int
    at: str
    model: str
    prompt: str
    source: str
    ceiling: Money | None
    task: str | None = None
    reason: str = NO_ANSWER
    is_polled: bool = False
    is_settled: bool = False
    n: int = 1


class PendingCharges:
    """Gathers, Record by Record, what is open; memory holds no more than that."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], Unsettled] = {}

    def apply(self, record: AnyRecord) -> None:
        """Take in one Record of a ledger, in order."""
        match record:
            case Started() | Unknown():
                self._begun(record)
            case TaskAccepted():
                self._change(record, task=record.task, is_polled=True)
            case Unsent():
                self._open.pop((record.key, record.attempt), None)
            case Resolved():
                self._resolved(record)
            case Done():
                self._answered(record, "done, and the server did not say what it counted")
            case Failed():
                if record.billed == "no":
                    self._open.pop((record.key, record.attempt), None)
                else:
                    self._answered(record, record.error.message)

    def get(self, key: str, attempt: int) -> Unsettled | None:
        """An Attempt, if it is open."""
        return self._open.get((key, attempt))

    def unsettled(self) -> Iterator[Unsettled]:
        """What is unknown and nobody has settled; Tasks that will be polled are not."""
        return (e for e in self._open.values() if not (e.is_polled or e.is_settled))

    def open(self) -> Iterator[Unsettled]:
        """All that may yet be found on a bill."""
        return iter(self._open.values())

    def _resolved(self, record: Resolved) -> None:
        known = self._open.get((record.key, record.attempt))
        if record.verdict == "charged" and record.amount is None and known and known.ceiling:
            self._change(record, is_settled=True)
        else:
            self._open.pop((record.key, record.attempt), None)

    def _begun(self, record: Started | Unknown) -> None:
        place = (record.key, record.attempt)
        if place not in self._open:
            ceiling = record.ceiling.money if record.ceiling else None
            terms = record.terms if isinstance(record, Started) else None
            self._open[place] = Unsettled(
                *place, record.at, record.model, record.prompt, record.source, ceiling,
                n=terms.n if terms else 1,
            )  # fmt: skip
        if isinstance(record, Unknown):
            task = record.task or self._open[place].task
            self._change(record, task=task, reason=record.error.message, is_polled=False)

    def _answered(self, record: Done | Failed, reason: str) -> None:
        """Charged, but not how much: that stays open where a price is known."""
        known = self._open.get((record.key, record.attempt))
        is_unsure = isinstance(record, Failed) and record.billed == "unknown"
        if known is not None and (is_unsure or (record.cost is None and known.ceiling)):
            self._change(record, reason=reason, is_polled=False)
        else:
            self._open.pop((record.key, record.attempt), None)

    def _change(
        self,
        record: TaskAccepted | Unknown | Done | Failed | Resolved,
        **changes: str | bool | None,
    ) -> None:
        place = (record.key, record.attempt)
        known = self._open.get(place)
        if known is not None:
            self._open[place] = replace(known, **changes)  # type: ignore[arg-type]  # by name
