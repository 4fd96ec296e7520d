"""Which sources are taken, and which prompts each of them gets: by columns, by hash, by draw.

Everything hangs on a source's own name and on nothing that stands beside it, so that what is added
moves no earlier choice (a `count` excepted: each source added displaces at most one).
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from retouch.manifest import Sample
from retouch.plan.candidates import Candidate

_WHOLE = 2.0**64


def fits(columns: Mapping[str, str], wanted: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether each column has one of the values wanted of it; one that is not there has none."""
    return all(name in columns and columns[name] in values for name, values in wanted.items())


def share_of(text: str) -> float:
    """A number from 0 up to 1, spread evenly over texts, the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / _WHOLE


def sampled(found: list[Candidate], sample: Sample) -> list[Candidate]:
    """The sample of them, in their order; of each value of `per` for itself."""
    groups: dict[str, list[int]] = {}
    for position, candidate in enumerate(found):
        columns = candidate.columns
        value = columns[sample.per] if sample.per and sample.per in columns else ""
        groups.setdefault(value, []).append(position)
    kept: list[int] = []
    for positions in groups.values():
        kept.extend(_of_group(found, positions, sample))
    return [found[position] for position in sorted(kept)]


def _of_group(found: list[Candidate], positions: list[int], sample: Sample) -> Iterable[int]:
    """Those whose names have the smallest seeded hashes, or hashes below the fraction."""

    def rank(position: int) -> tuple[float, int]:
        return share_of(f"{sample.seed}:{found[position].name}"), position

    if sample.fraction is not None:
        return (position for position in positions if rank(position)[0] < sample.fraction)
    return heapq.nsmallest(sample.count or 0, positions, key=rank)


@lru_cache(maxsize=1 << 17)  # a plan goes through its draws three times
def drawn(
    name: str, ids: tuple[str, ...], weights: tuple[float, ...], variants: int, seed: int
) -> tuple[int, ...]:
    """Positions of different prompts drawn for a source, the heaviest most often first.

    An order by weight without replacement: each prompt's key is -ln(u) / weight with u of its own
    hash (Efraimidis and Spirakis 2006, their A-ES in logarithms). So more variants keep the
    earlier ones, and a prompt that is added takes a place without reordering the rest.
    """
    keys = [
        (-math.log(max(share_of(f"{seed}:{name}:{prompt}"), 1 / _WHOLE)) / weight, at)
        for at, (prompt, weight) in enumerate(zip(ids, weights, strict=True))
    ]
    return tuple(at for _, at in heapq.nsmallest(variants, keys))
