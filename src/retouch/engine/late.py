"""A large lane that is counted while it is gone through, not before.

Of a million Jobs half of which are done, a run would look at each done one twice before it sends
its first: to count them, and to pass them over. Here the next Job to send comes first, in the
plan's order; what is done already is looked at after it, and counted as it is. Only where that
changes nothing: no Task is out, nothing done is asked for again, and there is work, which a sample
of the lane's Jobs says.

Of a shard not even the number of Jobs is known before each Key of the plan was made. Where nothing
is on file every Job that comes is a new one, and about how many there are says the shard's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, runtime_checkable

from retouch.engine.selection import Choice, CountedStream, JobStream, LaneCount, Selection, tally
from retouch.job import Job
from retouch.ledger.decision import Send

LARGE = 20_000  # Jobs of a lane: fewer are counted within a moment
SAMPLE = 400  # Jobs looked at for how many are to be sent


@runtime_checkable
class PassedStream(CountedStream, Protocol):
    """A stream that can be gone through quickly, and looked into."""

    @property
    def whole_count(self) -> int:
        """How many Jobs are gone through for its own: known at once."""

    @property
    def one_in(self) -> int:
        """Of how many of those about one is its own; 1: each is, so that they are counted."""

    def jobs_but(self, is_passed: Callable[[bytes], bool]) -> Iterator[Job | None]:
        """The Jobs, with None in the place of each that is passed over by its Key's 32 bytes."""

    def some(self, count: int) -> Iterator[Job]:
        """So many of the Jobs or a few more, from all over the lane."""


@dataclass(slots=True)
class LateCount(LaneCount):
    """A lane's count that grows as the lane is gone through; `expected` is about how many of its
    Jobs are to be sent. `is_new`: nothing is known of any of them. Whole once `complete`."""

    expected: int = 0
    is_new: bool = False
    _done: bytearray = field(default_factory=bytearray, repr=False)  # as far as it came: for later
    _later: int = 0  # how far the rest was gone through
    _has_all_to_send: bool = False
    _is_whole: bool = False

    @property
    def has_work(self) -> bool:
        """Known beforehand."""
        return True

    @property
    def ahead(self) -> int:
        """At least as many as were come to."""
        return self.to_send if self.is_counted else max(self.expected, self.to_send)

    @property
    def is_counted(self) -> bool:
        """Once all that is to be sent was come to: what is done already is not."""
        return self._has_all_to_send

    def choices(self, selection: Selection) -> Iterator[tuple[Job, Choice] | None]:
        """Each Job with what would be done about it, what is done already last; None where one was
        passed over for now. Each is counted before anything is done about it."""
        done, stream = self._done, self._stream
        for job in stream.jobs_but(selection.state.outcomes.is_done):
            done.append(job is None)
            yield None if job is None else (job, self._counted(job, selection))
        self._has_all_to_send = True
        if any(done):
            place = count()
            for job in stream.jobs_but(lambda _: not done[next(place)]):
                self._later += 1
                if job is not None:
                    yield job, self._counted(job, selection)
        self._is_whole = True

    def complete(self, selection: Selection) -> None:
        """Count what a run that has ended did not come to: nothing was done about that."""
        if self.is_new:
            self.duplicates = self.lane.copies_count
        if not self._is_whole:
            place = count()
            for job in self._stream.jobs_but(lambda _: self._is_counted_at(next(place))):
                if job is not None:
                    self._counted(job, selection)
        self._has_all_to_send = self._is_whole = True

    def _is_counted_at(self, place: int) -> bool:
        """Whether the Job there needs no look; a new one that was not come to is counted here."""
        if place < len(self._done):
            return not self._done[place] or place < self._later
        if self.is_new:
            self.count(Send(1, "new"))
        return self.is_new

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
    if not isinstance(lane, PassedStream) or lane.whole_count < LARGE:
        return None
    if selection.is_blank:
        is_late = lane.one_in > 1 and not lane.rejected and next(lane.jobs(), None) is not None
        return LateCount(lane, expected=_about(1, lane), is_new=True) if is_late else None
    state, redo = selection.state, selection.redo
    if state.tasks_out or redo.missing or redo.keys or lane.copies_count:
        return None
    choices = list(map(selection.choose, lane.some(SAMPLE)))
    to_send = sum(isinstance(each, Send) for each in choices)
    if not to_send:
        return None
    return LateCount(lane, expected=_about(to_send / len(choices), lane))


def _about(share: float, lane: PassedStream) -> int:
    """So large a share of the lane's Jobs; at least one."""
    return max(1, round(share * lane.whole_count / lane.one_in))
