"""Streaks of failures that say something about the server, and no longer about a Job.

An outage costs nothing but Jobs that would fail one after the other, and a losing streak costs
money: what is answered may have been charged, and there is no picture. Pure: seconds of a
monotonic clock are passed in.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

OUTAGE_AFTER = 5
PROBE_FIRST_SECONDS = 1.0
PROBE_CAP_SECONDS = 60.0
NEVER_SERVED_SECONDS = 60.0
REFUSALS_ALIKE = 10
KINDS_KEPT = 1000  # messages that differ, while nothing is served
# The parts that differ in messages alike: a request's id, a file's name, a number.
_DIFFERING = re.compile(
    r"https?://\S+|'[^']*'|\"[^\"]*\"|`[^`]*`|\b[0-9a-f-]{8,}\b|\d+", re.IGNORECASE
)

Refused = TypeVar("Refused")


class Outage:
    """A lane whose requests are not served: unreachable, overrun or out of order, never charged.

    It begins with some requests in a row and ends with the first that is served. Meanwhile
    single requests probe the server, ever more rarely.
    """

    def __init__(self) -> None:
        self.probes = 0
        self._in_a_row = 0
        self._since = 0.0
        self._probed = float("-inf")
        self._was_answered = False

    @property
    def pause_seconds(self) -> float:
        """How long nothing is sent before the next probe; 0 when there is no outage."""
        if not self.probes:
            return 0.0
        return min(PROBE_CAP_SECONDS, PROBE_FIRST_SECONDS * 2.0 ** min(self.probes - 1, 60))

    def unserved(self, now: float, sent_at: float, *, is_limit: bool = False) -> bool:
        """A request that left at `sent_at` was not served. Whether that tells something new: those
        that were out together with the last probe do not. A limit that is kept is an answer: the
        server is there and nothing is set up wrong."""
        self._was_answered = self._was_answered or is_limit
        if not self._in_a_row:
            self._since = now
        self._in_a_row += 1
        is_news = self._in_a_row >= OUTAGE_AFTER and sent_at > self._probed
        if is_news:
            self.probes += 1
            self._probed = now
        return is_news

    def served(self) -> None:
        """The server took a request."""
        self.probes = self._in_a_row = 0
        self._was_answered = True

    def shifted(self, seconds: float) -> Outage:
        """The same by a clock that shows so much more."""
        other = Outage()
        other.probes, other._in_a_row = self.probes, self._in_a_row
        other._since, other._probed = self._since + seconds, self._probed + seconds
        other._was_answered = self._was_answered
        return other

    def is_over(self, now: float, patience_seconds: float) -> bool:
        """Whether to give up: it lasts longer than `patience_seconds`; much less where this run
        was never answered, for then something is likely set up wrong."""
        patience = patience_seconds if self._was_answered else NEVER_SERVED_SECONDS
        return bool(self.probes) and now - self._since > min(patience, patience_seconds)


class Losses:
    """Answers in a row that may have been charged and gave no picture."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_a_row = 0

    def lost(self) -> bool:
        """One more; whether that is too many."""
        self.in_a_row += 1
        return self.in_a_row >= self.most

    def gained(self) -> None:
        """A picture came."""
        self.in_a_row = 0


class Refusals(Generic[Refused]):
    """Refusals alike where nothing was ever served: it is not the Jobs, it is what they share.

    `Refused` is what is kept of each, to take it back.
    """

    def __init__(self, most: int = REFUSALS_ALIKE) -> None:
        self.most = most
        self._was_served = False
        self._alike: dict[str, list[Refused]] = {}

    def served(self) -> None:
        """The server did what one Job asked for: a refusal is that Job's own from here on."""
        self._was_served = True
        self._alike.clear()

    def refused(self, message: str, one: Refused) -> tuple[Refused, ...]:
        """One more; those that are to be taken back: none until they are too many, then all, and
        each that was out with them."""
        if self._was_served:
            return ()
        likeness = _DIFFERING.sub("#", message)
        if likeness not in self._alike and len(self._alike) >= KINDS_KEPT:
            return ()
        alike = self._alike.setdefault(likeness, [])
        alike.append(one)
        if len(alike) < self.most:
            return ()
        return tuple(alike) if len(alike) == self.most else (one,)
