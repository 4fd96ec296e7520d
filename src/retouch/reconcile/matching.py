"""A bill of single requests, line by line against ours: what is left over on either side.

Lines are matched by their id where they have one, else by what they measure (amounts rounded as
the bill rounds them). Where more alike are on one side than on the other, times decide which.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate
from typing import TypeVar

from retouch.dialects.bill import Line, Measure
from retouch.reconcile.ours import OwnCharge

_Side = TypeVar("_Side", OwnCharge, Line)
_TIMED = 50  # left over at most this many alike are told apart by their times


@dataclass(frozen=True, slots=True)
class Left:
    """What has no partner on the other side; `of_alike`: these are so many of as many alike."""

    ours: tuple[OwnCharge, ...]
    theirs: tuple[Line, ...]
    is_exact: bool


def is_itemised(entries: Sequence[OwnCharge], lines: Sequence[Line]) -> bool:
    """Whether lines look like single requests rather than sums."""
    single = all(line.measures.get("requests", 1) == 1 for line in lines)
    return single and len(lines) > 1 and 2 * len(lines) >= len(entries)


def unmatched(
    entries: Sequence[OwnCharge],
    lines: Sequence[Line],
    measures: Sequence[Measure],
    unit: Decimal,
    offset: float | None = None,
) -> Left:
    """What of one cell's entries and lines is left over. `unit` is what amounts are rounded to,
    `offset` the seconds by which our times are usually later."""
    left_ours: list[OwnCharge] = []
    left_theirs: list[Line] = []
    is_exact = True
    for mine, yours in _buckets(entries, lines, measures, unit):
        if len(mine) > len(yours):
            left_ours += _surplus(mine, yours, offset)
        elif len(yours) > len(mine):
            left_theirs += _surplus(yours, mine, None if offset is None else -offset)
        alike = len(mine) and len(yours) and len(mine) != len(yours)
        is_exact = is_exact and not (alike and not _are_timed(mine, yours))
    return Left(*_paired(left_ours, left_theirs, unit), is_exact)


def offsets(
    entries: Sequence[OwnCharge], lines: Sequence[Line], measures: Sequence[Measure], unit: Decimal
) -> list[float]:
    """Seconds that our times are later by, from requests that have one partner and no other."""
    return [
        _seconds(mine[0]) - _seconds(yours[0])
        for mine, yours in _buckets(entries, lines, measures, unit)
        if len(mine) == len(yours) == 1 and yours[0].at is not None
    ]


def _buckets(
    entries: Sequence[OwnCharge], lines: Sequence[Line], measures: Sequence[Measure], unit: Decimal
) -> list[tuple[list[OwnCharge], list[Line]]]:
    """Both sides, those that measure the same together; what is matched by its id left out."""
    by_id = {line.id: line for line in lines if line.id}
    matched = {name for entry in entries for name in (entry.task, entry.key) if name in by_id}
    ours = [e for e in entries if e.task not in matched and e.key not in matched]
    theirs = [line for line in lines if line.id not in matched]
    buckets: dict[tuple[Decimal, ...], tuple[list[OwnCharge], list[Line]]] = {}
    for entry in ours:
        buckets.setdefault(_values(entry, measures, unit), ([], []))[0].append(entry)
    for line in theirs:
        buckets.setdefault(_values(line, measures, unit), ([], []))[1].append(line)
    return list(buckets.values())


def _values(
    side: OwnCharge | Line, measures: Sequence[Measure], unit: Decimal
) -> tuple[Decimal, ...]:
    """What a side measures, comparable: amounts rounded to `unit`, nothing said as -1."""
    found = []
    for measure in measures:
        value = side.measures.get(measure, Decimal(-1))
        if measure == "amount":
            value = value.quantize(unit, ROUND_HALF_UP)
        found.append(value)
    return tuple(found)


def _paired(
    ours: list[OwnCharge], theirs: list[Line], unit: Decimal
) -> tuple[tuple[OwnCharge, ...], tuple[Line, ...]]:
    """Take out pairs whose amounts are one unit apart: the bill rounds otherwise."""
    left = sorted(theirs, key=lambda line: line.measures.get("amount", Decimal(0)))
    amounts = [line.measures.get("amount", Decimal(0)) for line in left]
    taken = [False] * len(left)
    free = list(range(len(left) + 1))  # each line's next free one: itself where it is free

    def first_free(place: int) -> int:
        while free[place] != place:
            free[place] = free[free[place]]
            place = free[place]
        return place

    kept: list[OwnCharge] = []
    for entry in ours:
        amount = entry.measures.get("amount")
        if not amount:
            kept.append(entry)
            continue
        place = first_free(bisect_left(amounts, amount - unit))
        if place < len(left) and amounts[place] and amounts[place] <= amount + unit:
            taken[place], free[place] = True, place + 1
        else:
            kept.append(entry)
    return tuple(kept), tuple(
        line for line, is_taken in zip(left, taken, strict=True) if not is_taken
    )


def _surplus(
    many: Sequence[_Side], few: Sequence[OwnCharge] | Sequence[Line], offset: float | None
) -> list[_Side]:
    """Those of `many` that have no partner among `few`, all being alike.

    `offset`: seconds that the times of `many` are usually later by; None: not known.
    """
    surplus = len(many) - len(few)
    if not few:
        return list(many)
    if surplus > _TIMED or not _are_timed(many, few):
        return list(many)[:surplus]
    longer = sorted(many, key=_seconds)
    shorter = sorted(map(_seconds, few))
    return [
        longer.pop(_odd_one_out([_seconds(each) for each in longer], shorter, offset))
        for _ in range(surplus)
    ]


def _odd_one_out(longer: list[float], shorter: list[float], offset: float | None) -> int:
    """Which of `longer` (Unix seconds) to leave out, so that the rest lies best beside `shorter`.

    Both sides' clocks and moments of recording may differ by some constant time. Where it is not
    known, it is that of the first tenth, or that of the last: only one of them can be shifted.
    """
    count = len(shorter)
    tenth = max(1, count // 10)
    shift = len(longer) - count
    offsets = [offset]
    if offset is None:
        first = statistics.median(longer[i] - shorter[i] for i in range(tenth))
        ends = range(count - tenth, count)
        last = statistics.median(longer[i + shift] - shorter[i] for i in ends)
        offsets = [first, last]
    cuts = [(*_cut(longer, shorter, each), abs(each)) for each in offsets if each is not None]
    # Where both fit as well, clocks that agree better are likelier.
    return min(cuts, key=lambda cut: (round(cut[0], 1), cut[2]))[1]


def _cut(longer: list[float], shorter: list[float], offset: float) -> tuple[float, int]:
    """The least sum of distances when one of `longer` is left out, and which one that is."""
    count = len(shorter)
    before = [abs(longer[i] - shorter[i] - offset) for i in range(count)]
    after = [abs(longer[i + 1] - shorter[i] - offset) for i in range(count)]
    head = [0.0, *accumulate(before)]
    tail = [*reversed([0.0, *accumulate(reversed(after))])]
    sums = [round(head[index] + tail[index], 2) for index in range(count + 1)]
    least = min(sums)
    return least, sums.index(least)


def _are_timed(
    one: Sequence[OwnCharge] | Sequence[Line], other: Sequence[OwnCharge] | Sequence[Line]
) -> bool:
    return all(each.at is not None for side in (one, other) for each in side)


def _seconds(side: OwnCharge | Line) -> float:
    if side.at is None:
        raise ValueError("a side without a time is never aligned by it")
    return side.at.timestamp()
