"""Workers that share a purse and limits over a network, in virtual time: the holder's clock is
another one, calls take their time, and any worker may die where it stands."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

import anyio
import anyio.abc

from retouch.cluster.link import Link
from retouch.cluster.purse import Holder
from retouch.cluster.sharing import SharedLimiter, SharedPurse
from retouch.cluster.wire import BUDGET, Reply, Report, Settle
from retouch.engine.budget import Cap
from retouch.engine.limiter import Stop
from retouch.errors import BudgetReached, Refused
from retouch.manifest import Limits
from retouch.money import Money

LANE = "model"
CLOCKS_APART = 4321.0


@dataclass
class Sea:
    """One holder, the server's book, and the workers between them.

    `cut`: when a holding's calls are not answered any more, its worker being alive.
    `jitter`: seconds that a request may take to the server, a call to the holder and back, and a
    file to be read, each. `book`: when each request arrived, and its key. `most`: what counted and
    was reserved at once, at the most, against the cap.
    """

    limits: Limits
    cap: Decimal | None = None
    price: Decimal = Decimal("0.10")
    jitter: float = 0.02
    seconds: float = 0.2
    seed: int = 1
    book: list[tuple[float, str]] = field(default_factory=list)
    charged: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    most_in_flight: int = 0
    refused: int = 0
    in_flight: int = 0
    cut: dict[int, float] = field(default_factory=dict)
    holder: Holder = field(init=False)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        caps = [Cap("the budget", Money(self.cap, "CNY"))] if self.cap is not None else []
        self.holder = Holder({BUDGET: caps}, {LANE: self.limits}, 20, {})
        self.chance = random.Random(self.seed)

    async def some_time(self) -> None:
        await anyio.sleep(self.chance.uniform(0, self.jitter))

    async def exchange(self, report: Report) -> Reply:
        await self.some_time()
        if anyio.current_time() > self.cut.get(report.holding, float("inf")):
            await anyio.sleep_forever()
        reply = self.holder.exchange(report, anyio.current_time() + CLOCKS_APART)
        await self.some_time()
        return reply

    def arrivals(self) -> list[tuple[float, float]]:
        return [(at, 1) for at, _ in self.book]


@dataclass
class Worker:
    """Does the jobs of one shard; `ledger` outlives it: what was begun, and what came of it."""

    sea: Sea
    shard: int
    jobs: list[str]
    late: float = 0.0
    ledger: dict[str, str] = field(default_factory=dict)

    async def work(self) -> None:
        """Until its jobs are done, it is cancelled or the budget is reached."""
        sea = self.sea
        link = Link(sea.exchange, self.shard, sea.holder.begin(self.shard, self._there()))
        purse = SharedPurse(link, BUDGET, [])
        limiter = SharedLimiter(link, LANE, sea.limits)
        link.limiters[LANE] = limiter
        for name, (key, attempt) in link.open:
            done = self.ledger.get(key)
            cost = {None: Decimal(0), "sent": None}.get(done, sea.price)
            link.tell(Settle(name, (key, attempt), cost))
            if done == "sent":
                self.ledger[key] = "unknown"
        for key in self.jobs:
            if self.ledger.get(key) == "sent":
                self.ledger[key] = "unknown"
        stop = Stop()
        link.watch(list, lambda _lane, reason: stop.set(reason), lambda: None)
        async with anyio.create_task_group() as group:
            await group.start(partial(_linked, link))
            async with anyio.create_task_group() as jobs:
                for key in self.jobs:
                    if key in self.ledger or stop:
                        continue
                    await limiter.place()
                    if stop:
                        break
                    jobs.start_soon(self._job, key, link, purse, limiter, stop)
            await link.close()
            group.cancel_scope.cancel()
        if not link.is_lost:
            sea.holder.end(self.shard)

    def _there(self) -> float:
        return anyio.current_time() + CLOCKS_APART

    async def _job(
        self, key: str, link: Link, purse: SharedPurse, limiter: SharedLimiter, stop: Stop
    ) -> None:
        sea = self.sea
        with limiter.placed():
            try:
                held = await purse.reserve_learning(
                    LANE, lambda: Money(sea.price, "CNY"), is_learnt=True, attempt=(key, 1)
                )
            except (BudgetReached, Refused) as reason:
                sea.refused += isinstance(reason, BudgetReached)
                stop.set(reason)
                return
            with purse.holding(held):
                permit = await limiter.permit(stop)
                if permit is None:
                    held.settle(None)
                    return
                with permit:
                    await sea.some_time()  # the source is read
                    if self.late and sea.chance.random() < 0.1:
                        await anyio.sleep(self.late)
                    if not await permit.is_due():
                        held.settle(None)
                        return
                    self.ledger[key] = "sent"
                    permit.leaves()
                    permit.on_wire()
                    await self._post(key)
                    self.ledger[key] = "done"
                    held.settle(Money(sea.price, "CNY"))
                    limiter.answered()

    async def _post(self, key: str) -> None:
        sea = self.sea
        sea.in_flight += 1
        sea.most_in_flight = max(sea.most_in_flight, sea.in_flight)
        try:
            with anyio.CancelScope(shield=True):  # what has left arrives, whoever dies
                await sea.some_time()
                sea.book.append((anyio.current_time(), key))
            await anyio.sleep(sea.seconds)
        finally:
            sea.in_flight -= 1


async def _linked(link: Link, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await link.run(task_status=task_status)


async def lose(sea: Sea, worker: Worker, scope: anyio.CancelScope) -> float:
    """Kill a worker where it stands; how long its shard has to wait."""
    scope.cancel()
    return sea.holder.is_lost(worker.shard, anyio.current_time() + CLOCKS_APART)
