"""The real program killed at random, again and again; the oracle is the provider's book."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

from retouch.ledger import Reader
from retouch.ledger.records import Unknown
from tests.e2e.house import House, house

QINIU = """
  - model: gemini-2.5-flash-image
    limits: {concurrency: 3}
    price: {currency: CNY, input_per_million: 2.1, output_per_million: 210}
  - model: kling-v2
    limits: {concurrency: 3}
    poll: {interval: 0.1}
    price: {currency: CNY, per_image: 0.20}
"""
OPENAI = """
  - model: gpt-image-2
    limits: {concurrency: 3}
    price: {currency: CNY, input_per_million: 56, output_per_million: 210}
  - model: a-model-of-ones-own
    limits: {concurrency: 3}
    price: {currency: CNY, per_image: 0.20}
"""
MODELS = {"qiniu": QINIU, "openai": OPENAI}
KILLS = 18
PICTURES, JOBS = 16, 64
IN_FLIGHT = 3  # requests of a lane at once; a task's submit is one of them until it is answered


def _kill_at_random(place: House, chance: random.Random) -> Counter[str]:
    """Start a run and kill it some charges on; where its jobs stood then."""
    enough = len(place.book) + chance.randint(1, 6)
    process = place.start("run")
    while len(place.book) < enough and process.poll() is None:
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.1))
    process.kill()
    process.communicate()
    return place.state.counts()


def killed_again_and_again(folder: Path, seed: int, dialect: str) -> None:
    """Kill runs and finish: no request is charged twice, no charge is unsaid, and what is unknown
    is at most what was in flight at the kills."""
    chance = random.Random(seed)
    with house(folder, seconds=0.06, task_seconds=0.3) as place:
        place.pictures(PICTURES)
        place.manifest(MODELS[dialect], prompts=2, dialect=dialect)
        left = [_kill_at_random(place, chance) for _ in range(KILLS)]
        assert any(counts["accepted"] for counts in left) or dialect == "openai"
        in_flight = [counts["sent"] for counts in left]
        assert any(in_flight)
        assert max(in_flight) <= 2 * IN_FLIGHT
        _check_the_end(place, sum(in_flight))
        again = place.retouch("run", "--redo", "unknown")
        assert again.returncode == 0, again.stderr
        assert place.state.counts() == Counter(done=JOBS)
        found = json.loads(place.retouch("verify", "--json").stdout)
        assert not any(found[wrong] for wrong in ("missing", "changed", "wrong_costs"))


def _check_the_end(place: House, were_in_flight: int) -> None:
    last = place.retouch("run")
    assert last.returncode in (0, 1), last.stderr
    bought = Counter(charge.request for charge in place.book)
    assert max(bought.values()) == 1
    state = place.state
    counts = state.counts()
    assert counts["done"] + counts["unknown"] == JOBS
    assert counts["unknown"] <= were_in_flight
    assert len(place.book) <= counts["done"] + len(state.open_charges)
    assert sum(charge.output_tokens for charge in place.book) >= state.totals.output_tokens
    if counts["unknown"]:
        assert last.returncode == 1
        assert f"{counts['unknown']} job" in last.stderr
        assert "may have been charged" in last.stderr
        held = [one for one in Reader(place.outputs / "ledger.jsonl") if isinstance(one, Unknown)]
        assert all(one.ceiling is not None for one in held)
