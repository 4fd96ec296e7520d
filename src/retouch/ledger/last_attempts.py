"""By Key the last Attempt and whether one was charged: of millions, in 16 bytes a Key.

What happens is written down in order, and looked at only when somebody asks: few do, of an Attempt
after a Job's first, or of a Record that comes late.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

LATEST = 100_000  # of what happened, not sorted yet
_KEY_BITS = (1 << 63) - 1  # room for one more: whether an Attempt began, or was charged


class LastAttempts:
    """A Key is known by its hash: of a million, two are alike with a chance of one in 10^7."""

    def __init__(self) -> None:
        self._log = array("Q")
        self._looked = 0  # at so many of the log
        self._latest: set[int] = set()  # these
        self._former: list[array[int]] = []
        self._sorted = 0  # so many of the former
        self._repeated: dict[int, int] = {}  # the last Attempt, where it is not the first

    def copy(self) -> LastAttempts:
        """The same, on its own from now on."""
        other = LastAttempts()
        other._log, other._former = self._log[:], list(self._former)
        other._sorted, other._repeated = self._sorted, dict(self._repeated)
        return other

    def last(self, key: str) -> int:
        """The last Attempt that was opened; 0: none."""
        short = hash(key) & _KEY_BITS
        return self._repeated.get(short) or int(self._happened(short << 1))

    def open(self, key: str, attempt: int) -> None:
        """Note an Attempt that begins."""
        short = hash(key) & _KEY_BITS
        if attempt != 1:
            if attempt < 1:
                return  # a damaged line's: none is numbered so
            self._repeated[short] = max(attempt, self._repeated.get(short, 0))
        self._log.append(short << 1)
        if len(self._log) >= LATEST:
            self._former.append(self._log)
            self._log, self._latest, self._looked = array("Q"), set(), 0

    def charge(self, key: str, attempt: int) -> bool:
        """Note that an Attempt was charged; whether one of the same Job was before."""
        short = hash(key) & _KEY_BITS
        is_repeated = attempt > 1 or short in self._repeated
        is_again = is_repeated and self._happened(short << 1 | 1)
        self._log.append(short << 1 | 1)
        return is_again

    def _happened(self, what: int) -> bool:
        """Whether it was written down; each part of the log is gone through or sorted once."""
        self._latest.update(self._log[self._looked :])
        self._looked = len(self._log)
        for at in range(self._sorted, len(self._former)):
            self._former[at] = array("Q", sorted(self._former[at]))
        self._sorted = len(self._former)
        return what in self._latest or any(_holds(each, what) for each in self._former)


def _holds(numbers: array[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
