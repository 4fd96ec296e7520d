"""A run's shards on a Ray cluster: a holder of purse and limits, workers, and who was lost.

Ray starts processes, carries messages and says who has died; it repeats nothing here, for a call
that is made twice would be work that is paid for twice (`max_restarts` and `max_task_retries` are
0). A shard whose worker was lost begins anew from its ledger, with another worker, once the lost
one surely sends nothing any more. The holder lives on the driver's node: with that the run is over
anyway. The actor class of the workers is `Shard`, so that `ps` shows `ray::Shard`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import anyio

from retouch.cluster.purse import Holder as PurseHolder
from retouch.cluster.purse import News
from retouch.cluster.wire import Begun, Reason, Reply, Report
from retouch.engine.budget import Cap
from retouch.errors import Refused, RetouchError
from retouch.manifest import Limits

T = TypeVar("T")

SHARDS_A_WORKER = 4  # so that work balances, and little is begun anew where a worker is lost
MOST_LOSSES = 3  # workers that one shard may lose
NEWS_SECONDS = 0.25
AGAIN_SECONDS = 1.0
LISTENS_SECONDS = 10.0
_DEFECT = "this is a defect; nothing recorded is lost, and the next run goes on from the ledgers"
_STORE_BYTES = 80 * 1024 * 1024  # Ray's least: nothing large is passed through it
# Ray prints what it has to say of other processes to stdout, where data go: all of it is skipped.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Hidden:
    """What is secret on its way to a worker, in memory alone: an argument of a call, shown by
    nothing, and never of an actor's making, which Ray keeps."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def reveal(self) -> dict[str, str]:
        """The values by their names."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"Hidden({', '.join(sorted(self._values))})"

    def __reduce__(self) -> tuple[type[Hidden], tuple[dict[str, str]]]:
        return Hidden, (self._values,)


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """How a shard's run ended: what it did, as its own room has it, or why it could not."""

    shard: int
    summary: Any = None
    error: Reason | None = None


class Hands(Protocol):
    """What a worker does, given by who knows how: made on the driver, used on the worker."""

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Read what all shards need. Raises RetouchError."""

    async def work(
        self, shard: int, exchange: Callable[[Report], Awaitable[Reply]], begun: Begun
    ) -> ShardEnd:
        """Do one shard, by what the holder lends."""


class Holder:
    """The actor that holds purse and limits (see `purse`)."""

    def __init__(self, *terms: Any) -> None:
        self._holder = PurseHolder(*terms)

    async def begin(self, shard: int) -> Begun:
        return self._holder.begin(shard, anyio.current_time())

    async def exchange(self, report: Report) -> Reply:
        return self._holder.exchange(report, anyio.current_time())

    async def is_lost(self, shard: int) -> float:
        return self._holder.is_lost(shard, anyio.current_time())

    async def end(self, shard: int) -> None:
        self._holder.end(shard)

    async def stop(self, reason: Reason, *, now: bool) -> None:
        self._holder.stop(reason, now=now)

    async def news(self) -> News:
        return self._holder.news()


class Shard:
    """The actor that does one shard after another."""

    def __init__(self, holder: Any, hands: Hands) -> None:
        self._holder, self._hands = holder, hands

    async def prepare(self, environment: Hidden) -> Reason | None:
        """Why this worker cannot do any of it, if so."""
        values = {**os.environ, **environment.reveal()}
        try:
            await anyio.to_thread.run_sync(self._hands.prepare, values)
        except RetouchError as error:
            return Reason.of(error)
        return None

    async def work(self, shard: int, begun: Begun) -> ShardEnd:
        async def exchange(report: Report) -> Reply:
            reply: Reply = await self._holder.exchange.remote(report)
            return reply

        return await self._hands.work(shard, exchange, begun)


class HolderLost(Refused):
    """The holder of purse and limits has died: nothing more can be sent."""


@dataclass(slots=True)
class Crew:
    """The workers of one run. `said` is told what people should know, `heard` each event of the
    shards' observers, `money` how the purse stands.

    `stopped`: why it was stopped from outside, `gave_up`: why it ended before its end if not for
    that. `losses`: how many workers were lost at work.
    """

    ray: Any
    holder: Any
    hands: Hands
    environment: Hidden
    workers: int
    shards: int
    said: Callable[[str], None]
    heard: Callable[[Any], None]
    money: Callable[[News], None]
    ends: list[ShardEnd] = field(default_factory=list)
    gave_up: RetouchError | None = None
    stopped: RetouchError | None = None
    losses: int = 0
    _queue: deque[int] = field(default_factory=deque)
    _working: set[int] = field(default_factory=set)
    _losses: Counter[int] = field(default_factory=Counter)
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _is_stopped: bool = False

    async def run(self) -> None:
        """Every shard to its end; returns when none is at work any more."""
        self._queue.extend(range(1, self.shards + 1))
        async with anyio.create_task_group() as group:
            group.start_soon(self._news)
            async with anyio.create_task_group() as workers:
                for _ in range(self.workers):
                    workers.start_soon(self._worker)
                while self._queue or self._working:
                    await self._changed.wait()
                workers.cancel_scope.cancel()
            group.cancel_scope.cancel()
        await self._tell_news()

    async def stop(self, reason: Reason, *, now: bool = False) -> None:
        """Start nothing new; what is at work ends in order, or `now`, where it stands."""
        self._is_stopped, self.stopped = True, self.stopped or reason.error
        self._queue.clear()
        self._wake()
        await self._held(self.holder.stop.remote(reason, now=now))

    async def _give_up(self, error: RetouchError) -> None:
        self.gave_up = self.gave_up or error
        await self.stop(Reason.of(error))

    async def _worker(self) -> None:
        """One worker, and who comes in its place."""
        actor = None
        while True:
            actor = actor or await self._new_worker()
            while not self._queue:
                await self._changed.wait()
            shard = self._queue.popleft()
            self._working.add(shard)
            if not await self._do(actor, shard):
                actor = None
            self._working.discard(shard)
            self._wake()

    async def _do(self, actor: Any, shard: int) -> bool:
        """Have a shard done; whether its worker is still there."""
        begun: Begun | None = await self._held(self.holder.begin.remote(shard))
        if begun is None:
            return True
        try:
            end: ShardEnd = await actor.work.remote(shard, begun)
        except self.ray.exceptions.RayTaskError as error:
            said = str(error.cause).strip() or type(error.cause).__name__
            await self._give_up(Refused(f"shard {shard}/{self.shards}: {said}", hint=_DEFECT))
        except self.ray.exceptions.RayActorError:
            with suppress(Exception):  # whoever only seemed lost is not to go on
                self.ray.kill(actor, no_restart=True)
            await self._lose(shard)
            return False
        else:
            self.ends.append(end)
        await self._held(self.holder.end.remote(shard))
        return True

    async def _new_worker(self) -> Any:
        """A worker that is ready; waits until the cluster has room for it."""
        kind = self.ray.remote(Shard).options(
            num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        while True:
            actor = kind.remote(self.holder, self.hands)
            try:
                problem: Reason | None = await actor.prepare.remote(self.environment)
            except self.ray.exceptions.RayActorError:
                await anyio.sleep(AGAIN_SECONDS)  # its node has gone: another one
                continue
            if problem is None:
                return actor
            await self._give_up(problem.error)
            await anyio.sleep_forever()

    async def _lose(self, shard: int) -> None:
        """A worker was lost in the midst of a shard: another one takes that up."""
        self.losses += 1
        self._losses[shard] += 1
        seconds: float | None = await self._held(self.holder.is_lost.remote(shard))
        if self._is_stopped or seconds is None:
            return
        if self._losses[shard] >= MOST_LOSSES:
            said = f"shard {shard}/{self.shards} has lost {MOST_LOSSES} workers"
            hint = "is there too little memory? Run again, with fewer --workers"
            await self._give_up(Refused(said, hint=hint))
            return
        self.said(
            f"a worker was lost in shard {shard}/{self.shards}: another one goes on from its "
            f"ledger in {seconds:.0f} s, when the lost one surely sends nothing any more"
        )
        await anyio.sleep(seconds)
        if not self._is_stopped:
            self._queue.appendleft(shard)

    async def _held(self, answer: Awaitable[T]) -> T | None:
        """What the holder answers; None, and the end of the run, where it has died."""
        try:
            return await answer
        except self.ray.exceptions.RayActorError:
            lost = HolderLost("the holder of budget and limits has died", hint="run again")
            self.gave_up, self._is_stopped = self.gave_up or lost, True
            self._queue.clear()
            self._wake()
            return None

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _news(self) -> None:
        while True:
            await anyio.sleep(NEWS_SECONDS)
            await self._tell_news()

    async def _tell_news(self) -> None:
        news: News | None = await self._held(self.holder.news.remote())
        if news is None:
            return
        for events in news.events:
            for event in pickle.loads(events):  # noqa: S301 - our own workers'
                self.heard(event)
        self.money(news)


@contextmanager
def started(address: str | None, workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster at `address` (None: RAY_ADDRESS, else one of this machine's
    own, for as long as the block runs). Raises Refused."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    try:
        import ray  # noqa: PLC0415 - takes a second, and is an extra
    except ImportError as error:
        raise Refused(
            f"--ray needs Ray, which is not installed ({error.name} is missing)",
            hint="make setup EXTRAS=ray, or pip install 'retouch[ray]'",
        ) from None
    where = address or os.environ.get("RAY_ADDRESS", "").strip() or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if where == "local":
        options |= {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
    _refuse_silent(where)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited: a lost terminal is ours
    try:
        ray.init(address=where, **options)
    except Exception as error:  # Ray raises many kinds, and bare ones
        said = str(error).strip().splitlines()
        raise Refused(
            f"no Ray cluster at {where}: {said[0] if said else type(error).__name__}",
            hint="`ray status --address ADDRESS` tells whether it is up; nothing was sent",
        ) from None
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_silent(where: str) -> None:
    """Ray tries an address for minutes without a word: whether anybody listens there at all.
    Raises Refused."""
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # `local`, `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), LISTENS_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise Refused(
            f"no Ray cluster at {where}: {error}", hint="`ray start --head` tells its address"
        ) from None


def processors(ray: Any) -> int:
    """How many workers the cluster has room for."""
    return int(ray.cluster_resources().get("CPU", 0))


def hold(
    ray: Any,
    caps: Mapping[str, Sequence[Cap]],
    limits: Mapping[str, Limits],
    losses_allowed: int,
    observed: Mapping[str, tuple[int, int]],
) -> Any:
    """Start the holder, on the driver's own node; for its terms see `purse`."""
    from ray.util.scheduling_strategies import (  # noqa: PLC0415 - an extra
        NodeAffinitySchedulingStrategy,
    )

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    kind = ray.remote(Holder).options(
        num_cpus=0, max_restarts=0, max_task_retries=0, scheduling_strategy=here
    )
    return kind.remote(caps, limits, losses_allowed, observed)


def shards_for(workers: int, there: Sequence[int]) -> int:
    """How many shards to make: as many as an earlier run had, where its parts lie `there`."""
    fitting = [count for count in there if count >= workers]
    return max(fitting) if fitting else workers * SHARDS_A_WORKER
