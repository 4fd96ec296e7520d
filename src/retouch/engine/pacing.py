"""When the next request may go, as functions of a state and the time; nothing here sleeps.

A limit is kept twice over: requests are spaced evenly, and a log of the actual sends is checked
so that no sliding window of a minute ever holds more than the limit. Both keep a margin of 1 % for
what the network does to spacing (DESIGN §9: token buckets send up to twice the limit). What was let
through and has not left yet counts as if it left now.
Times are seconds of a monotonic clock, passed in.
"""

from __future__ import annotations

import random
import re
import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import ceil

WINDOW_SECONDS = 60.0
SHORT_WINDOWS_SECONDS = (10.0, 1.0)
SHORT_WINDOW_LEAST = 10  # units: with fewer in it, whoever leaves late would slow all down
MARGIN = 1.01
CATCH_UP_SECONDS = 0.1
BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0
RETRY_AFTER_CAP_SECONDS = 600.0
RETRY_SHARE = 0.10
RETRY_FLOOR = 10
POLL_FIRST_SHARE = 0.7
POLL_GROWTH = 1.5
POLL_CAP_FACTOR = 8
LONGEST_NUMBER = 64
_NOTHING = 1e-9
_RESET = "x-ratelimit-reset-"
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|d|h|m|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


@dataclass(slots=True, eq=False)
class WindowEntry:
    """What one request takes of a limit; `at` is when it left, None while it has not."""

    units: float
    at: float | None = None
    is_gone: bool = False


class _Window:
    """What any window of so many `seconds` may hold: `most` units, by when they left."""

    def __init__(self, seconds: float, most: float) -> None:
        self.seconds = seconds * MARGIN
        self.most = most
        self.held = 0.0
        self._log: deque[tuple[float, WindowEntry]] = deque()  # with the times they left, in order

    def add(self, now: float, entry: WindowEntry) -> None:
        self.held += entry.units
        self._log.append((now, entry))

    def holds(self, now: float, entry: WindowEntry) -> bool:
        """Whether what left as `entry` still counts."""
        return entry.at is not None and entry.at > now - self.seconds

    def forget(self, now: float) -> None:
        horizon = now - self.seconds
        while self._log and self._log[0][0] <= horizon:
            self.held -= self._log.popleft()[1].units
        if not self._log:
            self.held = 0.0  # rounding must leave no rest

    def wait_seconds(self, now: float, units: float, pending: float) -> float:
        """Seconds until there is room for `units`; what is `pending` leaves now."""
        held = self.held + pending
        excess = held + units - self.most
        if excess <= _NOTHING or held <= _NOTHING:
            return 0.0
        freed = 0.0
        for at, entry in self._log:
            freed += entry.units
            if freed >= min(excess, held) - _NOTHING:
                return at + self.seconds - now
        return self.seconds


class RateLimit:
    """At most `per_minute` units in any sliding minute, evenly spaced.

    `keeps_seconds`: in any ten seconds, and any second, no more than their part of that, too, where
    it is ten units or more: what is spaced when it is taken may leave in a bunch, and of several
    processes the bunches add up. It takes up to a tenth of the rate.
    """

    def __init__(self, per_minute: float, *, keeps_seconds: bool = False) -> None:
        self.per_minute = per_minute
        self._spacing = WINDOW_SECONDS / per_minute * MARGIN
        self._next_free = float("-inf")
        self._windows = (
            _Window(WINDOW_SECONDS, per_minute),
            *(
                # One less, for one that was late on its way.
                _Window(seconds, ceil(per_minute * seconds / WINDOW_SECONDS - _NOTHING) - 1)
                for seconds in (SHORT_WINDOWS_SECONDS if keeps_seconds else ())
                if per_minute * seconds >= SHORT_WINDOW_LEAST * WINDOW_SECONDS
            ),
        )
        self._pending = 0.0

    def wait_seconds(self, now: float, units: float = 1) -> float:
        """Seconds until `units` may be taken; 0 when they may be now.

        More units than the whole limit pass alone, in an empty window.
        """
        waits = [self._next_free - now]
        for window in self._windows:
            window.forget(now)
            waits.append(window.wait_seconds(now, units, self._pending))
        return max(0.0, *waits)

    def take(self, now: float, units: float = 1) -> WindowEntry:
        """Take `units`; the time after them is taken, too. A late caller catches up a little."""
        late = now - self._next_free
        begins = self._next_free if 0 < late <= CATCH_UP_SECONDS else max(now, self._next_free)
        self._next_free = begins + units * self._spacing
        self._pending += units
        return WindowEntry(units)

    def leave(self, now: float, entry: WindowEntry) -> None:
        """The request was sent now: from here on it is in the windows."""
        if entry.at is None and not entry.is_gone:
            entry.at = now
            self._pending -= entry.units
            self._add(now, entry)

    def give_back(self, entry: WindowEntry) -> None:
        """The request was not sent after all."""
        if entry.at is None and not entry.is_gone:
            entry.is_gone = True
            self._pending -= entry.units

    def correct(self, now: float, entry: WindowEntry, units: float) -> None:
        """A request turned out to take `units`, not what was taken for it.

        Less counts from when it left; more counts from now, for nobody knows when it was used.
        """
        if entry.at is None:
            return
        more = units - entry.units
        self._next_free += more * self._spacing
        if more > 0:
            self._add(now, WindowEntry(more, now))
            return
        for window in self._windows:
            window.forget(now)
            if window.holds(now, entry):
                window.held += more
        entry.units = units

    def _add(self, now: float, entry: WindowEntry) -> None:
        for window in self._windows:
            window.add(now, entry)


class Concurrency:
    """How many requests a lane may have in flight: halves when the server is overrun, recovers
    by one for each round of successes (additive increase, multiplicative decrease)."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.cuts = 0
        self._limit = float(maximum)

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    def overrun(self, in_flight: int, cuts_when_sent: int) -> None:
        """The server has too much. A request that left before the last cut does not cut again."""
        if cuts_when_sent == self.cuts:
            self._limit = max(1.0, min(self._limit, float(max(1, in_flight))) / 2)
            self.cuts += 1

    def succeeded(self) -> None:
        """The server took a request."""
        self._limit = min(float(self.maximum), self._limit + 1 / self._limit)


class RetryBudget:
    """Retries are at most a tenth of a lane's requests (and a few at the start), so that an
    outage is not hammered."""

    def __init__(self) -> None:
        self.requests = 0
        self.retries = 0

    def request(self) -> None:
        self.requests += 1

    def take(self) -> bool:
        """Whether one more retry is within the budget; takes it."""
        if self.retries >= RETRY_FLOOR + RETRY_SHARE * self.requests:
            return False
        self.retries += 1
        return True


def backoff_seconds(retry: int, chance: random.Random) -> float:
    """Full jitter: anything between 0 and the exponential cap, for the `retry`-th retry (from 1).

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    return chance.uniform(
        0, min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(retry - 1, 60))
    )


def wait_asked(
    headers: Mapping[str, str],
    told: float | None,
    wall_clock: datetime,
    cap: float = RETRY_AFTER_CAP_SECONDS,
) -> float | None:
    """How long a server asks to be left alone, in seconds, capped; None where it does not.

    Retry-After says it best, then what the body `told`; else the limit that is used up says when it
    is whole again.
    """
    return (
        retry_after_seconds(headers, wall_clock, cap)
        or capped_wait(told, cap)
        or capped_wait(max(_resets(headers), default=None), cap)
    )


def retry_after_seconds(
    headers: Mapping[str, str], wall_clock: datetime, cap: float = RETRY_AFTER_CAP_SECONDS
) -> float | None:
    """What Retry-After asks for (seconds or an HTTP date, RFC 9110 §10.2.3), capped; before it
    `retry-after-ms` (OpenAI, Azure).

    None where it is absent, nonsense, negative or in the past. A date is read against the reply's
    own Date, for the server's clock may be off; `wall_clock` is aware.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return capped_wait(milliseconds / 1000, cap)
    value = headers.get("retry-after", "").strip()
    seconds = _number(value)
    if seconds is None:
        when = _date(value)
        if when is None:
            return None
        seconds = (when - (_date(headers.get("date", "")) or wall_clock)).total_seconds()
    return capped_wait(seconds, cap)


def _resets(headers: Mapping[str, str]) -> Iterator[float]:
    """Seconds until each limit that is used up is whole again: `x-ratelimit-reset-requests: 1s`,
    `x-ratelimit-reset-tokens: 6m0s`. A limit of which something remains is not what was met, and
    these headers stand on every reply. Source: OpenAI's guide "Rate limits"."""
    for name, value in headers.items():
        kind = name.removeprefix(_RESET)
        remaining = _number(headers.get(f"x-ratelimit-remaining-{kind}", ""))
        if kind != name and (remaining is None or remaining <= 0):
            seconds = _duration(value.strip())
            if seconds is not None:
                yield seconds


def _duration(value: str) -> float | None:
    """`6m0s`, `1h2m3.5s`, `20ms` or plain seconds, as seconds; None for none."""
    if len(value) <= LONGEST_NUMBER and _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    return _number(value)


def capped_wait(seconds: float | None, cap: float = RETRY_AFTER_CAP_SECONDS) -> float | None:
    """A wait that a server asked for, at most `cap`; None where it is none."""
    if seconds is None or not 0 < seconds < float("inf"):
        return None
    return min(seconds, cap)


def _number(value: str) -> float | None:
    try:
        return float(value) if len(value) <= LONGEST_NUMBER else None
    except ValueError:
        return None


def _date(value: str) -> datetime | None:
    """An HTTP date; None for none."""
    try:
        when = parsedate_to_datetime(value) if len(value) <= 64 else None
    except (ValueError, TypeError, OverflowError):
        return None
    return when if when is not None and when.tzinfo else None


class PollPace:
    """When to ask for a Task: first at a fraction of what Tasks of this lane have taken, then at
    growing intervals with jitter. `interval` is the manifest's `poll.interval`, in seconds."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._taken: deque[float] = deque(maxlen=64)

    def finished(self, seconds: float) -> None:
        """A Task took this long."""
        self._taken.append(seconds)

    def wait_seconds(self, asked: int, chance: random.Random) -> float:
        """Seconds to wait before the next poll of a Task that was asked for `asked` times."""
        if asked == 0:
            usual = statistics.median(self._taken) * POLL_FIRST_SHARE if self._taken else 0.0
            return max(self.interval, usual)
        growths = min(asked - 1, POLL_CAP_FACTOR)  # a higher power overflows
        grown = self.interval * min(POLL_GROWTH**growths, POLL_CAP_FACTOR)
        return grown * chance.uniform(0.8, 1.2)
