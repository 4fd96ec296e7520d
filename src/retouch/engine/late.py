"""A large lane that was begun before: counted while it is gone through, not before.

Of a million Jobs half of which are done, a run would look at each done one twice before it sends
its first: to count them, and to pass them over. Here the next Job to send comes first, in the
plan's order; what is done already is looked at after it, and counted as it is. Only where that
changes nothing: no Task is out, nothing done is asked for again, and the lane's last Job is one to
be sent, which says that there is work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from retouch.engine.selection import Choice, CountedStream, JobStream, LaneCount, Selection, tally
from retouch.job import Job
from retouch.ledger.decision import Send

LARGE = 20_000  # Jobs of a lane: fewer are counted within a moment
SAMPLE = 400  # Jobs looked at for how many are to be sent


@runtime_checkable
class PassedStream(CountedStream, Protocol):
    """A stream that can be gone through quickly, and looked into."""

    def jobs_but(self, is_passed: Callable[[bytes], bool]) -> Iterator[Job | None]:
        """The Jobs, with None in the place of each that is passed over by its Key's 32 bytes."""

    def some(self, count: int) -> Iterator[Job]:
        """So many of the Jobs or a few more, from all over the lane; the last one comes first."""


@dataclass(slots=True)
class LateCount(LaneCount):
    """A lane's count that grows as the lane is gone through; `expected` is how many of its Jobs
    are to be sent, by a sample. Whole once `complete`."""

    expected: int = 0
    _done: bytearray = field(default_factory=bytearray, repr=False)  # by position: for later
    _at: int = 0  # how far what comes first was gone through
    _later: int = 0  # how far the rest was

    @property
    def has_work(self) -> bool:
        """Known from the last Job."""
        return True

    def choices(self, selection: Selection) -> Iterator[tuple[Job, Choice] | None]:
        """Each Job with what would be done about it, what is done already last; None where one was
        passed over for now. Each is counted before anything is done about it."""
        lane, is_done = self._stream, selection.state.outcomes.is_done
        for at, job in enumerate(lane.jobs_but(is_done)):
            self._at = at + 1
            if job is None:
                self._done[at] = True
                yield None
            else:
                yield job, self._counted(job, selection)
        for at, job in enumerate(lane.jobs()):
            if self._done[at]:
                self._later = at + 1
                yield job, self._counted(job, selection)

    def complete(self, selection: Selection) -> None:
        """Count what a run that has ended did not come to: nothing was done about that."""
        for at, job in enumerate(self.lane.jobs()):
            if at >= self._at or (self._done[at] and at >= self._later):
                self.count(selection.choose(job))
        self._at = self._later = len(self._done)

    def _counted(self, job: Job, selection: Selection) -> Choice:
        choice = selection.choose(job)
        self.count(choice)
        return choice

    @property
    def _stream(self) -> PassedStream:
        if not isinstance(self.lane, PassedStream):
            raise TypeError("only a lane that can be gone through quickly is counted late")
        return self.lane


def counted(lane: JobStream, selection: Selection) -> LaneCount:
    """The lane's Jobs by what would be done about them: now, or late."""
    return counted_late(lane, selection) or tally(lane, selection)


def counted_late(lane: JobStream, selection: Selection) -> LateCount | None:
    """The lane, to be counted late; None where it is to be counted before anything is sent."""
    state, redo = selection.state, selection.redo
    if (
        not isinstance(lane, PassedStream)
        or lane.jobs_count < LARGE
        or lane.copies_count
        or lane.rejected
        or selection.is_blank
        or state.tasks_out
        or redo.missing
        or redo.keys
    ):
        return None
    choices = list(map(selection.choose, lane.some(SAMPLE)))
    if not choices or not isinstance(choices[0], Send):
        return None
    share = sum(isinstance(each, Send) for each in choices) / len(choices)
    expected = round(share * lane.jobs_count)
    return LateCount(lane, expected=expected, _done=bytearray(lane.jobs_count))
