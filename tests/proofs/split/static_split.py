"""A static split of real processes, one of which is killed in mid-shard and started again.

The oracle is the provider's book, and when its requests reached its machine.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from retouch.ledger import Reader, read
from retouch.ledger.state import Replay, replay
from tests.e2e.house import House, served
from tests.support.limited import arrivals, serve_limited
from tests.support.sliding import fullest

SHARDS = 4
PRICE = Decimal("0.1")
CONCURRENCY = 16  # of all shards together
PROMPTS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it: the ledger over all parts; how many requests were in flight at the kill,
    by the killed shard's ledger; what was counted towards the budget then."""

    house: House
    state: Replay
    codes: tuple[int, ...]
    in_flight: int
    errors: str

    @property
    def bought(self) -> Counter[str]:
        """How often each piece of work was bought."""
        return Counter(charge.request for charge in self.house.book)


def run_split(
    folder: Path,
    jobs: int,
    per_second: int,
    *,
    budget: Decimal,
    seconds: float = 0.2,
    later_runs: int = 0,
) -> Outcome:
    """`jobs` jobs by four processes at a limit; when a third is done the second is killed. So many
    `later_runs` without shards follow."""
    with served(folder, serve_limited, seconds=seconds) as place:
        place.pictures(jobs // PROMPTS)
        place.manifest(
            "  - {model: gemini-2.5-flash-image, price: {currency: CNY, per_image: 0.1}, limits: "
            f"{{concurrency: {CONCURRENCY}, requests_per_minute: {per_second * 60}}}}}",
            prompts=PROMPTS,
            run=f"{{budget: {{total: {budget}, currency: CNY}}}}",
        )
        words = [("--shard", f"{index}/{SHARDS}", "--no-report") for index in range(1, SHARDS + 1)]
        running = [place.start("run", *each) for each in words]
        until = time.monotonic() + 120
        while len(place.book) < jobs / 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        running[1].kill()
        running[1].communicate(timeout=30)
        in_flight = sum(1 for _ in replay(Reader(ledger_of(place, 2))).unanswered())
        running[1] = place.start("run", *words[1])
        ends = [each.communicate(timeout=300) for each in running]
        codes = tuple(each.returncode or 0 for each in running)
        later = [place.retouch("run", "--no-report") for _ in range(later_runs)]
        ends += [(each.stdout, each.stderr) for each in later]
        state = read(place.outputs / "ledger.jsonl")
        return Outcome(place, state, codes, in_flight, "\n".join(errors for _, errors in ends))


def ledger_of(place: House, index: int, shards: int = SHARDS) -> Path:
    """The ledger of one shard."""
    return place.outputs / f"ledger.{index}-of-{shards}.jsonl"


def prove(outcome: Outcome, jobs: int, per_second: int, *, budget: Decimal) -> dict[str, float]:
    """0 bought twice, unknown at most what was in flight, the budget and the limit kept; the
    figures."""
    seen = [(at, 1.0) for at in arrivals(outcome.house.folder)]
    counts = outcome.state.counts()
    figures: dict[str, float] = {
        "jobs": jobs,
        "bought": len(outcome.house.book),
        "bought twice": sum(count > 1 for count in outcome.bought.values()),
        "done": counts["done"],
        "unknown": counts["unknown"],
        "in flight at the kill": outcome.in_flight,
        "spent": float(PRICE * len(outcome.house.book)),
        "requests a second": round((len(seen) - 1) / (seen[-1][0] - seen[0][0]), 1),
    }
    for window in (1.0, 10.0, 60.0):
        figures[f"most in {window:.0f} s"] = fullest(seen, window)
    told = (figures, outcome.codes, outcome.errors)
    assert figures["bought twice"] == 0, told
    assert counts["unknown"] <= outcome.in_flight <= CONCURRENCY // SHARDS, told
    assert PRICE * len(outcome.house.book) <= budget, told
    assert len(outcome.house.book) <= counts["done"] + counts["unknown"] <= jobs, told
    for window in (1.0, 10.0, 60.0):
        assert figures[f"most in {window:.0f} s"] <= math.ceil(per_second * window), told
    return figures
