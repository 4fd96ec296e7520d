"""Nights behind gateways, drawn from a seed: many Jobs, one run, every failure a real one's shape.

The oracle is the provider's book and the gateway's: what was charged, and what surely was not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from retouch.engine.summary import RunOptions, Summary
from retouch.ledger.records import Started, Unsent
from retouch.manifest import Limits, RunSettings
from retouch.money import Money
from retouch.transport import ApiKey, Connection, Transport, open_transport
from tests.support.gateways import SHAPES, Front, Shape
from tests.support.provider import Charge, Provider
from tests.support.virtual import run_in_virtual_time
from tests.support.workbench import BASE_URL, CANARY, GEMINI, GPT, KLING, PRICES, Bench, filed, lane

# What ends a lane or a Job at once has its own tests; here nights go on.
PASSING = tuple(shape for shape in SHAPES if shape.right in ("unsent", "unknown"))


@dataclass(slots=True)
class GatewayBench(Bench):
    """A Bench whose provider stands behind a gateway."""

    front: Front | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Transport]:
        async with open_transport(
            Connection(base_url=BASE_URL, key=ApiKey(CANARY), app=self.front), concurrency=64
        ) as transport:
            yield transport


@dataclass(slots=True)
class Night:
    """One run of `jobs` Jobs: two thirds of them synchronous, the others tasks; in `openai`, which
    has no tasks, two thirds as forms, the others as JSON."""

    folder: Path
    seed: int
    jobs: int
    share: float = 0.1
    settings: RunSettings = field(
        default_factory=lambda: RunSettings(
            retries=6, stop_after_losses=1_000_000, stop_after_outage=86_400.0
        )
    )
    drawn: tuple[Shape, ...] = PASSING
    dialect: str = "qiniu"

    def play(self) -> tuple[GatewayBench, Front, Summary]:
        """The night, the same each time."""
        return run_in_virtual_time(self._go, self.seed)

    async def _go(self) -> tuple[GatewayBench, Front, Summary]:
        provider = Provider(seconds=2.0)
        front = Front(provider, random.Random(self.seed), self.share, self.drawn)
        limits = Limits(concurrency=8)
        work = GatewayBench(self.folder, provider, self.settings, front=front)
        first = self.jobs * 2 // 3
        if self.dialect == "openai":
            file = filed(self.folder)
            lanes = [
                lane(GPT, first, limits=limits, file=file),
                lane(GPT, self.jobs - first, limits=limits),
            ]
        else:
            lanes = [
                lane(GEMINI, first, limits=limits),
                lane(KLING, self.jobs - first, limits=limits),
            ]
        summary = await work.run(lanes, run_options=RunOptions(seed=self.seed))
        return work, front, summary


def figures(work: GatewayBench, front: Front) -> Counter[str]:
    """What came of it, counted; raises where a bill is not within what is said, something was
    bought twice, or caution became laziness."""
    provider = work.provider
    bought = Counter(charge.request for charge in provider.book)
    doubled = sum(times - 1 for times in bought.values())
    assert doubled == 0
    state = work.state
    confirmed = state.totals.confirmed.get("CNY", Money(Decimal(0), "CNY")).amount
    unknown = sum(open_.ceiling.amount for open_ in state.open_charges.values() if open_.ceiling)
    true_cost = sum(map(cost_of, provider.book), Decimal(0))
    assert confirmed <= true_cost <= confirmed + unknown
    struck = [strike for strike in front.strikes if strike.shape.right == "unsent"]
    retried = surely_retried(work)
    assert retried >= 0.9 * len(struck)
    states = state.counts()
    return Counter(
        {
            "jobs": len(state.outcomes),
            "answered by gateways": len(front.strikes),
            "charged": len(provider.book),
            "doubled": doubled,
            "confirmed": states["done"],
            "unknown": states["unknown"],
            "surely not begun": len(struck),
            "retried by itself": retried,
        }
    )


def surely_retried(work: GatewayBench) -> int:
    """How many Attempts that were surely not charged were followed by another one."""
    unsent: set[tuple[str, int]] = set()
    retried = 0
    for record in work.records:
        if isinstance(record, Unsent):
            unsent.add((record.key, record.attempt))
        elif isinstance(record, Started):
            retried += (record.key, record.attempt - 1) in unsent
    return retried


def cost_of(charge: Charge) -> Decimal:
    """What the provider's book is worth."""
    price = PRICES[charge.model]
    if price.per_image is not None:
        return price.per_image * charge.images
    assert price.input_per_million is not None
    assert price.output_per_million is not None
    tokens = price.input_per_million * charge.input_tokens
    return (tokens + price.output_per_million * charge.output_tokens) / 10**6
