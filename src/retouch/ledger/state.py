"""From Records to Outcomes: the one function that says where every Job stands.

Pure and total over any prefix of a ledger. What a Charge is, and when it is settled, is told by
`charges`; of a Job, the latest attempt decides, and a Record of an older one settles that one's
Charge and nothing else. What is settled is not paid twice (DESIGN §3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext

from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.decision import NOTHING_REDONE, Hold, Poll, Redo, decide
from retouch.ledger.outcome import Outcome, State, Totals
from retouch.ledger.records import (
    AnyRecord,
    Done,
    Failed,
    FileRecord,
    Resolved,
    Reused,
    RunBegins,
    RunEnds,
    Salvaged,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
)
from retouch.ledger.terms import Observed
from retouch.money import EXACT, Money, total

_OPEN_STATES = ("sent", "unsent", "accepted", "unknown")
_OVER = ("done", "reused")


class Replay:
    """The state after some Records; `apply` takes the next one."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.delivered: dict[str, list[Done | Reused]] = {}
        self.totals = Totals()
        self.observed: dict[str, Observed] = {}
        self.accepted: dict[str, TaskAccepted] = {}
        self.superseded: set[str] = set()
        self.lost_lines: int | None = 0
        self.runs = 0
        self.last_run: RunBegins | None = None
        self.last_end: RunEnds | None = None
        self._charges = Charges()

    @property
    def open_charges(self) -> dict[tuple[str, int], Charge]:
        """What is not settled, by key and attempt."""
        return self._charges.open

    @property
    def verdicts(self) -> dict[tuple[str, int], Posting]:
        """What the user's word settled, by key and attempt."""
        return self._charges.verdicts

    def apply(self, record: AnyRecord) -> Posting | None:  # noqa: PLR0912 - a case a record
        """Take in one Record; what it did to its Attempt's Charge."""
        posting = self._charges.apply(record)
        if posting is not None:
            self._post(record, posting)
        match record:
            case Started():
                self._started(record)
            case Unsent() if not self._is_answered(record, posting):
                self._decide(record, "unsent")
            case TaskAccepted():
                self.accepted[record.key] = record
                self._decide(record, "accepted", record.task)
            case Done():
                self.accepted.pop(record.key, None)
                self._decide(record, "done", record.task)
                if self.outcomes[record.key].decided is record:
                    self.delivered.pop(record.key, None)  # of what is superseded
            case Failed():
                self._failed(record, posting)
            case Unknown() if posting is not None:
                self._decide(record, "unknown", record.task)
            case Resolved():
                self._resolved(record)
            case Reused():
                self._reused(record)
            case RunBegins():
                self.runs += 1
                self.last_run, self.last_end = record, None
            case Salvaged():
                self.lost_lines = record.lost_lines
            case RunEnds():
                self.last_end = record
        return posting

    def _post(self, record: AnyRecord, posting: Posting) -> None:
        """Add to the totals what a Charge was settled at, and what was used."""
        charge, verdict, paid, former = (
            posting.charge, posting.verdict, posting.paid, posting.former
        )  # fmt: skip
        if former is not None and former.verdict == "charged":
            was = former.paid.money if former.paid else None
            self.totals.take_back(was, charge.model, charge.day)
        if verdict in ("charged", "uncounted") and isinstance(record, Done | Failed):
            kept = len(record.files) if isinstance(record, Done) else 0
            self._observe(record, charge, kept)
            self.totals.count(record.usage, kept)
        if verdict == "charged":
            self.totals.pay(paid.money if paid else None, charge.model, charge.day)

    def _reused(self, record: Reused) -> None:
        """One more place for finished work; what was kept before stands beside it."""
        known = self.outcomes.get(record.key)
        places = self.delivered.setdefault(record.key, [])
        if not places and known is not None and isinstance(known.decided, Done):
            places.append(known.decided)
        places.append(record)
        # Attempts are numbered on: an open one keeps its own Charge.
        self.outcomes[record.key] = Outcome("reused", known.attempt if known else 0, record)

    def done(self, key: str) -> Done | None:
        """The record of what was kept for a Job here, wherever else that was delivered."""
        outcome = self.outcomes.get(key)
        first = next(iter(self.delivered.get(key, ())), outcome.decided if outcome else None)
        return first if isinstance(first, Done) else None

    def places(self, key: str) -> list[tuple[FileRecord, ...]]:
        """The pictures of a Job at each place they are recorded, the latest last."""
        outcome = self.outcomes.get(key)
        found = [each.files for each in self.delivered.get(key, ())]
        if not found and outcome is not None and outcome.files:
            found = [outcome.files]
        return list(dict.fromkeys(found))

    def _observe(self, record: Done | Failed, charge: Charge, kept: int) -> None:
        """Remember the most tokens that were counted: ceilings may not lie below."""
        if record.usage is not None:
            observed = self.observed.setdefault(record.model, Observed())
            images = charge.terms.n if charge.terms else kept
            observed.take(record.usage.input_tokens, record.usage.output_tokens, images)

    def _started(self, record: Started) -> None:
        known = self.outcomes.get(record.key)
        if known is not None:
            self.superseded.update(self._paths(record.key))
        if known is None or record.attempt >= known.attempt:
            charge = self.open_charges[record.key, record.attempt]
            self.outcomes[record.key] = Outcome(
                "sent", record.attempt, record, record, None, charge
            )

    def _failed(self, record: Failed, posting: Posting | None) -> None:
        """Giving up after `unsent` is a failure."""
        if not self._is_answered(record, posting):
            self._decide(record, "failed", record.task)

    def _is_answered(self, record: Unsent | Failed, posting: Posting | None) -> bool:
        """Whether its Attempt was charged already, or is settled by the user's word, by a Record
        that says so."""
        known = self.outcomes.get(record.key)
        if posting is not None or known is None or known.attempt != record.attempt:
            return False
        was_charged = isinstance(known.decided, Failed) and known.decided.billed == "yes"
        is_open = (record.key, record.attempt) in self.open_charges
        return known.state == "resolved" or was_charged or is_open

    def _resolved(self, record: Resolved) -> None:
        """The Job of a Charge that was settled; one that failed for good stays failed."""
        outcome = self.outcomes.get(record.key)
        is_latest = outcome is not None and outcome.attempt == record.attempt
        if outcome and is_latest:
            is_open = outcome.state in (*_OPEN_STATES, "resolved")
            if is_open or _may_be_sent_again(outcome):
                self._decide(record, "resolved")
            else:
                outcome.charge = self.open_charges.get((record.key, record.attempt))

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
        charge = self.open_charges.get((record.key, record.attempt))
        self.outcomes[record.key] = Outcome(state, record.attempt, record, began, task, charge)

    def counted(self, currency: str, model: str | None = None, day: str | None = None) -> Money:
        """What counts towards a budget: the confirmed, and what is unknown at its ceiling."""
        spent = Money(self.spent(currency, model, day), currency)
        return spent + Money(self.reserved(currency, model, day), currency)

    def spent(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """What is confirmed, of one model and of one UTC day or of all."""
        days = self.spent_by_day(currency, model)
        return days.get(day, Decimal(0)) if day else _sum(days.values())

    def spent_by_day(self, currency: str, model: str | None = None) -> dict[str, Decimal]:
        """What is confirmed by the UTC day (YYYY-MM-DD) on which its Attempts began."""
        days: dict[str, list[Decimal]] = {}
        for (of_model, day, code), money in self.totals.spent.items():
            if code == currency and model in (None, of_model):
                days.setdefault(day, []).append(money.amount)
        return {day: _sum(amounts) for day, amounts in sorted(days.items())}

    def reserved(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """What is open, at its ceiling."""
        return _sum(
            charge.ceiling.amount
            for charge in self.open_charges.values()
            if charge.ceiling and charge.ceiling.currency == currency
            if model in (None, charge.model) and day in (None, charge.day)
        )

    @property
    def unknown_high(self) -> dict[str, Money]:
        """What open Charges may come to at most, by currency."""
        ceilings = (charge.ceiling for charge in self.open_charges.values())
        return total(ceiling for ceiling in ceilings if ceiling is not None)

    def held(self, redo: Redo = NOTHING_REDONE) -> Iterator[tuple[str, Outcome]]:
        """Jobs that the next run leaves alone until somebody says what was charged."""
        for key, outcome in self.outcomes.items():
            if isinstance(decide(key, outcome, redo, self.lost_attempts(key)), Hold):
                yield key, outcome

    def is_polled(self, charge: Charge) -> bool:
        """Whether the next run asks for the Charge's Task, and so settles it."""
        outcome = self.outcomes.get(charge.key)
        return outcome is not None and outcome.attempt == charge.attempt and outcome.is_polled

    def unsettled(self) -> Iterator[Charge]:
        """What may have been charged and nothing but somebody's word settles: the Charges of Jobs
        that are held, and those of Attempts that were followed by another."""
        for charge in self.open_charges.values():
            if charge.is_unsettled and not self.is_polled(charge):
                yield charge

    def lost_attempts(self, key: str) -> int:
        """How many Attempts of a Job are open: each may have been charged, or not."""
        outcome = self.outcomes.get(key)
        last = outcome.attempt if outcome else 0
        charges = (self.open_charges.get((key, attempt)) for attempt in range(1, last + 1))
        return sum(charge is not None and charge.standing == "unknown" for charge in charges)

    def open_currencies(self, model: str | None = None) -> set[str]:
        """The currencies that open Charges are bounded in."""
        return {
            charge.ceiling.currency
            for charge in self.open_charges.values()
            if charge.ceiling and model in (None, charge.model)
        }

    def currencies(self, model: str | None = None) -> set[str]:
        """The currencies of all that is confirmed or open."""
        spent = {code for of_model, _, code in self.totals.spent if model in (None, of_model)}
        return spent | self.open_currencies(model)

    def counts(self) -> Counter[str]:
        """How many Jobs are in each state."""
        return Counter(outcome.state for outcome in self.outcomes.values())

    def recorded_paths(self) -> set[str]:
        """Every picture that a Record names, also of work that was done again since."""
        return self.superseded.union(path for key in self.outcomes for path in self._paths(key))

    def _paths(self, key: str) -> Iterator[str]:
        """Where a Job's pictures are recorded, at every place."""
        return (file.path for files in self.places(key) for file in files)

    def place_counts(self) -> Counter[str]:
        """The same, each place for itself: work that is done and delivered to two more is one
        done and two reused."""
        counted = Counter[str](outcome.state for outcome in self.outcomes.values())
        for key, places in self.delivered.items():
            if self.outcomes[key].state == "reused":
                counted.update("done" if isinstance(each, Done) else "reused" for each in places)
                counted["reused"] -= 1
        return counted

    @property
    def tasks_out(self) -> int:
        """How many Tasks are on file that a run would still ask for."""
        return sum(outcome.is_polled for outcome in self.outcomes.values())

    def unanswered(self) -> Iterator[tuple[str, Outcome]]:
        """Jobs whose last Attempt was begun and never answered for: after a crash, unknown."""
        return ((key, outcome) for key, outcome in self.outcomes.items() if outcome.state == "sent")


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(amounts, Decimal(0))


def _may_be_sent_again(outcome: Outcome) -> bool:
    """Whether a failure was not the Job's own: nothing says that it would fail again."""
    return isinstance(outcome.decided, Failed) and not outcome.decided.final


def replay(records: Iterable[AnyRecord]) -> Replay:
    """The state after all `records`, in the order of the ledger."""
    state = Replay()
    for record in records:
        state.apply(record)
    return state


def open_keys(state: Replay) -> dict[str, Poll | Hold]:
    """The Jobs of a ledger that are polled or held, by key."""
    found = {}
    for key, outcome in state.outcomes.items():
        decision = decide(key, outcome)
        if isinstance(decision, Poll | Hold):
            found[key] = decision
    return found
