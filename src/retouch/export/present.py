"""What is there to be exported: the plan joined with the ledger by key.

Present jobs only: what the manifest no longer asks for, what was superseded and what was rejected
stays where it is. Of each split the edits come first, then the originals. Enumerated anew each
time, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.errors import InputRefused
from retouch.export.labelled import labelled
from retouch.export.left_out import LeftOut
from retouch.job import Job, Source
from retouch.ledger.outcome import Outcome, State
from retouch.ledger.records import Done, FileRecord
from retouch.ledger.state import Replay
from retouch.plan import Plan
from retouch.plan.known import Known
from retouch.text import one_clean_line

_WHY: dict[State, str] = {
    "sent": "may have been charged, and no answer is on file",
    "unknown": "may have been charged, and no answer is on file",
    "accepted": "waits for its task",
    "failed": "failed",
    "resolved": "was settled without a picture",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked of an export. `splits` None: all."""

    with_originals: bool = False
    pairs: bool = False
    splits: frozenset[str] | None = None


class Judged(Protocol):
    """What a person said of pictures: they are left out where they were rejected."""

    def rejects(self, key: str, index: int) -> bool:
        """Whether this picture of a Job is."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A kept picture of a job: its running number in the request, and how many there are.

    `is_copy`: at a further place of the job (another source of the same bytes), paid for once.
    """

    job: Job
    index: int
    of: int
    file: FileRecord
    done: Done | None
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to be exported: an edit, or the source itself."""

    source: Source
    known: Known
    edit: Edit | None = None


class Present:
    """The pictures of a plan that are there."""

    def __init__(
        self, plan: Plan, state: Replay, outputs: Outputs, marks: Judged, wish: Wish
    ) -> None:
        self._plan = plan
        self._state = state
        self._outputs = outputs
        self._marks = marks
        self._wish = wish
        self._selection = Selection(state, outputs)

    def require_splits(self) -> None:
        """Raises InputRefused where a split that is asked for does not exist."""
        there = {labelled(source).split for source in self._plan.inputs}
        if missing := (self._wish.splits or frozenset()) - there:
            names = ", ".join(one_clean_line(each, 40) for each in sorted(missing))
            raise InputRefused(
                f"--splits: there is no {names}; there are {', '.join(sorted(there))}"
            )

    def items(self, left_out: LeftOut) -> Iterator[Item]:
        """Every picture, lazily; what is not there is told to `left_out`."""
        for lane in self._plan.lanes:
            for is_copy, jobs in ((False, lane.jobs()), (True, lane.copies())):
                for job in jobs:
                    known = labelled(job.source)
                    if self._wants(known):
                        yield from self._edits(job, known, left_out, is_copy=is_copy)
        if self._wish.pairs:
            return
        for source in self._plan.inputs:
            known = labelled(source)
            if self._wants(known) and (self._wish.with_originals or not known.is_augmented):
                if source.picture.path is None:
                    left_out.add("is a URL: its own picture is not at hand", source.name)
                else:
                    yield Item(source, known)

    def _wants(self, known: Known) -> bool:
        return self._wish.splits is None or known.split in self._wish.splits

    def _edits(self, job: Job, known: Known, left_out: LeftOut, *, is_copy: bool) -> Iterator[Item]:
        key = job.key
        outcome = self._state.outcomes.get(key)
        if outcome is None and job.redone:  # rejected, and nothing stands in its place yet
            yield from self._edits(job.redo(-1), known, left_out, is_copy=is_copy)
            return
        if outcome is None or not outcome.files:
            left_out.add(_why(outcome), job.source.name, job)
            return
        done = self._state.done(key)
        files = self._files(job, outcome)
        for index, file in enumerate(files):
            if self._marks.rejects(key, index):
                left_out.rejected += 1
            elif not self._outputs.is_whole(file):
                left_out.add("has lost its picture", file.path, job)
            elif self._wish.pairs and job.source.picture.path is None:
                left_out.add("is a URL: its own picture is not at hand", job.source.name, job)
            else:
                yield Item(job.source, known, Edit(job, index, len(files), file, done, is_copy))

    def _files(self, job: Job, outcome: Outcome) -> tuple[FileRecord, ...]:
        """The pictures at the Job's own place; where they are not whole, or not there yet, the same
        from any other place they were delivered to."""
        if not self._state.is_delivered(job.key):
            return outcome.files
        own = self._selection.here(job)
        places = (own, *self._state.places(job.key))
        whole = (files for files in places if files and all(map(self._outputs.is_whole, files)))
        return next(whole, own or outcome.files)


def _why(outcome: Outcome | None) -> str:
    return "is not done yet" if outcome is None else _WHY.get(outcome.state, "is not done yet")
