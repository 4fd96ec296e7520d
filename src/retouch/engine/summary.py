"""What is asked of a run, what is told while it goes on, and what it comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from retouch.engine.context import JobEnd
from retouch.engine.paying_again import PayingAgain
from retouch.engine.selection import Choice
from retouch.errors import BudgetReached, RetouchError
from retouch.job import Job


class Observer(Protocol):
    """Told what happens, for progress; never asked."""

    def began(self, job: Job) -> None:
        """A Job was started (or its Task taken up again)."""

    def ended(self, end: JobEnd) -> None:
        """A Job ended in this run."""

    def passed(self, job: Job, choice: Choice) -> None:
        """A Job was skipped, held or taken over from elsewhere."""

    def said(self, text: str) -> None:
        """Something the user should know."""


@dataclass(slots=True)
class Summary:
    """What a run did: Jobs by how they ended, and the reason it stopped early, if it did."""

    ended: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    stopped: RetouchError | None = None
    lane_stops: dict[str, RetouchError] = field(default_factory=dict)
    unknown_with_task: int = 0  # of those that ended unknown: the next run fetches them
    settled: Counter[str] = field(default_factory=Counter)  # Jobs of each lane that came to an end
    again: PayingAgain = field(default_factory=PayingAgain)

    @property
    def is_budget_reached(self) -> bool:
        """Whether a budget, the run's or a lane's, left something undone."""
        stops = (self.stopped, *self.lane_stops.values())
        return any(isinstance(stop, BudgetReached) for stop in stops)

    @property
    def reason(self) -> RetouchError | None:
        """Why it ended early: the whole run, else the gravest of its lanes; None if it did not."""
        lanes = max(self.lane_stops.values(), key=lambda stop: stop.exit_code, default=None)
        return self.stopped or lanes

    @property
    def exit_code(self) -> int:
        """DESIGN §7: why it stopped, else 1 where something failed or is held, else 0."""
        if self.reason is not None:
            return self.reason.exit_code
        incomplete = self.ended["failed"] + self.ended["unknown"] + self.ended["accepted"]
        held = sum(self.passed[word] for word in ("held", "rejected", "failed", "charged"))
        return 1 if incomplete + held else 0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked of this run: at most `limit` Jobs sent, `deadline_seconds` from now."""

    limit: int | None = None
    deadline_seconds: float | None = None
    seed: int | None = None
