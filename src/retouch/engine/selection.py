"""What a run would do about each Job of a plan: shared by `plan`, `run` and `status`.

Reads what the ledger says, what other ledgers offer for reuse, and what the user asked to be
redone. Decides; sends and writes nothing.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from retouch.dialects.base import Capabilities
from retouch.engine.outputs import Outputs
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.decision import (
    NOTHING_REDONE,
    Decision,
    Hold,
    HoldRejected,
    Poll,
    Redo,
    Send,
    Skip,
    decide,
)
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import FileRecord, TermsRecord
from retouch.ledger.state import Replay
from retouch.ledger.terms import terms_of
from retouch.manifest import Model


class JobStream(Protocol):
    """The stream of Jobs for one model, as the plan makes it: enumerated anew each time."""

    @property
    def model(self) -> Model: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def jobs_count(self) -> int: ...

    def jobs(self) -> Iterator[Job]:
        """The Jobs, lazily, always in the same order."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """The work is paid for and at hand under another path: copy `files` from `folder`."""

    ledger: str
    folder: Path
    files: tuple[FileRecord, ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Another manifest's finished work: its ledger's outcomes and its outputs folder."""

    ledger: str
    folder: Path
    outcomes: dict[str, Outcome]


def open_shelves(ledgers: Sequence[str], folder: Path) -> tuple[Shelf, ...]:
    """The ledgers named by the manifest's `reuse`, relative to its folder.

    Raises LedgerDamaged, StorageFailed.
    """
    paths = [(name, (folder / name).resolve()) for name in ledgers]
    return tuple(Shelf(name, path.parent, read(path).outcomes) for name, path in paths)


Choice = Decision | Reuse


@dataclass(frozen=True, slots=True)
class Selection:
    """Decides about Jobs against the state of a ledger."""

    state: Replay
    outputs: Outputs
    shelves: tuple[Shelf, ...] = ()
    redo: Redo = NOTHING_REDONE

    def choose(self, job: Job) -> Choice:
        """What to do about one Job."""
        key = job.key
        outcome = self.state.outcomes.get(key)
        if outcome is not None and outcome.files:
            return self._finished(job, key, outcome)
        if outcome is None and job.redone and key not in self.redo.keys:
            return Send(1, "rejected") if self.redo.rejected else HoldRejected()
        lost = self.state.lost_attempts(key)
        decision = decide(key, outcome, self.redo, lost)
        if isinstance(decision, Send) and key not in self.redo.keys:
            return self._from_shelf(key) or decision
        return decision

    def is_missing_pictures(self, key: str) -> bool:
        """Whether a finished Job lacks a picture on disk."""
        outcome = self.state.outcomes.get(key)
        return outcome is not None and not all(map(self.outputs.is_whole, outcome.files))

    def _finished(self, job: Job, key: str, outcome: Outcome) -> Choice:
        decision = decide(key, outcome, self.redo)
        if isinstance(decision, Send):
            return decision
        whole = all(self.outputs.is_whole(file) for file in outcome.files)
        if not whole:
            again = Send(outcome.attempt + 1, "missing")
            return (self._from_shelf(key) or again) if self.redo.missing else decision
        if _lies_where_planned(job, outcome.files):
            return decision
        return Reuse("ledger.jsonl", self.outputs.folder, outcome.files)

    def _from_shelf(self, key: str) -> Reuse | None:
        for shelf in self.shelves:
            outcome = shelf.outcomes.get(key)
            if outcome is not None and outcome.files:
                there = Outputs(shelf.folder)
                if all(there.is_whole(file) for file in outcome.files):
                    return Reuse(shelf.ledger, shelf.folder, outcome.files)
        return None


def _lies_where_planned(job: Job, files: tuple[FileRecord, ...]) -> bool:
    """Whether pictures lie under this Job's path (a `~2` was a name already taken)."""
    planned = [job.output_path(index) for index in range(max(len(files), job.images_wanted))]
    stems = {posixpath.splitext(file.path)[0] for file in files}
    return all(stem in planned or stem.rpartition("~")[0] in planned for stem in stems)


@dataclass(slots=True)
class LaneCount:
    """One lane counted: what is there, what is held and what would be sent, and why."""

    lane: JobStream
    done: int = 0
    reused: int = 0
    held: int = 0
    rejected: int = 0
    failed: int = 0
    to_poll: int = 0
    to_send: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    to_take_over: int = 0
    missing: int = 0

    @property
    def has_work(self) -> bool:
        """Whether anything is to be sent, polled or taken over."""
        return bool(self.to_send or self.to_poll or self.to_take_over)

    def count(self, choice: Choice) -> None:
        """Take in one Job's choice."""
        match choice:
            case Skip(reason="failed" | "charged"):
                self.failed += 1
            case Skip(reason="reused"):
                self.reused += 1
            case Reuse():
                self.to_take_over += 1
            case Skip():
                self.done += 1
            case Hold():
                self.held += 1
            case HoldRejected():
                self.rejected += 1
            case Poll():
                self.to_poll += 1
            case Send(reason=reason):
                self.to_send += 1
                self.reasons[reason] += 1


def choices(lane: JobStream, selection: Selection) -> Iterator[tuple[Job, Choice]]:
    """Each Job of the lane with what would be done about it, lazily."""
    for job in lane.jobs():
        yield job, selection.choose(job)


def tally(lane: JobStream, selection: Selection) -> LaneCount:
    """The lane's Jobs counted by what would be done about them."""
    counted = LaneCount(lane)
    for job, choice in choices(lane, selection):
        counted.count(choice)
        counted.missing += isinstance(choice, Skip) and selection.is_missing_pictures(job.key)
    return counted


_WORDS = {"sent": "unknown", "resolved": "not charged"}


class Changes:
    """The reasons of Jobs to be sent, against one ledger's state."""

    def __init__(self, state: Replay) -> None:
        self._known: dict[tuple[str, str, str], list[TermsRecord | None]] = {}
        for outcome in state.outcomes.values():
            began = outcome.began
            if began is not None:
                place = (began.model, began.prompt, began.source)
                self._known.setdefault(place, []).append(began.terms)

    def reason(self, job: Job, send: Send) -> str:
        """One of: new, input/prompt/option changed, failed, unknown, missing, unsent, ..."""
        if send.reason != "new":
            return _WORDS.get(send.reason, send.reason)
        earlier = self._known.get((job.model, job.prompt.id, job.source.name))
        if not earlier:
            return "new"
        terms = terms_of(job)
        told = [_changed(terms, before) for before in earlier if before is not None]
        if not told:
            return "changed"
        parts = min(told, key=len)
        return f"{' and '.join(parts)} changed" if parts else "new"  # alike: one more repeat


def _changed(now: TermsRecord, before: TermsRecord) -> tuple[str, ...]:
    pairs = (
        ("input", now.input, before.input),
        ("prompt", now.prompt, before.prompt),
        ("option", now.options, before.options),
    )
    return tuple(name for name, new, old in pairs if new != old)
