"""Sliding windows over what was sent, for checking limits from the server's side."""

from __future__ import annotations

from collections.abc import Sequence


def fullest(sends: Sequence[tuple[float, float]], window: float = 60.0) -> float:
    """The most units that any window of so many seconds holds, of (time, units) pairs."""
    ordered = sorted(sends)
    most = held = 0.0
    first = 0
    for at, units in ordered:
        held += units
        while ordered[first][0] <= at - window:
            held -= ordered[first][1]
            first += 1
        most = max(most, held)
    return most
