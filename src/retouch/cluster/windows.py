"""A rate that many machines share, kept as the server sees it: over slots, not over sends.

A slot is leave to send between two moments of the holder's clock. Until it is known when its
request left, it counts from the first to the last of them; one that was not used in time can not
be used any more, so that a worker that is late, stopped or gone never sends into a full window.
Every slot begins no earlier than the one before it. Then no window of any length holds more than
was checked when the last of its slots was given: pure, times are seconds of one clock, passed in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from retouch.engine.pacing import CATCH_UP_SECONDS, MARGIN

VALID_SECONDS = 0.15  # how long a slot may be used
# What the network may do to the spacing of requests: a request may overtake by so much.
JITTER_SECONDS = 0.03
_NOTHING = 1e-9


@dataclass(slots=True, eq=False)
class Slot:
    """Leave for one request of so many `units`, from `begins` until `ends`; both are the moment
    it left, once that is known."""

    begins: float
    ends: float
    units: float
    windows: set[float] = field(default_factory=set)


class _Window:
    """The slots that may have been used in the last `seconds`, in the order they were given."""

    def __init__(self, seconds: float, most: float) -> None:
        self.seconds, self.most = seconds, most
        self.length = seconds + max(seconds * (MARGIN - 1), JITTER_SECONDS)
        self.held = 0.0
        self._slots: deque[Slot] = deque()

    def add(self, slot: Slot) -> None:
        self._slots.append(slot)
        slot.windows.add(self.seconds)
        self.held += slot.units

    def change(self, slot: Slot, units: float) -> None:
        if self.seconds in slot.windows:
            self.held += units - slot.units

    def forget(self, now: float) -> None:
        while self._slots and self._slots[0].ends <= now - self.length:
            slot = self._slots.popleft()
            slot.windows.discard(self.seconds)
            self.held -= slot.units
        if not self._slots:
            self.held = 0.0  # rounding must leave no rest

    def room_at(self, units: float) -> float:
        """When `units` more have room; more than the whole limit have, alone."""
        excess = self.held + units - self.most
        if excess <= _NOTHING or self.held <= _NOTHING:
            return float("-inf")
        freed, last = 0.0, float("-inf")
        for slot in self._slots:
            if not slot.units:
                continue  # given back
            freed, last = freed + slot.units, max(last, slot.ends)
            if freed >= min(excess, self.held) - _NOTHING:
                break
        return last + self.length


class SharedRate:
    """At most `per_minute` units in any sliding minute, evenly spaced; `seconds`: further windows
    that hold at most their share of it."""

    def __init__(self, per_minute: float, seconds: Sequence[float] = ()) -> None:
        self._spacing = 60.0 / per_minute * MARGIN
        self._windows = [
            _Window(each, math.ceil(per_minute * each / 60 - _NOTHING)) for each in seconds
        ]
        self._windows.append(_Window(60.0, per_minute))
        self._next_free = float("-inf")
        self._last = float("-inf")

    def room_at(self, now: float, earliest: float, units: float) -> float:
        """The first moment from `earliest` on at which a slot of `units` may begin."""
        for window in self._windows:
            window.forget(now)
        rooms = [window.room_at(units) for window in self._windows]
        return max(earliest, self._next_free, self._last, *rooms)

    def give(self, begins: float, units: float) -> Slot:
        """A slot that begins at a moment `room_at` told."""
        late = begins - self._next_free
        since = self._next_free if 0 < late <= CATCH_UP_SECONDS else begins
        self._next_free, self._last = since + units * self._spacing, begins
        slot = Slot(begins, begins + VALID_SECONDS, units)
        for window in self._windows:
            window.add(slot)
        return slot

    def left(self, slot: Slot, at: float) -> None:
        """Its request was sent then, which may have been late."""
        slot.ends = at

    def give_back(self, slot: Slot) -> None:
        """It was not used, and will not be: the time after it is free again, too."""
        self._next_free -= slot.units * self._spacing
        self._resize(slot, 0.0)
        slot.ends = slot.begins

    def correct(self, now: float, slot: Slot, units: float) -> None:
        """Its request took `units`: less counts from when it left, more from now."""
        more = units - slot.units
        self._next_free += more * self._spacing
        if more <= 0:
            self._resize(slot, units)
            return
        rest = Slot(now, now, more)
        for window in self._windows:
            window.add(rest)

    def _resize(self, slot: Slot, units: float) -> None:
        for window in self._windows:
            window.change(slot, units)
        slot.units = units
