"""A lane's limits, which a request passes before it may be sent, and what stops a lane.

Places in flight are adaptive; rate limits have the interface `reserve(n) -> seconds to wait`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from retouch.engine.breaker import Outage
from retouch.engine.pacing import Concurrency, RateLimit, RetryBudget
from retouch.errors import RetouchError
from retouch.manifest.model import Limits

LOOK_AGAIN_SECONDS = 5.0  # an outage may end before the next probe


class Stop:
    """Whether the run (or a lane) should start nothing new, and why; sleeps end when it is set.

    Some reasons leave the Tasks at the server too; others let what is paid for be fetched.
    """

    def __init__(self) -> None:
        self.reason: RetouchError | None = None
        self._set = anyio.Event()
        self._left = anyio.Event()
        self._scopes: set[anyio.CancelScope] = set()

    def __bool__(self) -> bool:
        return self.reason is not None

    @property
    def leaves_tasks(self) -> bool:
        """Whether Tasks at the server are left to the next run."""
        return self._left.is_set()

    def set(self, reason: RetouchError) -> None:
        """Stop for this reason; the first one is kept, and any may leave the Tasks."""
        if self.reason is None:
            self.reason = reason
            self._set.set()
        if reason.leaves_tasks:
            self._left.set()
            for scope in self._scopes:
                scope.cancel()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or less when the stop comes first."""
        with anyio.move_on_after(seconds):
            await self._set.wait()

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """A block of a Task's that ends where it stands once Tasks are left to the next run."""
        with anyio.CancelScope() as scope:
            if self.leaves_tasks:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    async def wait_until_tasks_are_left(self) -> None:
        await self._left.wait()


class Permit:
    """One request's pass through its lane's limiter: a `with` block around the request.

    It counts against the limits from when it is given; `leaves` says when the request is sent.
    Left without that, it was never sent and is given back.
    """

    def __init__(self, limiter: Limiter, images: int, tokens: float) -> None:
        now = anyio.current_time()
        self._limiter = limiter
        self._taken = [
            (each, each.limit.take(now, each.units(images, tokens))) for each in limiter.limited
        ]
        self.cuts_when_sent = limiter.concurrency.cuts
        self.left_at = now

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *_: object) -> None:
        for each, entry in self._taken:
            each.limit.give_back(entry)

    async def is_due(self) -> bool:
        """Wait for its moment, if it has one; whether it holds (that of a shared limit may have
        run out meanwhile)."""
        return True

    def leaves(self) -> None:
        """The request goes out now."""
        now = self.left_at = anyio.current_time()
        self.cuts_when_sent = self._limiter.concurrency.cuts
        for each, entry in self._taken:
            each.limit.leave(now, entry)

    def on_wire(self) -> None:
        """Its first bytes are on their way: what a shared limit counts from."""

    def used(self, tokens: int | None) -> None:
        """The request took this many tokens; None: nobody said, what was expected stands."""
        if tokens is None:
            return
        now = anyio.current_time()
        for each, entry in self._taken:
            if each.unit == "tokens":
                each.limit.correct(now, entry, tokens)


@dataclass(slots=True)
class Limited:
    """One limited quantity and what a request takes of it."""

    limit: RateLimit
    unit: str

    def units(self, images: int, tokens: float) -> float:
        return {"requests": 1, "images": images, "tokens": tokens}[self.unit]


class Limiter:
    """One lane's admission: places in flight and rates."""

    def __init__(self, limits: Limits) -> None:
        self.concurrency = Concurrency(limits.concurrency)
        self.outage = Outage()
        self.in_flight = 0
        self.limited = [
            Limited(RateLimit(per_minute, keeps_seconds=limits.keeps_seconds), unit)
            for unit, per_minute in (
                ("requests", limits.requests_per_minute),
                ("images", limits.images_per_minute),
                ("tokens", limits.tokens_per_minute),
            )
            if per_minute is not None
        ]
        self._freed = anyio.Event()
        self._queue = anyio.Lock(fast_acquire=True)  # who waits for nothing needs no other turn
        self.retries = RetryBudget()
        self._not_before = float("-inf")
        self._next_probe = float("-inf")

    async def place(self, slots: int = 1) -> None:
        """Wait for `slots` places in flight and take them (more than there are: alone)."""
        while self.in_flight and self.in_flight + slots > self.concurrency.limit:
            await self._freed.wait()
        self.in_flight += slots

    @contextmanager
    def placed(self, slots: int = 1) -> Iterator[None]:
        """Give back the places taken by `place` at the end of the block."""
        try:
            yield
        finally:
            self.in_flight -= slots
            self._wake()

    async def permit(self, stop: Stop, *, images: int = 1, tokens: float = 0) -> Permit | None:
        """Wait until one more request keeps every limit, and take its turn; first come, first
        served. None, with nothing taken, when `stop` is set."""
        async with self._queue:
            while not stop:
                wait = self._wait_seconds(images, tokens)
                if wait <= 0:
                    self.retries.request()
                    self._probe_later()
                    return Permit(self, images, tokens)
                await stop.sleep(min(wait, LOOK_AGAIN_SECONDS) if self.outage.probes else wait)
        return None

    def may_retry(self) -> bool:
        """Whether one more retry is within the lane's budget; a probe of an outage always is."""
        return bool(self.outage.probes) or self.retries.take()

    def penalize(self, seconds: float) -> None:
        """Let nothing of this lane pass for `seconds`: the server asked for it."""
        now = anyio.current_time()
        self._not_before = max(self._not_before, now + seconds)

    def overrun(self, permit: Permit) -> None:
        """The server has too much: fewer at once."""
        self.concurrency.overrun(self.in_flight, permit.cuts_when_sent)

    def unserved(self, permit: Permit, *, is_limit: bool = False) -> bool:
        """The request of this turn was not served; whether that tells something new. `is_limit`:
        it met a limit of the server's."""
        is_news = self.outage.unserved(anyio.current_time(), permit.left_at, is_limit=is_limit)
        self._probe_later()
        return is_news

    def served(self) -> None:
        """The server did answer: there is no outage."""
        self.outage.served()

    def answered(self) -> None:
        """The server took a request: recover a little."""
        self.served()
        self.concurrency.succeeded()
        self._wake()

    def _probe_later(self) -> None:
        self._next_probe = anyio.current_time() + self.outage.pause_seconds

    def _wait_seconds(self, images: int, tokens: float) -> float:
        now = anyio.current_time()
        waits = [each.limit.wait_seconds(now, each.units(images, tokens)) for each in self.limited]
        return max([self._not_before - now, self._probe_wait_seconds(now), *waits])

    def _probe_wait_seconds(self, now: float) -> float:
        return self._next_probe - now if self.outage.probes else 0.0

    def _wake(self) -> None:
        freed, self._freed = self._freed, anyio.Event()
        freed.set()
