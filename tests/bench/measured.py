"""What a case of the bench returns, and how its seconds are taken.

Seconds alone say more about the machine than about the code, so every case is measured beside a
reference in the same run, turn by turn, and told as a ratio. The quickest of some rounds counts:
what disturbs a round only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing done our way and another way; `times` how often in the seconds given. `more`: what
    else is known of both, by `ours` and `theirs`."""

    name: str
    ours_seconds: float
    reference: str
    reference_seconds: float
    times: int = 1
    more: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many of ours fit into the reference's time: above 1, ours is quicker."""
        return self.reference_seconds / self.ours_seconds


def quickest(*works: Callable[[], object], rounds: int = 5) -> tuple[float, ...]:
    """The least seconds each work took, the works taking turns."""
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            begun = time.perf_counter()
            work()
            best[place] = min(best[place], time.perf_counter() - begun)
    return tuple(best)


def against(
    name: str,
    ours: Callable[[], object],
    references: dict[str, Callable[[], object]],
    *,
    times: int = 1,
    rounds: int = 5,
) -> list[Measured]:
    """One row a reference."""
    ours_seconds, *seconds = quickest(ours, *references.values(), rounds=rounds)
    return [
        Measured(name, ours_seconds, reference, reference_seconds, times)
        for reference, reference_seconds in zip(references, seconds, strict=True)
    ]
