"""What a run would do about each Job of a plan: shared by `plan`, `run` and `status`.

Reads what the ledger says, what other ledgers offer for reuse, and what the user asked to be
redone. Decides; sends and writes nothing.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from retouch.dialects.base import Capabilities
from retouch.engine.outputs import Outputs
from retouch.engine.strays import Strays
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.decision import (
    NOTHING_REDONE,
    PAY_AGAIN,
    Decision,
    Hold,
    HoldReason,
    HoldRejected,
    Poll,
    Redo,
    Send,
    Skip,
    decide,
)
from retouch.ledger.on_file import JobOnFile
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import FileRecord, TermsRecord, Unknown
from retouch.ledger.state import Replay
from retouch.ledger.terms import terms_of
from retouch.manifest import Model
from retouch.threads import uncollected

OLDER_COPY = "older_copy"
OWN_LEDGER = "ledger.jsonl"


class JobStream(Protocol):
    """The stream of Jobs for one model, as the plan makes it: enumerated anew each time."""

    @property
    def model(self) -> Model: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def jobs_count(self) -> int: ...
    @property
    def copies_count(self) -> int: ...

    def jobs(self) -> Iterator[Job]:
        """The Jobs, lazily, always in the same order."""

    def copies(self) -> Iterator[Job]:
        """Further places of the same Jobs: what they bring is delivered there, too."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """The work is paid for and at hand under another path: deliver `files` from `folder`.

    `others` are further places to take it from, if these bytes turn out to be others; `instead`
    is what the user asked for where nothing is left.
    """

    ledger: str
    folder: Path
    files: tuple[FileRecord, ...]
    others: tuple[Reuse, ...] = ()
    instead: Send | None = None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Another manifest's finished work: its ledger's state and its outputs folder."""

    ledger: str
    folder: Path
    state: Replay


def open_shelves(ledgers: Sequence[str], folder: Path) -> tuple[Shelf, ...]:
    """The ledgers named by the manifest's `reuse`, relative to its folder.

    Raises LedgerDamaged, StorageFailed.
    """
    paths = [(name, (folder / name).resolve()) for name in ledgers]
    return tuple(Shelf(name, path.parent, read(path)) for name, path in paths)


Choice = Decision | Reuse


@dataclass(frozen=True, slots=True)
class Selection:
    """Decides about Jobs against the state of a ledger."""

    state: Replay
    outputs: Outputs
    shelves: tuple[Shelf, ...] = ()
    redo: Redo = NOTHING_REDONE
    strays: Strays = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "strays", Strays(self.outputs, self.state))

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known of any Job: each would be sent, for it is new."""
        state = self.state
        known = state.outcomes or state.lost_lines != 0 or self.shelves
        return not known and not self.strays.may_be

    def choose(self, job: Job) -> Choice:
        """What to do about one Job."""
        key = job.key
        outcome = self.state.outcomes.get(key)
        if outcome is not None and outcome.has_files:
            return self._finished(job, key, outcome)
        if outcome is None and job.redone and key not in self.redo.keys:
            return Send(1, "rejected") if self.redo.rejected else HoldRejected()
        decision = decide(key, outcome, self.redo, self.state.lost_attempts(key))
        if isinstance(decision, Skip) and decision.reason == "charged":
            return self._kept_in_place(job) or decision
        if isinstance(decision, Send) and key not in self.redo.keys:
            reused = self._from_shelf(key)
            if isinstance(job, JobOnFile):
                return Hold(decision.attempt - 1)
            return reused or self._held(job, key, outcome, decision) or decision
        return decision

    def _held(self, job: Job, key: str, outcome: Outcome | None, decision: Send) -> Hold | None:
        """Why a Job is not sent that this ledger alone would send; only its key, named by hand,
        or a resolution overrides it."""
        if outcome is not None and outcome.state == "resolved":
            return None
        if outcome is not None and is_of_older_copy(outcome):
            return Hold(outcome.attempt, "older_copy")
        if any(_may_be_bought(each, key, self.redo) for each in self.shelves):
            return Hold(decision.attempt - 1, "elsewhere")
        if decision.reason in ("sent", "unknown", PAY_AGAIN):  # `--redo unknown`
            return None
        if self.strays.at(job):
            return Hold(decision.attempt, "older_copy", is_news=True)
        if outcome is None and self.state.lost_lines != 0:
            return Hold(0, "salvaged")
        return None

    def _kept_in_place(self, job: Job) -> Reuse | None:
        """A Job that was charged, says the user, and whose pictures lie at its place."""
        files = self.strays.files(job)
        return Reuse(OWN_LEDGER, self.outputs.folder, files) if files else None

    def is_done(self, digest: bytes, stem: str) -> bool:
        """Whether a Job is done and its only picture lies whole at its place, as `choose` would
        find: by its Key's 32 bytes and that place. What this does not tell, `choose` does."""
        only = self.state.outcomes.only_picture(digest)
        if only is None or hash(stem) != only.stem_hash:
            return False
        if self.redo.keys and digest.hex() in self.redo.keys:
            return False
        return self.outputs.is_there(f"{stem}.{only.suffix}", only.bytes)

    def choose_copy(self, job: Job) -> Skip | Reuse | None:
        """What to do about a further place of a Job; None while there is nothing to deliver."""
        key = job.key
        outcome = self.state.outcomes.get(key)
        if outcome is None or not outcome.has_files:
            return None
        found = self._finished(job, key, outcome)
        if isinstance(found, Reuse):
            return replace(found, instead=None)
        return Skip("reused") if self._here(job, outcome, whole=True) else None

    def here(self, job: Job) -> tuple[FileRecord, ...]:
        """The pictures recorded at this Job's own place, the latest; none where it has none."""
        outcome = self.state.outcomes.get(job.key)
        return () if outcome is None else self._here(job, outcome, whole=False)

    def _lacks_pictures(self, job: Job, outcome: Outcome) -> bool:
        """Whether a finished Job lacks a picture on disk."""
        files = self._here(job, outcome, whole=False) or outcome.files
        return not all(map(self.outputs.is_whole, files))

    def _finished(self, job: Job, key: str, outcome: Outcome) -> Choice:
        decision = decide(key, outcome, self.redo)
        if isinstance(decision, Send):
            return decision
        if outcome.state == "done" and self._is_where_planned(job, outcome):
            return Skip("done")
        if here := self._here(job, outcome, whole=True):
            done = self.state.done(key)
            return Skip("done") if done is not None and here == done.files else decision
        offers = [
            Reuse(OWN_LEDGER, self.outputs.folder, files)
            for files in self.state.places_of(outcome)
            if all(map(self.outputs.is_whole, files))
        ]
        offers += self._on_shelves(key)
        instead = Send(outcome.attempt + 1, "missing") if self.redo.missing else None
        if offers:
            return replace(offers[0], others=tuple(offers[1:]), instead=instead)
        if instead is None and isinstance(decision, Skip):
            return replace(decision, is_missing=self._lacks_pictures(job, outcome))
        return instead or decision

    def _is_where_planned(self, job: Job, outcome: Outcome) -> bool:
        """Whether a finished Job's only picture lies whole at its place: of a million, its
        Records need not be read for that. What it does not tell, `_here` does."""
        only = outcome.only_picture
        if only is None or job.images_wanted != 1:
            return False
        stem = job.output_path(0)
        return hash(stem) == only.stem_hash and self.outputs.is_there(
            f"{stem}.{only.suffix}", only.bytes
        )

    def _here(self, job: Job, outcome: Outcome, *, whole: bool) -> tuple[FileRecord, ...]:
        for files in reversed(self.state.places_of(outcome)):
            if _lies_where_planned(job, files) and (
                not whole or all(map(self.outputs.is_whole, files))
            ):
                return files
        return ()

    def _from_shelf(self, key: str) -> Reuse | None:
        offers = list(self._on_shelves(key))
        return replace(offers[0], others=tuple(offers[1:])) if offers else None

    def _on_shelves(self, key: str) -> Iterator[Reuse]:
        for shelf in self.shelves:
            there = Outputs(shelf.folder)
            for files in shelf.state.places(key):
                if all(map(there.is_whole, files)):
                    yield Reuse(shelf.ledger, shelf.folder, files)


def is_of_older_copy(outcome: Outcome) -> bool:
    """Whether a Job is unknown because its picture was found and its Records were not."""
    decided = outcome.decided
    return (
        outcome.state == "unknown"
        and isinstance(decided, Unknown)
        and decided.error.code == OLDER_COPY
    )


def _may_be_bought(shelf: Shelf, key: str, redo: Redo) -> bool:
    """Whether another ledger has the work, or may have paid for it, and its pictures are not at
    hand: in flight, on file, unknown, resolved as charged, or done with its picture gone."""
    outcome = shelf.state.outcomes.get(key)
    if outcome is None or (outcome.state in ("done", "reused") and redo.missing):
        return False
    return (
        outcome.state in ("done", "reused")
        or isinstance(decide(key, outcome), Poll | Hold)
        or (decide(key, outcome) == Skip("charged"))
    )


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
    to_note: int = 0
    holds: Counter[HoldReason] = field(default_factory=Counter)
    duplicates: int = 0

    @property
    def ahead(self) -> int:
        """How many Jobs are to be sent or polled."""
        return self.to_send + self.to_poll

    @property
    def is_counted(self) -> bool:
        """Whether that is known, or about so many."""
        return True

    @property
    def has_work(self) -> bool:
        """Whether anything is to be sent, polled, taken over or noted."""
        return bool(self.to_send or self.to_poll or self.to_take_over or self.to_note)

    def count_copies(self, selection: Selection) -> None:
        """Take in the further places of the lane's Jobs."""
        for _, choice in copy_choices(self.lane, selection):
            self.duplicates += 1
            if choice is not None:
                self.count(choice)

    def count(self, choice: Choice) -> None:
        """Take in one Job's choice."""
        match choice:
            case Skip(reason="failed" | "charged"):
                self.failed += 1
            case Skip():
                self.done += choice.reason == "done"
                self.reused += choice.reason == "reused"
                self.missing += choice.is_missing
            case Reuse():
                self.to_take_over += 1
            case Hold(why=why, is_news=is_news):
                self.held += 1
                self.holds[why] += 1
                self.to_note += is_news
            case HoldRejected():
                self.rejected += 1
            case Poll():
                self.to_poll += 1
            case Send(reason=reason):
                self.to_send += 1
                self.reasons[reason] += 1


# What a stream may do beside. None of these has `jobs_count`: to find out whether a stream is one,
# Python 3.11 takes each property, and to count the Jobs of a shard takes seconds.


@runtime_checkable
class SiftedStream(Protocol):
    """A stream that passes over Jobs before they are made."""

    def jobs_left(self, is_over: Callable[[bytes, str], bool]) -> Iterator[Job]:
        """The Jobs but for those that are over, by their Key's 32 bytes and the place of their one
        picture, without suffix."""


@runtime_checkable
class CountedStream(Protocol):
    """A stream whose Jobs are counted without making one."""

    @property
    def rejected(self) -> frozenset[str]: ...

    def asked(self, limit: int | None = None) -> Counter[tuple[int, int]]:
        """How many Jobs have a text of so many UTF-8 bytes, and so many pictures and masks."""


def counted_as_new(lane: JobStream, selection: Selection) -> LaneCount | None:
    """The lane counted where the ledger knows of nothing, nor does the disk: a first run begins
    without going through a million Jobs. None where they are to be looked at one by one."""
    if not selection.is_blank or not isinstance(lane, CountedStream) or lane.rejected:
        return None
    count = LaneCount(lane, to_send=lane.jobs_count - lane.copies_count)
    count.duplicates = lane.copies_count
    count.reasons["new"] = count.to_send
    count.reasons += Counter()  # without a reason for none
    return count


def copy_choices(
    lane: JobStream, selection: Selection
) -> Iterator[tuple[Job, Skip | Reuse | None]]:
    """Each further place of the lane's Jobs with what would be done about it, lazily."""
    for job in lane.copies():
        yield job, selection.choose_copy(job)


def choices(lane: JobStream, selection: Selection) -> Iterator[tuple[Job, Choice]]:
    """Each Job of the lane with what would be done about it, lazily."""
    for job in lane.jobs():
        yield job, selection.choose(job)


def left_to_choose(counted: LaneCount, selection: Selection) -> Iterator[tuple[Job, Choice]]:
    """The same, but for Jobs that are plainly done: those are counted, and none is made."""
    lane = counted.lane
    if not isinstance(lane, SiftedStream):
        yield from choices(lane, selection)
        return

    def is_over(digest: bytes, stem: str) -> bool:
        is_done = selection.is_done(digest, stem)
        counted.done += is_done
        return is_done

    for job in lane.jobs_left(is_over):
        yield job, selection.choose(job)


def tally(lane: JobStream, selection: Selection) -> LaneCount:
    """The lane's Jobs counted by what would be done about them."""
    if (new := counted_as_new(lane, selection)) is not None:
        return new
    counted = LaneCount(lane)
    with uncollected():
        for _, choice in left_to_choose(counted, selection):
            counted.count(choice)
    counted.count_copies(selection)
    return counted


_WORDS = {"sent": "unknown", "resolved": "not charged"}


class Changes:
    """The reasons of Jobs to be sent, against one ledger's state."""

    def __init__(self, state: Replay) -> None:
        self._outcomes = state.outcomes

    def reason(self, job: Job, send: Send) -> str:
        """One of: new, input/prompt/option changed, failed, unknown, missing, unsent, ..."""
        if send.reason != "new":
            return _WORDS.get(send.reason, send.reason)
        words = (job.model, job.prompt.id, job.source.name)
        earlier = [began.terms for began in self._outcomes.asking(*words)]
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
