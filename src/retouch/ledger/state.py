"""From Records to Outcomes: the one function that says where every Job stands.

Pure and total over any prefix of a ledger. What a Charge is, and when it is settled, is told by
`charges`, what they add up to by `spending`; of a Job, the latest attempt decides, and a Record of
an older one settles that one's Charge and nothing else. What is settled is not paid twice (DESIGN
§3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from retouch.ledger.charges import Charge, Posting
from retouch.ledger.decision import NOTHING_REDONE, Hold, Poll, Redo, decide
from retouch.ledger.lines import NOWHERE, Lines, NamedPaths, Position
from retouch.ledger.outcome import Outcome, State
from retouch.ledger.outcomes import Outcomes
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
from retouch.ledger.spending import Spending
from retouch.ledger.terms import Observed

_OPEN_STATES = ("sent", "unsent", "accepted", "unknown")
_OVER = ("done", "reused")


class Replay(Spending):
    """The state after some Records, the money's (see `Spending`) and every Job's; `apply` takes the
    next one.

    Of a Record that says where it stands in `lines`, little is kept once its Job has ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines = Lines()
        self.outcomes = Outcomes(self.lines, self.open_charges)
        self.observed: dict[str, Observed] = {}
        self.accepted: dict[str, TaskAccepted] = {}
        self.lost_lines: int | None = 0
        self.runs = 0
        self.last_run: RunBegins | None = None
        self.last_end: RunEnds | None = None
        self._open = self.open_charges
        self._unplaced_paths: set[str] = set()

    def apply(self, record: AnyRecord, where: Position = NOWHERE) -> Posting | None:
        """Take in one Record, and where it stands; what it did to its Attempt's Charge."""
        posting = self._charges.apply(record)
        if posting is not None and (posting.verdict != "open" or posting.former is not None):
            self._post(record, posting)
        take = _TAKEN.get(type(record))
        if take is not None:
            take(self, record, posting, where)
        else:
            self._of_run(record)
        return posting

    def take(self, record: AnyRecord, where: Position) -> None:
        """The same for who asks no more of it: what most Records say, a Job's first Attempt that
        begins, or that brings pictures at a cost, is taken in a shorter way."""
        if type(record) is Started:
            if self.outcomes.begin(record, where):
                self._charges.begin(record)
                return
        elif (
            type(record) is Done and record.cost is not None and self.outcomes.finish(record, where)
        ):
            charge, kept = self._charges.bring(record), len(record.files)
            begun = charge.begun
            self.totals.pay(record.cost, begun.model, begun.at[:10])
            self._observe(record, charge, kept)
            self.totals.count(record.usage, kept)
            return
        self.apply(record, where)

    def _of_run(self, record: AnyRecord) -> None:
        """Take in what is about no Job."""
        match record:
            case RunBegins():
                self.runs += 1
                self.last_run, self.last_end = record, None
            case Salvaged():
                self.lost_lines = record.lost_lines
            case RunEnds():
                self.last_end = record

    def _post(self, record: AnyRecord, posting: Posting) -> None:
        """Add up what it cost, and what was used."""
        self._pay(posting)
        if posting.verdict not in ("charged", "uncounted"):
            return
        if type(record) is Done:  # as most are
            kept = len(record.files)
        elif type(record) is Failed:
            kept = 0
        else:
            return
        self._observe(record, posting.charge, kept)
        self.totals.count(record.usage, kept)

    def _reused(self, record: Reused, _: Posting | None, where: Position) -> None:
        """One more place for finished work; what was kept before stands beside it."""
        if not where:
            self._note_paths(record)
        known = self.outcomes.get(record.key)
        # Attempts are numbered on: an open one keeps its own Charge.
        outcome = Outcome("reused", known.attempt if known else 0, record)
        outcome.decided_at = where
        self.outcomes.put(record.key, outcome, known.number if known else -1)
        was_done = known is not None and known.state == "done"
        if known is not None and was_done and not self.outcomes.is_delivered(outcome.number):
            self.outcomes.deliver(outcome.number, known.decided, known.decided_at)
        self.outcomes.deliver(outcome.number, record, where)

    def done(self, key: str) -> Done | None:
        """The record of what was kept for a Job here, wherever else that was delivered."""
        outcome = self.outcomes.get(key)
        if outcome is None:
            return None
        delivered = self.outcomes.deliveries(outcome.number)
        first = delivered[0] if delivered else outcome.decided
        return first if isinstance(first, Done) else None

    def is_delivered(self, key: str) -> bool:
        """Whether a Job's pictures are recorded at further places, or were brought from one."""
        number = self.outcomes.number(key)
        return number >= 0 and self.outcomes.is_delivered(number)

    def places(self, key: str) -> list[tuple[FileRecord, ...]]:
        """The pictures of a Job at each place they are recorded, the latest last."""
        outcome = self.outcomes.get(key)
        return [] if outcome is None else self.places_of(outcome)

    def places_of(self, outcome: Outcome) -> list[tuple[FileRecord, ...]]:
        """The same, of a Job that was looked up."""
        found = [each.files for each in self.outcomes.deliveries(outcome.number)]
        if not found and outcome.files:
            found = [outcome.files]
        return list(dict.fromkeys(found))

    def _observe(self, record: Done | Failed, charge: Charge, kept: int) -> None:
        """Remember the most tokens that were counted: ceilings may not lie below."""
        if record.usage is not None:
            observed = self.observed.get(record.model)
            if observed is None:
                observed = self.observed[record.model] = Observed()
            images = charge.terms.n if charge.terms else kept
            observed.take(record.usage.input_tokens, record.usage.output_tokens, images)

    def _started(self, record: Started, _: Posting | None, where: Position) -> None:
        if self.outcomes.begin(record, where):
            return
        known = self.outcomes.get(record.key)
        if known is None or record.attempt >= known.attempt:
            charge = self._open[record.key, record.attempt]
            outcome = Outcome("sent", record.attempt, record, record, None, charge)
            outcome.decided_at = outcome.began_at = where
            self.outcomes.put(record.key, outcome, known.number if known else -1)

    def _unsent(self, record: Unsent, posting: Posting | None, where: Position) -> None:
        if not self._is_answered(record, posting):
            self._decide(record, "unsent", where)

    def _accepted(self, record: TaskAccepted, _: Posting | None, where: Position) -> None:
        self.accepted[record.key] = record
        self._decide(record, "accepted", where, record.task)

    def _unknown(self, record: Unknown, posting: Posting | None, where: Position) -> None:
        if posting is not None:
            self._decide(record, "unknown", where, record.task)

    def _done(self, record: Done, posting: Posting | None, where: Position) -> None:
        if self.accepted:
            self.accepted.pop(record.key, None)
        is_settled = posting is not None and posting.verdict == "charged"
        if is_settled and self.outcomes.finish(record, where):
            return
        if not where:
            self._note_paths(record)
        outcome = self._decide(record, "done", where, record.task)
        if outcome is not None:
            self.outcomes.undeliver(outcome.number)  # of what is superseded

    def _note_paths(self, record: Done | Reused) -> None:
        """The paths of a Record that stands nowhere: those of the others can be read again."""
        self._unplaced_paths.update(file.path for file in record.files)

    def _failed(self, record: Failed, posting: Posting | None, where: Position) -> None:
        """Giving up after `unsent` is a failure."""
        if not self._is_answered(record, posting):
            outcome = self._decide(record, "failed", where, record.task)
            if outcome is not None and outcome.charge is None:
                self.accepted.pop(record.key, None)  # its Task has ended

    def _is_answered(self, record: Unsent | Failed, posting: Posting | None) -> bool:
        """Whether its Attempt was charged already, or is settled by the user's word, by a Record
        that says so."""
        known = self.outcomes.get(record.key)
        if posting is not None or known is None or known.attempt != record.attempt:
            return False
        was_charged = known.state == "failed" and known.verdict.billed == "yes"
        is_open = (record.key, record.attempt) in self.open_charges
        return known.state == "resolved" or was_charged or is_open

    def _resolved(self, record: Resolved, _: Posting | None, where: Position) -> None:
        """The Job of a Charge that was settled; one that failed for good stays failed."""
        outcome = self.outcomes.get(record.key)
        is_latest = outcome is not None and outcome.attempt == record.attempt
        if outcome and is_latest:
            is_open = outcome.state in (*_OPEN_STATES, "resolved")
            if is_open or _may_be_sent_again(outcome):
                self._decide(record, "resolved", where)
            else:
                outcome.charge = self.open_charges.get((record.key, record.attempt))
                self.outcomes.put(record.key, outcome, outcome.number)

    def _decide(
        self,
        record: Unsent | TaskAccepted | Done | Failed | Unknown | Resolved,
        state: State,
        where: Position,
        task: str | None = None,
    ) -> Outcome | None:
        """Where its Job stands now; None where an earlier Record has decided that."""
        key, attempt = record.key, record.attempt
        known, is_same = self.outcomes.get(key), False
        if known is not None:
            is_same = attempt == known.attempt
            if attempt < known.attempt or (is_same and known.state in _OVER):
                return None
            task = (task or known.task) if is_same else task
        outcome = Outcome(state, attempt, record, None, task, self._open.get((key, attempt)))
        outcome.decided_at = where
        if known is None:
            self.outcomes.put(key, outcome)
            return outcome
        if is_same:
            outcome.went_on(known)
        self.outcomes.put(key, outcome, known.number)
        return outcome

    def held(self, redo: Redo = NOTHING_REDONE) -> Iterator[tuple[str, Outcome]]:
        """Jobs that the next run leaves alone until somebody says what was charged."""
        for key, outcome in self.outcomes.undecided():
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

    def counts(self) -> Counter[str]:
        """How many Jobs are in each state."""
        return self.outcomes.counts()

    def recorded_paths(self) -> NamedPaths:
        """Every picture that a Record names, also of work that was done again since: read from the
        ledger anew. Raises StorageFailed."""
        return NamedPaths(chain(self._unplaced_paths, self.lines.paths()))

    def place_counts(self) -> Counter[str]:
        """The same, each place for itself: work that is done and delivered to two more is one
        done and two reused."""
        counted = self.outcomes.counts()
        counted.update(self.outcomes.places_counted())
        return counted

    @property
    def tasks_out(self) -> int:
        """How many Tasks are on file that a run would still ask for."""
        return sum(outcome.is_polled for outcome in self.outcomes.whole())

    def unanswered(self) -> Iterator[tuple[str, Outcome]]:
        """Jobs whose last Attempt was begun and never answered for: after a crash, unknown."""
        return self.outcomes.of_state("sent")


_TAKEN: dict[type, Callable[[Replay, Any, Posting | None, Position], None]] = {
    Started: Replay._started,
    Unsent: Replay._unsent,
    TaskAccepted: Replay._accepted,
    Done: Replay._done,
    Failed: Replay._failed,
    Unknown: Replay._unknown,
    Resolved: Replay._resolved,
    Reused: Replay._reused,
}  # a look-up, and no chain of comparisons: there may be millions


def _may_be_sent_again(outcome: Outcome) -> bool:
    """Whether a failure was not the Job's own: nothing says that it would fail again."""
    return outcome.state == "failed" and not outcome.verdict.is_final


def replay(records: Iterable[AnyRecord]) -> Replay:
    """The state after all `records`, in the order of the ledger."""
    state = Replay()
    for record in records:
        state.apply(record)
    return state


def open_keys(state: Replay) -> dict[str, Poll | Hold]:
    """The Jobs of a ledger that are polled or held, by key."""
    found = {}
    for key, outcome in state.outcomes.undecided():
        decision = decide(key, outcome)
        if isinstance(decision, Poll | Hold):
            found[key] = decision
    return found
