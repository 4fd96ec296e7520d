"""Hashes that few bits tell apart: the pairs are those of comparing each with every other."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from retouch.plan import alike

pytest.importorskip("cv2")

Pair = tuple[int, int, int]


def shown(number: int) -> str:
    return f"{number:016x}"


def hashes(numbers: random.Random, count: int, *, near: int) -> Iterator[int]:
    """So many at random, and as many again that differ from one of them by up to `near` bits."""
    own = [numbers.getrandbits(64) for _ in range(count)]
    yield from own
    for each in own:
        flipped = numbers.sample(range(64), numbers.randint(0, near))
        yield each ^ sum(1 << bit for bit in flipped)


def found(mine: list[int], theirs: list[int], distance: int) -> list[Pair]:
    every: list[Pair] = []
    for rows, columns, bits in alike.close(
        list(map(shown, mine)), list(map(shown, theirs)), distance
    ):
        every += zip(rows.tolist(), columns.tolist(), bits.tolist(), strict=True)
    return sorted(every)


@pytest.mark.parametrize("distance", [0, 1, 4, 9, 20])
@pytest.mark.parametrize("at_once", [7, 1 << 22])
@pytest.mark.parametrize("seed", range(3))
def test_each_close_pair_is_found_once(
    distance: int, at_once: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By bands or block by block, however few are held at once."""
    monkeypatch.setattr(alike, "_AT_ONCE", at_once)
    numbers = random.Random(seed)
    every = list(hashes(numbers, 60, near=distance + 2))
    numbers.shuffle(every)
    mine, theirs = every[:70], every[70:]
    expected = sorted(
        (row, column, bits)
        for row, one in enumerate(mine)
        for column, other in enumerate(theirs)
        if (bits := (one ^ other).bit_count()) <= distance
    )
    assert found(mine, theirs, distance) == expected
    for gain in (0, 1 << 40):  # by bands alone, in blocks alone
        monkeypatch.setattr(alike, "_GAIN", gain)
        assert found(mine, theirs, distance) == expected


def test_nothing_is_near_nothing() -> None:
    assert found([], [1], 4) == found([1], [], 4) == []


def test_two_lists_of_fifty_thousand_take_seconds_not_minutes() -> None:
    """2,500,000,000 pairs, few of which are compared."""
    numbers = random.Random(5)
    one = [numbers.getrandbits(64) for _ in range(50_000)]
    other = [each ^ 1 << numbers.randrange(64) for each in one]
    began = time.process_time()
    pairs = found(one, other, 4)
    assert [(row, column) for row, column, _ in pairs] == [(each, each) for each in range(50_000)]
    assert time.process_time() - began < 10
