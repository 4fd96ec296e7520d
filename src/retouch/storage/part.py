"""The parts that an outputs folder's work may be done in, and what each one's files are called.

A run on the whole folder is one part, `ledger.jsonl`; of N shards each is one, and the i-th writes
`ledger.<i>-of-<N>.jsonl`. The shards of one N go on side by side, for no Job is in two of them;
whatever else holds a part has the folder to itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SUFFIX = re.compile(r"\.([1-9][0-9]{0,6})-of-([1-9][0-9]{0,6})")
_LEDGER, _ENDING = "ledger", ".jsonl"


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """The `index`-th of `count` parts, from 1; 0 of 0 is the folder as a whole."""

    count: int = 0
    index: int = 0

    @property
    def suffix(self) -> str:
        """What its files' names have before their ending; nothing for the whole."""
        return f".{self.index}-of-{self.count}" if self.count else ""

    @property
    def ledger(self) -> str:
        """Its ledger's name."""
        return f"{_LEDGER}{self.suffix}{_ENDING}"

    def excludes(self, other: Part) -> bool:
        """Whether the two may not be held at once: the same, or of another number of parts."""
        return self == other or self.count != other.count


WHOLE = Part()


def part_at(suffix: str) -> Part | None:
    """The part whose files have this suffix; None where it is none."""
    if not suffix:
        return WHOLE
    found = _SUFFIX.fullmatch(suffix)
    if found is None or int(found[1]) > int(found[2]):
        return None
    return Part(int(found[2]), int(found[1]))


def part_of(ledger: Path) -> Part | None:
    """The part that a ledger is of, by its name; None for another file."""
    name = ledger.name
    if not (name.startswith(_LEDGER) and name.endswith(_ENDING)):
        return None
    return part_at(name[len(_LEDGER) : -len(_ENDING)])


def ledgers_in(folder: Path) -> list[Path]:
    """Every part's ledger that lies in a folder: the whole's first, then by N and i. None where
    the folder cannot be listed."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - no Path for each of very many names
    except OSError:
        return []
    found = ((part_of(Path(name)), name) for name in names if name.startswith(_LEDGER))
    return [folder / name for part, name in sorted((p, n) for p, n in found if p is not None)]


def missing_beside(ledgers: Iterable[Path]) -> list[Part]:
    """The shards' parts that are not among these although others of the same N are."""
    there = {part for path in ledgers if (part := part_of(path)) is not None}
    counts = sorted({part.count for part in there if part.count})
    parts = (Part(count, index) for count in counts for index in range(1, count + 1))
    return [part for part in parts if part not in there]
