"""A run on a real cluster of three nodes; a worker and a node are killed in the midst of it.

The oracle is the provider's book, and when its requests arrived.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from retouch.ledger import read
from retouch.ledger.state import Replay
from tests.e2e.house import House, served
from tests.support.limited import arrivals, serve_limited
from tests.support.ray_nodes import Nodes, ray_nodes
from tests.support.sliding import fullest

NODES = 3
PRICE = Decimal("0.1")
CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `used`: the share of the limit while nobody was missing."""

    house: House
    state: Replay
    code: int
    errors: str
    used: float

    @property
    def bought(self) -> Counter[str]:
        """How often each piece of work was bought."""
        return Counter(charge.request for charge in self.house.book)


def run_through_losses(
    folder: Path,
    jobs: int,
    per_second: int,
    *,
    budget: Decimal | None = None,
    is_killed: bool = True,
) -> Outcome:
    """`jobs` jobs at a limit; when a third is done a worker is killed, at two thirds a node."""
    prompts = 20
    with served(folder, serve_limited, seconds=1.0) as place, ray_nodes(NODES, 2) as nodes:
        place.pictures(-(-jobs // prompts))
        terms = f"budget: {{amount: {budget}, currency: CNY}}" if budget is not None else ""
        place.manifest(
            "  - {model: gemini-2.5-flash-image, price: {currency: CNY, per_image: 0.1}, limits: "
            f"{{concurrency: {CONCURRENCY}, requests_per_minute: {per_second * 60}}}}}",
            prompts=prompts,
            run=f"{{{terms}}}",
        )
        words = ("--ray", nodes.address, "--workers", "5", "--no-report")
        process = place.start_anew("run", *words)
        try:
            if is_killed:
                _kill_some(place, nodes, jobs)
            out, errors = process.communicate(timeout=600)
        finally:
            process.kill()
        assert out == ""
        state = read(place.outputs / "ledger.jsonl")
        return Outcome(place, state, process.returncode, errors, _used(folder, jobs, per_second))


def _kill_some(place: House, nodes: Nodes, jobs: int) -> None:
    for share, kill in ((1 / 3, nodes.kill_worker), (2 / 3, nodes.kill_node)):
        until = time.monotonic() + 400
        while len(arrivals(place.folder)) < jobs * share:
            assert time.monotonic() < until
            time.sleep(0.1)
        kill()


def _used(folder: Path, jobs: int, per_second: int) -> float:
    """The share of the limit that was used until the first third was done."""
    seen = arrivals(folder)[jobs // 20 : jobs // 3]
    return (len(seen) - 1) / (seen[-1] - seen[0]) / per_second


def prove(outcome: Outcome, jobs: int, per_second: int, *, killed: int) -> dict[str, float]:
    """0 bought twice, unknown at most what was in flight, the limit kept; the figures."""
    seen = [(at, 1.0) for at in arrivals(outcome.house.folder)]
    figures: dict[str, float] = {
        "jobs": jobs,
        "bought": len(outcome.bought),
        "bought twice": sum(count > 1 for count in outcome.bought.values()),
        "done": outcome.state.counts()["done"],
        "unknown": outcome.state.counts()["unknown"],
        "used %": round(outcome.used * 100, 1),
    }
    for window in (1.0, 10.0, 60.0):
        figures[f"most in {window:.0f} s"] = fullest(seen, window)
    assert figures["bought twice"] == 0, figures
    assert figures["done"] + figures["unknown"] == jobs, (figures, outcome.errors)
    assert figures["unknown"] <= CONCURRENCY * killed, figures
    for window in (1.0, 10.0, 60.0):
        most = math.ceil(per_second * window)
        assert figures[f"most in {window:.0f} s"] <= most, figures
    return figures
