"""By Key the last Attempt and whether one was charged: of millions, in 8 bytes a Key.

A Job's Records lie close together, so that the latest Keys are in a dict; now and then it becomes a
sorted array of numbers. Only an Attempt after a Job's first looks into those: few are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

LATEST = 50_000
_KEY_BITS = (1 << 56) - 1  # of a million Keys, with a chance of one in a million, two are alike
_BYTE = 8


class LastAttempts:
    """What is known of a Key is one number: its last Attempt, doubled, and 1 more where an Attempt
    was charged; 0 for a Key that is not known."""

    def __init__(self) -> None:
        self._latest: dict[int, int] = {}
        self._former: list[array[int]] = []

    def copy(self) -> LastAttempts:
        """The same, on its own from now on."""
        other = LastAttempts()
        other._latest, other._former = dict(self._latest), list(self._former)
        return other

    def last(self, key: str) -> int:
        """The last Attempt that was opened; 0: none."""
        return self._known(hash(key) & _KEY_BITS) >> 1

    def open(self, key: str, attempt: int) -> None:
        """Note an Attempt that begins."""
        short = hash(key) & _KEY_BITS
        latest = self._latest
        known = latest.get(short, 0)
        if attempt > known >> 1:
            latest[short] = attempt << 1 | known & 1
            if len(latest) >= LATEST:
                self._put_away()

    def charge(self, key: str, attempt: int) -> bool:
        """Note that an Attempt was charged; whether one of the same Job was before."""
        short = hash(key) & _KEY_BITS
        latest = self._latest.get(short, 0)
        if latest & 1:
            return True
        self._latest[short] = (latest or attempt << 1) | 1
        return attempt > 1 and bool(self._known(short, of_former=True) & 1)

    def _known(self, short: int, *, of_former: bool = False) -> int:
        last = 0 if of_former else self._latest.get(short, 0)
        charged = last & 1
        for numbers in self._former:
            at = bisect_left(numbers, short << _BYTE)
            if at < len(numbers) and numbers[at] >> _BYTE == short:
                found = numbers[at] & 0xFF
                last, charged = max(last, found), charged | found & 1
        return last | charged

    def _put_away(self) -> None:
        """What does not fit into a byte stays: nobody makes a hundred Attempts."""
        fits = (short << _BYTE | known for short, known in self._latest.items() if known < 256)
        self._former.append(array("Q", sorted(fits)))
        self._latest = {short: known for short, known in self._latest.items() if known >= 256}
