"""Keys by numbers, in the order in which they were first met: 32 bytes each, found by hashes.

A Key is a SHA-256 in hex; what a ledger from elsewhere may have in its place is kept as it is.
"""

from __future__ import annotations

from array import array

_KEY_BYTES = 32
_ODD_KEY = bytes(_KEY_BYTES)
_FIRST_SLOTS = 1 << 12


class Keys:
    """Few bytes a Key. Whatever two Keys' hashes are, the Keys are compared."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._odd: dict[str, int] = {}  # what is no SHA-256 in hex
        self._odd_keys: dict[int, str] = {}
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))
        self._mask = _FIRST_SLOTS - 1

    def __len__(self) -> int:
        return len(self._digests) // _KEY_BYTES

    def expect(self, count: int) -> None:
        """Make room for so many Keys before there are any: else it is made anew as they come."""
        if not self._digests:
            while self._mask < 2 * count:
                self._mask = 4 * self._mask + 3
            self._slots = array("I", bytes(4 * (self._mask + 1)))

    def key(self, number: int) -> str:
        """The Key of a number."""
        odd = self._odd_keys.get(number) if self._odd_keys else None
        at = number * _KEY_BYTES
        return self._digests[at : at + _KEY_BYTES].hex() if odd is None else odd

    def find(self, key: str) -> int:
        """A Key's number; -1: it is not known."""
        raw = _raw(key)
        return self._odd.get(key, -1) if raw is None else self.find_digest(raw)

    def find_digest(self, digest: bytes) -> int:
        """The same, by the Key's 32 bytes."""
        slots, digests, mask = self._slots, self._digests, self._mask
        slot = hash(digest) & mask
        while number := slots[slot]:
            if digests.startswith(digest, number * _KEY_BYTES - _KEY_BYTES):
                return number - 1
            slot = slot + 1 & mask
        return -1

    def add(self, key: str) -> int:
        """The number of a Key that is met for the first time; -1: it is known."""
        digests = self._digests
        number = len(digests) // _KEY_BYTES
        raw = _raw(key)
        if raw is None:
            return self._add_odd(key, number)
        slots, mask = self._slots, self._mask
        slot = hash(raw) & mask
        while taken := slots[slot]:
            if digests.startswith(raw, taken * _KEY_BYTES - _KEY_BYTES):
                return -1
            slot = slot + 1 & mask
        slots[slot] = number + 1
        digests += raw
        if 2 * number >= mask:
            self._make_room()
        return number

    def _add_odd(self, key: str, number: int) -> int:
        if key in self._odd:
            return -1
        self._odd[key], self._odd_keys[number] = number, key
        self._digests += _ODD_KEY
        return number

    def _make_room(self) -> None:
        """Four times as many slots: never more than half of them are taken."""
        slots = self._slots = array("I", bytes(16 * len(self._slots)))
        mask = self._mask = len(slots) - 1
        digests = bytes(self._digests)
        for number in range(len(self)):
            if number not in self._odd_keys:
                at = number * _KEY_BYTES
                slot = hash(digests[at : at + _KEY_BYTES]) & mask
                while slots[slot]:
                    slot = slot + 1 & mask
                slots[slot] = number + 1


def _raw(key: str) -> bytes | None:
    """A Key's 32 bytes; None for what is no SHA-256 as it is written here."""
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        return None
    return raw if len(raw) == _KEY_BYTES and raw.hex() == key else None
