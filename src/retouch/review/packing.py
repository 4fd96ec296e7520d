"""Columns, not objects: how the pages' document is written small.

A column whose values are all alike is written once, growing numbers as differences, texts by their
numbers in a table, digests in base64 without separators. `static/data.js` is the reader.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class Table(Generic[Item]):
    """Each different value once; columns hold its number."""

    items: list[Item] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)

    def number(self, item: Item) -> int:
        """The value's number, given at its first use."""
        known = self._numbers.get(item)
        if known is None:
            known = self._numbers[item] = len(self.items)
            self.items.append(item)
        return known


def numbers(table: Table[str], value: object) -> object:
    """Texts by their numbers; a list of them stays one, an empty one is 0."""
    if isinstance(value, list):
        return [table.number(each) for each in value] or 0
    return table.number(str(value))


def alike(values: Sequence[object]) -> object:
    """The column, or its one value where all are alike."""
    if values and all(each == values[0] for each in values):
        return {"all": values[0]}
    return list(values)


def differences(values: Sequence[int]) -> list[int]:
    """Each value less the one before it."""
    return [value - before for value, before in zip(values, (0, *values), strict=False)]


def in_base64(digest: str) -> str:
    """A digest in hex as base64url without its padding."""
    return base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()


def digests(given: Iterable[str]) -> str:
    """Digests of one length, one after the other."""
    return "".join(map(in_base64, given))
