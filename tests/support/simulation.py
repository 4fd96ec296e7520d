"""Bad days, drawn from a seed: a whole campaign of runs in virtual time, and what must hold.

Latencies, refusals, broken answers, stuck and failing tasks, expired results; runs interrupted in
order, stopped at once, and taken up again. The oracle is the provider's book.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio

from retouch.errors import Interrupted
from retouch.ledger.records import AnyRecord, Done, Unknown
from retouch.manifest import Limits, Poll, RunSettings
from retouch.money import Money
from tests.support.provider import Charge, Mishap, Provider
from tests.support.virtual import run_in_virtual_time
from tests.support.workbench import GEMINI, KLING, PRICES, Bench, TestLane, lane

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HTML = (("content-type", "text/html"),)
SUBMIT_MISHAPS = (
    Mishap(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}'),
    Mishap(429, b'{"code":1303,"message":"parallel task over resource pack limit"}'),
    Mishap(500),
    Mishap(503),
    Mishap(502, b"<html>bad gateway</html>", HTML),
    Mishap(504, b"", HTML),
    Mishap(504, b"", HTML, charged=True),
    Mishap(200, b'{"data": [{"b64_js', charged=True),
    Mishap(200, b"<html>welcome</html>", HTML),
    Mishap(400, b'{"error":{"message":"unsafe","code":"moderation_blocked"}}'),
)
POLL_MISHAPS = (Mishap(500), Mishap(502, b"<html>", HTML), SUBMIT_MISHAPS[0])
FILE_MISHAPS = (Mishap(403, b"expired"), Mishap(500, b"sorry"))


def _drawn(
    chance: random.Random, kinds: tuple[Mishap, ...], share: float
) -> Iterator[Mishap | None]:
    while True:
        yield chance.choice(kinds) if chance.random() < share else None


@dataclass(slots=True)
class SlowProvider(Provider):
    """Each submit takes its own time."""

    chance: random.Random | None = None

    def latency(self) -> float:
        assert self.chance is not None
        return self.chance.choice(
            (0.2, 1.0, 3.0, 8.0, 250.0 if self.chance.random() < 0.1 else 2.0)
        )


@dataclass(slots=True)
class Campaign:
    """Several runs over the same lanes; afterwards nothing is held back but what is unknown."""

    folder: Path
    seed: int
    jobs: int

    def play(self) -> tuple[Bench, Provider]:
        """The campaign, the same each time."""
        return run_in_virtual_time(self._go, self.seed)

    async def _go(self) -> tuple[Bench, Provider]:
        """Run, be interrupted, run again, to an end."""
        chance = random.Random(self.seed)
        provider = SlowProvider(
            task_seconds=chance.choice((5.0, 40.0)),
            mishaps=_drawn(random.Random(self.seed + 1), SUBMIT_MISHAPS, 0.2),
            poll_mishaps=_drawn(random.Random(self.seed + 2), POLL_MISHAPS, 0.1),
            file_mishaps=_drawn(random.Random(self.seed + 3), FILE_MISHAPS, 0.1),
            chance=random.Random(self.seed + 4),
        )
        limits = Limits(requests_per_minute=chance.choice((120, 600)), concurrency=8)
        lanes = [
            lane(GEMINI, self.jobs * 2 // 3, n=chance.choice((1, 2)), limits=limits),
            lane(KLING, self.jobs // 3, limits=limits, poll=Poll(interval=1.0, timeout=60.0)),
        ]
        work = Bench(self.folder, provider, RunSettings(timeout=120.0), now=_virtual_now)
        for _ in range(2):
            await self._interrupted(work, lanes, chance)
        for _ in range(8):
            summary = await work.run(lanes)
            if not summary.ended:
                break
        return work, provider

    async def _interrupted(self, work: Bench, lanes: list[TestLane], chance: random.Random) -> None:
        scope = anyio.CancelScope()
        at_once = chance.random() < 0.5
        seconds = chance.uniform(5, 60)

        async def interrupt() -> None:
            await anyio.sleep(seconds)
            if at_once:
                scope.cancel()
            elif work.batch is not None:
                work.batch.stop(Interrupted("interrupted"))

        async with anyio.create_task_group() as group:
            group.start_soon(interrupt)
            await work.run(lanes, scope=scope)
            group.cancel_scope.cancel()


def _virtual_now() -> datetime:
    return EPOCH + timedelta(seconds=round(anyio.current_time(), 3))


def check(work: Bench, provider: Provider) -> None:
    """What must hold after any campaign."""
    bought = Counter(charge.request for charge in provider.book)
    assert not bought or max(bought.values()) == 1
    state = work.state
    true_cost = sum((_cost(charge) for charge in provider.book), Decimal(0))
    confirmed = state.totals.confirmed.get("CNY", Money(Decimal(0), "CNY")).amount
    unknown = sum(
        (charge.ceiling.amount for charge in state.open_charges.values() if charge.ceiling),
        Decimal(0),
    )
    assert confirmed <= true_cost <= confirmed + unknown
    counts = state.counts()
    assert not counts["sent"]
    for outcome in state.outcomes.values():
        for file in outcome.files:
            assert (work.folder / file.path).stat().st_size == file.bytes
    for run, summary in work.told.items():
        assert _ended(work.records, run) == {
            word: summary.ended[word] for word in ("done", "unknown")
        }


def _ended(records: list[AnyRecord], run: str) -> dict[str, int]:
    """How many Jobs were done, and how many left unknown, as the Records of one run say."""
    last = {getattr(record, "key", ""): record for record in records if record.run == run}
    return {
        word: sum(isinstance(record, kind) for record in last.values())
        for word, kind in (("done", Done), ("unknown", Unknown))
    }


def _cost(charge: Charge) -> Decimal:
    price = PRICES[charge.model]
    if price.per_image is not None:
        return price.per_image * charge.images
    assert price.input_per_million is not None
    assert price.output_per_million is not None
    tokens = price.input_per_million * charge.input_tokens
    return (tokens + price.output_per_million * charge.output_tokens) / 10**6
