"""From Records to Outcomes and Charges: the one function that says where every Job stands.

Pure and total over any prefix of a ledger. A Charge belongs to an Attempt: it opens with
`started`, and is closed by what is known afterwards (`unsent`, `done`, `failed` with a verdict on
billing, `resolved`). An attempt left open is unknown between nothing and its ceiling, whatever a
later attempt of the same Job brings (DESIGN §3). Of a Job, the latest attempt decides; a record
of an older one settles that one's Charge and nothing else. What is settled is not paid twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal

from retouch.ledger.outcome import OpenCharge, Outcome, State, Totals
from retouch.ledger.records import (
    AnyRecord,
    Done,
    Failed,
    Resolved,
    Reused,
    RunBegins,
    RunEnds,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
)
from retouch.ledger.terms import Observed
from retouch.money import Money, total

_OPEN_STATES = ("sent", "unsent", "accepted", "unknown")
_OVER = ("done", "reused")


class Replay:
    """The state after some Records; `apply` takes the next one."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.open_charges: dict[tuple[str, int], OpenCharge] = {}
        self.totals = Totals()
        self.observed: dict[str, Observed] = {}
        self.runs = 0
        self.last_run: RunBegins | None = None
        self.last_end: RunEnds | None = None

    def apply(self, record: AnyRecord) -> None:
        """Take in one Record."""
        match record:
            case Started():
                self._started(record)
            case Unsent():
                self._close(record)
                self._decide(record, "unsent")
            case TaskAccepted():
                self._decide(record, "accepted", record.task)
            case Done():
                self._charged(record, len(record.files))
                self._decide(record, "done", record.task)
            case Failed():
                self._failed(record)
            case Unknown():
                self._unknown(record)
            case Resolved():
                self._resolved(record)
            case Reused():
                known = self.outcomes.get(record.key)
                # The number goes on: an attempt that is still open keeps its Charge to itself.
                self.outcomes[record.key] = Outcome("reused", known.attempt if known else 0, record)
            case RunBegins():
                self.runs += 1
                self.last_run, self.last_end = record, None
            case RunEnds():
                self.last_end = record

    def _started(self, record: Started) -> None:
        self._open(record)
        known = self.outcomes.get(record.key)
        if known is None or record.attempt >= known.attempt:
            self.outcomes[record.key] = Outcome("sent", record.attempt, record, began=record)

    def _failed(self, record: Failed) -> None:
        if record.billed == "no":
            self._close(record)
        elif record.billed == "yes":
            self._charged(record, 0)
        else:
            self._unknown_charge(record)
        self._decide(record, "failed", record.task)

    def _unknown(self, record: Unknown) -> None:
        self._unknown_charge(record)
        self._decide(record, "unknown", record.task)

    def _unknown_charge(self, record: Unknown | Failed) -> None:
        """Open the Charge, unless it is known already what became of it."""
        known = self.outcomes.get(record.key)
        if (
            known is None
            or record.attempt > known.attempt
            or (record.attempt == known.attempt and known.state in _OPEN_STATES)
        ):
            self._open(record)

    def _charged(self, record: Done | Failed, kept: int) -> None:
        """Close a Charge. One that was priced but not counted by the server stays open: it cost
        something between nothing and its ceiling."""
        charge = self.open_charges.get((record.key, record.attempt))
        if self._is_settled(record, charge):
            return
        self._observe(record, kept)
        self.totals.count(record.usage, kept)
        if record.cost is None and charge is not None and charge.ceiling is not None:
            return
        self._close(record)
        day = charge.day if charge else record.at[:10]
        self.totals.pay(record.cost.money if record.cost else None, record.model, day)

    def _is_settled(self, record: Done | Failed, charge: OpenCharge | None) -> bool:
        """Whether what this attempt cost is in the totals already, or known to be nothing."""
        known = self.outcomes.get(record.key)
        if known is None or record.attempt > known.attempt:
            return False
        is_counted = record.attempt == known.attempt and _is_charged(known)
        return charge is None or is_counted

    def _observe(self, record: Done | Failed, kept: int) -> None:
        """Remember the most tokens that were counted: ceilings may not lie below."""
        if record.usage is not None:
            known = self.outcomes.get(record.key)
            terms = known.began.terms if known and known.began else None
            observed = self.observed.setdefault(record.model, Observed())
            images = terms.n if terms else kept
            observed.take(record.usage.input_tokens, record.usage.output_tokens, images)

    def _resolved(self, record: Resolved) -> None:
        """Settle a Charge. One that was charged, nobody knows how much, stays open up to its
        ceiling; its Job is settled all the same."""
        charge = self.open_charges.get((record.key, record.attempt))
        amount = record.amount.money if record.amount else None
        charged = record.verdict == "charged"
        if charge and not (charged and amount is None and charge.ceiling is not None):
            self._close(record)
            if charged:
                self.totals.pay(amount, charge.model, charge.day)
        outcome = self.outcomes.get(record.key)
        is_latest = outcome is not None and outcome.attempt == record.attempt
        if outcome and is_latest and (outcome.state in _OPEN_STATES or _may_be_sent_again(outcome)):
            self._decide(record, "resolved")

    def _decide(
        self,
        record: Unsent | TaskAccepted | Done | Failed | Unknown | Resolved,
        state: State,
        task: str | None = None,
    ) -> None:
        known = self.outcomes.get(record.key)
        began = None
        if known is not None:
            is_over = known.state in _OVER and known.attempt == record.attempt
            if record.attempt < known.attempt or is_over:
                return
            if record.attempt == known.attempt:
                began, task = known.began, task or known.task
        self.outcomes[record.key] = Outcome(state, record.attempt, record, began, task)

    def _open(self, record: Started | Unknown | Failed) -> None:
        place = (record.key, record.attempt)
        if place not in self.open_charges:
            ceiling = record.ceiling.money if record.ceiling else None
            self.open_charges[place] = OpenCharge(*place, ceiling, record.model, record.at[:10])

    def _close(self, record: Unsent | Done | Failed | Resolved) -> None:
        self.open_charges.pop((record.key, record.attempt), None)

    def counted(self, currency: str, model: str | None = None, day: str | None = None) -> Money:
        """What counts towards a budget: the confirmed, and what is unknown at its ceiling."""
        spent = (
            money
            for (of_model, of_day, _), money in self.totals.spent.items()
            if model in (None, of_model) and day in (None, of_day)
        )
        unknown = (
            charge.ceiling
            for charge in self.open_charges.values()
            if charge.ceiling and model in (None, charge.model) and day in (None, charge.day)
        )
        return total((*spent, *unknown)).get(currency, Money(Decimal(0), currency))

    def counts(self) -> Counter[str]:
        """How many Jobs are in each state."""
        return Counter(outcome.state for outcome in self.outcomes.values())

    @property
    def has_tasks_out(self) -> bool:
        """Whether a Task is on file that a run would still ask for."""
        return any(
            each.task and each.state in ("accepted", "unknown") for each in self.outcomes.values()
        )

    def unanswered(self) -> Iterator[tuple[str, Outcome]]:
        """Jobs whose last Attempt was begun and never answered for: after a crash, unknown."""
        return ((key, outcome) for key, outcome in self.outcomes.items() if outcome.state == "sent")


def _is_charged(outcome: Outcome) -> bool:
    """Whether the attempt that decided was charged, and is in the totals."""
    decided = outcome.decided
    return isinstance(decided, Done) or (isinstance(decided, Failed) and decided.billed == "yes")


def _may_be_sent_again(outcome: Outcome) -> bool:
    """Whether a failure was not the Job's own: nothing says that it would fail again."""
    return isinstance(outcome.decided, Failed) and not outcome.decided.final


def replay(records: Iterable[AnyRecord]) -> Replay:
    """The state after all `records`, in the order of the ledger."""
    state = Replay()
    for record in records:
        state.apply(record)
    return state
