"""Pairs of perceptual hashes that few bits tell apart, without comparing each with every other.

Hashes that differ by at most `d` bits agree in at least one of `d + 1` bands of bits (pigeonholes),
so those that share a band are compared, and no others. Where so many share one that nothing would
be gained (few bits a band, or pictures much alike), blocks are compared with everything.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

BITS = 64
_AT_ONCE = 1 << 22  # comparisons held at once: 8 bytes each, a few times over
_GAIN = 4  # how many comparisons of a block one by bands costs


def close(mine: Sequence[str], theirs: Sequence[str], distance: int) -> Iterator[tuple[Any, ...]]:
    """Positions in `mine`, positions in `theirs` and how many bits differ, as numpy's arrays of
    one length; hashes are 16 hex digits, each pair is given once. Needs numpy, as the hashes did.
    """
    numpy: Any = importlib.import_module("numpy")
    if not mine or not theirs:
        return
    here, there = (
        numpy.array([int(each, 16) for each in hashes], dtype=numpy.uint64)
        for hashes in (mine, theirs)
    )
    bands = [_Band(here, there, *edges) for edges in _edges(distance + 1)]
    if sum(band.pairs for band in bands) * _GAIN < len(mine) * len(theirs):
        for number, band in enumerate(bands):
            yield from _by_band(here, there, band, bands[:number], distance)
        return
    step = max(1, _AT_ONCE // len(theirs))
    for begin in range(0, len(mine), step):
        bits = numpy.bitwise_count(here[begin : begin + step, None] ^ there[None, :])
        rows, columns = numpy.nonzero(bits <= distance)
        if len(rows):
            yield rows + begin, columns, bits[rows, columns]


def weighed(rows: Any, columns: Any, mine: Sequence[int], theirs: Sequence[int]) -> int:
    """How many pairs of pictures these pairs of hashes are, where a hash is that of several."""
    numpy: Any = importlib.import_module("numpy")
    one, other = (numpy.array(sizes, dtype=numpy.int64) for sizes in (mine, theirs))
    return int((one[rows] * other[columns]).sum())


def _edges(count: int) -> Iterator[tuple[int, int]]:
    """So many bands of the bits: the lowest bit of each and how many it has."""
    for number in range(count):
        low, high = BITS * number // count, BITS * (number + 1) // count
        yield low, high - low


class _Band:
    """One band's bits of both lists, and which of theirs has the same as each of mine."""

    def __init__(self, here: Any, there: Any, low: int, width: int) -> None:
        numpy: Any = importlib.import_module("numpy")
        mask = numpy.uint64(((1 << width) - 1) << low)
        self.here, self.mask = here & mask, mask
        self.order = numpy.argsort(there & mask, kind="stable")
        ordered = (there & mask)[self.order]
        self.begin = numpy.searchsorted(ordered, self.here, "left")
        self.counts = numpy.searchsorted(ordered, self.here, "right") - self.begin
        self.pairs = int(self.counts.sum())


def _by_band(
    here: Any, there: Any, band: _Band, earlier: list[_Band], distance: int
) -> Iterator[tuple[Any, ...]]:
    """The close pairs that agree in this band, and in no earlier one, where they were given."""
    numpy: Any = importlib.import_module("numpy")
    ends = numpy.cumsum(band.counts)
    first = 0
    while first < len(here):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(numpy.searchsorted(ends, before + _AT_ONCE, "right")))
        counts = band.counts[first:last]
        rows = numpy.repeat(numpy.arange(first, last), counts)
        within = numpy.arange(len(rows)) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
        columns = band.order[band.begin[rows] + within]
        bits = here[rows] ^ there[columns]
        is_kept = numpy.bitwise_count(bits) <= distance
        for other in earlier:
            is_kept &= (bits & other.mask) != 0
        if is_kept.any():
            yield rows[is_kept], columns[is_kept], numpy.bitwise_count(bits[is_kept])
        first = last
