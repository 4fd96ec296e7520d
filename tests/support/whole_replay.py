"""Where every Job stands, by keeping every Record in memory: the plain way, beside which
`ledger.state` must answer every question alike, though it keeps few bytes of a Job that has ended.

Only Charges are taken from there: what they are is told by `ledger.charges`, and tried elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.outcome import State, Totals, Verdict, verdict_of
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
    TermsRecord,
    Unknown,
    Unsent,
)
from retouch.ledger.terms import Observed

_OPEN_STATES = ("sent", "unsent", "accepted", "unknown")
_OVER = ("done", "reused")
Words = tuple[str, str, str]


@dataclass(slots=True)
class WholeOutcome:
    """Where one Job stands, with its Records."""

    state: State
    attempt: int
    decided: AnyRecord
    began: Started | None = None
    task: str | None = None
    charge: Charge | None = None

    @property
    def is_polled(self) -> bool:
        return bool(self.task) and self.state in ("accepted", "sent", "unknown")

    @property
    def files(self) -> tuple[FileRecord, ...]:
        return self.decided.files if isinstance(self.decided, Done | Reused) else ()

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.decided)


class WholeReplay:
    """The state after some Records; `apply` takes the next one."""

    def __init__(self) -> None:
        self.outcomes: dict[str, WholeOutcome] = {}
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

    def apply(self, record: AnyRecord) -> Posting | None:
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
            self.totals.take_back(former.paid, charge.model, charge.day)
        if verdict in ("charged", "uncounted") and isinstance(record, Done | Failed):
            kept = len(record.files) if isinstance(record, Done) else 0
            self._observe(record, charge, kept)
            self.totals.count(record.usage, kept)
        if verdict == "charged":
            self.totals.pay(paid, charge.model, charge.day)

    def _reused(self, record: Reused) -> None:
        """One more place for finished work; what was kept before stands beside it."""
        known = self.outcomes.get(record.key)
        places = self.delivered.setdefault(record.key, [])
        if not places and known is not None and isinstance(known.decided, Done):
            places.append(known.decided)
        places.append(record)
        # Attempts are numbered on: an open one keeps its own Charge.
        self.outcomes[record.key] = WholeOutcome("reused", known.attempt if known else 0, record)

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
            self.outcomes[record.key] = WholeOutcome(
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
        self.outcomes[record.key] = WholeOutcome(state, record.attempt, record, began, task, charge)

    def lost_attempts(self, key: str) -> int:
        """How many Attempts of a Job are open: each may have been charged, or not."""
        outcome = self.outcomes.get(key)
        last = outcome.attempt if outcome else 0
        charges = (self.open_charges.get((key, attempt)) for attempt in range(1, last + 1))
        return sum(charge is not None and charge.standing == "unknown" for charge in charges)

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

    def unanswered(self) -> Iterator[tuple[str, WholeOutcome]]:
        """Jobs whose last Attempt was begun and never answered for: after a crash, unknown."""
        return ((key, outcome) for key, outcome in self.outcomes.items() if outcome.state == "sent")

    def replaced(self) -> set[str]:
        terms = (each.began.terms for each in self.outcomes.values() if each.began)
        return {each.replaces for each in terms if each is not None and each.replaces}

    def latest_done(self, model: str, count: int) -> list[WholeOutcome]:
        every = [each for each in self.outcomes.values() if isinstance(each.decided, Done)]
        return [each for each in every if getattr(each.decided, "model", "") == model][-count:]

    def asking(self) -> dict[Words, list[TermsRecord | None]]:
        known: dict[Words, list[TermsRecord | None]] = {}
        for outcome in self.outcomes.values():
            if (began := outcome.began) is not None:
                place = (began.model, began.prompt, began.source)
                known.setdefault(place, []).append(began.terms)
        return known


def _may_be_sent_again(outcome: WholeOutcome) -> bool:
    return isinstance(outcome.decided, Failed) and not outcome.decided.final


def replay_whole(records: list[AnyRecord]) -> WholeReplay:
    state = WholeReplay()
    for record in records:
        state.apply(record)
    return state
