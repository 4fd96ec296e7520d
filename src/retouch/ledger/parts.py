"""A ledger in parts, a file a shard, read as one.

Each part is its own chain. Together they have one order: by the moment at which lines were
stamped, which within a part never goes back (a clock that did counts as standing still); of one
moment the whole's ledger comes first, then by N and i. A writer stamps later than all it has read
(see `writing`), so a Record comes after those it builds on, whichever part they lie in.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from retouch.ledger.reading import Reader, take_in
from retouch.ledger.records import AnyRecord, RunBegins, RunEnds, Salvaged
from retouch.ledger.spending import SharedSpending
from retouch.ledger.state import Replay
from retouch.storage.part import ledgers_in, part_of

P = TypeVar("P")
Keeps = Callable[[str], bool]
"""Whether a Key is to be read."""


def part_paths(path: Path) -> list[Path]:
    """The files that a ledger named by its path is read from: all parts in its folder, where its
    name is a part's; else that file alone. A lone ledger that is not there yet is named all the
    same."""
    if part_of(path) is None:
        return [path]
    return ledgers_in(path.parent) or [path]


class Parts:
    """The Records of a ledger's parts in their one order. While it is iterated, `here` names the
    part that the last Record was read from, and its line there, from 1.

    Raises LedgerDamaged and StorageFailed as each part's Reader.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = tuple(readers)
        self._lost: dict[int, int | None] = {}
        self._at = 0

    @classmethod
    def of(cls, path: Path) -> Parts:
        """All parts of the ledger that a path names."""
        return cls([Reader(each) for each in part_paths(path)])

    @property
    def here(self) -> tuple[Path, int]:
        """The part that the last Record was read from, and its line there."""
        reader = self.readers[self._at]
        return reader.path, reader.end.lines

    @property
    def place(self) -> tuple[str, int] | None:
        """The same with the part's name; None where there is one part."""
        path, line = self.here
        return (path.name, line) if len(self.readers) > 1 else None

    @property
    def lost_lines(self) -> int | None:
        """How many lines salvaged parts have lost, as Replay has it."""
        lost = self._lost.values()
        return None if None in lost else sum(each or 0 for each in lost)

    def __iter__(self) -> Iterator[AnyRecord]:
        if len(self.readers) == 1:
            return iter(self.readers[0])
        return (record for _, record in self.numbered())

    def numbered(self) -> Iterator[tuple[int, AnyRecord]]:
        """The same, each with the number of its part's reader, from 0."""
        self._lost.clear()
        if len(self.readers) == 1:
            self._at = 0
            for record in self.readers[0]:
                self._note(record)
                yield 0, record
            return
        streams = [((None, record) for record in reader) for reader in self.readers]
        for number, _, record in in_order(streams):
            self._at = number
            self._note(record)
            yield number, record

    def of_keys(self, keys: Collection[str]) -> Iterator[tuple[int, AnyRecord]]:
        """The Records of these Keys, each with its number among all of the last reading."""
        if len(self.readers) == 1:
            yield from self.readers[0].of_keys(keys)
            return
        for number, record in enumerate(self, 1):
            if getattr(record, "key", None) in keys:
                yield number, record

    def bases(self, state: Replay) -> list[int]:
        """Take the parts in among the lines of a state; the base of each."""
        return [state.lines.part(each.path) for each in self.readers]

    def reached(self, state: Replay, bases: Sequence[int]) -> None:
        """All was read: say how far each part went, and what salvaged ones have lost."""
        for reader, base in zip(self.readers, bases, strict=True):
            state.lines.reach(base, reader.end.size)
        state.lost_lines = self.lost_lines

    def _note(self, record: AnyRecord) -> None:
        if isinstance(record, Salvaged):
            self._lost[self._at] = record.lost_lines


def in_order(
    parts: Iterable[Iterator[tuple[P, AnyRecord]]],
) -> Iterator[tuple[int, P, AnyRecord]]:
    """The Records of parts in their one order, each with its part's number and what it came with.
    When one is given, its part was read no further than it."""
    timed = (_timed(number, part) for number, part in enumerate(parts))
    for _, number, beside, record in heapq.merge(*timed):  # of no two the number is the same
        yield number, beside, record


def _timed(
    number: int, part: Iterator[tuple[P, AnyRecord]]
) -> Iterator[tuple[str, int, P, AnyRecord]]:
    latest = ""
    for beside, record in part:
        latest = max(latest, record.at)
        yield latest, number, beside, record


@dataclass(slots=True)
class Together:
    """What the parts say to the writer of one of them: the `state`, and the own part's `base` among
    its lines; of a shard, its money (`shared`); the `latest` moment in parts of runs that were
    divided otherwise."""

    state: Replay
    base: int
    shared: SharedSpending | None = None
    latest: str = ""


def read(path: Path) -> Replay:
    """Where every Job of the ledger stands, over all its parts, for commands that only look; a
    torn end is ignored."""
    parts, state = Parts.of(path), Replay()
    if len(parts.readers) == 1:  # nothing to merge: of a million jobs, seconds
        take_in(parts.readers[0], state)
        return state
    bases = parts.bases(state)
    for number, record in parts.numbered():
        state.apply(record, parts.readers[number].where(bases[number]))
    parts.reached(state, bases)
    return state


def read_together(own: Reader, keeps: Keeps | None = None, *, is_alone: bool = False) -> Together:
    """The part that `own` reads with all others in its folder, unless it `is_alone`. `keeps`: of a
    shard, which Keys are its own; nothing else is in its state."""
    paths = [own.path] if is_alone else [*part_paths(own.path), own.path]
    named = {each.name: own if each.name == own.path.name else Reader(each) for each in paths}
    parts = Parts(list(named.values()))
    shards = [part.count if (part := part_of(each.path)) else 0 for each in parts.readers]
    at = parts.readers.index(own)
    state = Replay()
    if len(named) == 1 and keeps is None:  # nothing to merge, and nobody to share with
        return Together(state, take_in(own, state))
    bases = parts.bases(state)
    shared = None if keeps is None else SharedSpending(shards[at])
    found = Together(state, bases[at], shared)
    for number, record in parts.numbered():
        is_own, is_beside = number == at, shards[number] != shards[at]
        if is_beside:
            found.latest = max(found.latest, record.at)
        if shared is not None and (is_own or is_beside):
            shared.of(None if is_own else number).apply(record)
        key: str | None = getattr(record, "key", None)
        if keeps is None or (is_own if key is None else keeps(key)):
            state.apply(record, parts.readers[number].where(bases[number]))
    parts.reached(state, bases)
    return found


def parts_of_attempts(
    path: Path, places: Collection[tuple[str, int]]
) -> dict[tuple[str, int], Path]:
    """By key and attempt the part with the latest Record of each: where a verdict belongs, for it
    is read after what it is a verdict on."""
    parts, found = Parts.of(path), dict[tuple[str, int], Path]()
    for record in parts:
        if isinstance(record, RunBegins | Salvaged | RunEnds):  # of no Attempt
            continue
        place = (record.key, record.attempt)
        if place in places:
            found[place] = parts.here[0]
    return found
