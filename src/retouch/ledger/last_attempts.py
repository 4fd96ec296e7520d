"""By Key the last Attempt and whether one was charged: of millions, in 16 bytes a Key.

What happens is written down in order, and looked at only when somebody asks: few do, of an Attempt
after a Job's first, or of a Record that comes late.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

LATEST = 100_000  # of what happened, not sorted yet
_KEY_BITS = (1 << 56) - 1  # of a million Keys, with a chance of one in a million, two are alike
_BYTE = 8
_MOST = 127  # Attempts that a byte has room for, doubled


class LastAttempts:
    """What is known of a Key is one number: its last Attempt, doubled, and 1 more where an Attempt
    was charged; 0 for a Key that is not known."""

    def __init__(self) -> None:
        self._log = array("Q")
        self._looked = 0  # at so many of the log
        self._latest: dict[int, int] = {}  # of these
        self._former: list[array[int]] = []
        self._sorted = 0  # so many of the former
        self._repeated: dict[int, int] = {}  # Keys of more than one Attempt, and their last

    def copy(self) -> LastAttempts:
        """The same, on its own from now on."""
        other = LastAttempts()
        other._log, other._former = self._log[:], list(self._former)
        other._sorted, other._repeated = self._sorted, dict(self._repeated)
        return other

    def last(self, key: str) -> int:
        """The last Attempt that was opened; 0: none."""
        return self._known(hash(key) & _KEY_BITS) >> 1

    def open(self, key: str, attempt: int) -> None:
        """Note an Attempt that begins."""
        short = hash(key) & _KEY_BITS
        if attempt != 1:
            if attempt < 1:
                return  # a damaged line's: none is numbered so
            self._repeated[short] = max(attempt, self._repeated.get(short, 0))
            attempt = min(attempt, _MOST)
        self._log.append(short << _BYTE | attempt << 1)
        if len(self._log) >= LATEST:
            self._put_away()

    def charge(self, key: str, attempt: int) -> bool:
        """Note that an Attempt was charged; whether one of the same Job was before."""
        short = hash(key) & _KEY_BITS
        is_again = False
        if attempt > 1 or short in self._repeated:
            is_again = bool(self._known(short) & 1)
        self._log.append(short << _BYTE | 1)
        return is_again

    def _known(self, short: int) -> int:
        for number in self._log[self._looked :]:
            of = number >> _BYTE
            known, more = self._latest.get(of, 0), number & 0xFF
            self._latest[of] = max(known, more) | (known | more) & 1
        self._looked = len(self._log)
        last = max(self._latest.get(short, 0), self._repeated.get(short, 0) << 1)
        charged = self._latest.get(short, 0) & 1
        for numbers in self._all_sorted():
            at = bisect_left(numbers, short << _BYTE)
            while at < len(numbers) and numbers[at] >> _BYTE == short:
                last, charged = max(last, numbers[at] & 0xFE), charged | numbers[at] & 1
                at += 1
        return last | charged

    def _all_sorted(self) -> list[array[int]]:
        for at in range(self._sorted, len(self._former)):
            self._former[at] = array("Q", sorted(self._former[at]))
        self._sorted = len(self._former)
        return self._former

    def _put_away(self) -> None:
        self._former.append(self._log)
        self._log, self._latest, self._looked = array("Q"), {}, 0
