"""What a request passes before it may be sent: the lane's limits, and the money.

A Gate belongs to a lane: places in flight (adaptive), and rate limits whose interface is
`reserve(n) -> seconds to wait`. The Budget belongs to the run: what is in flight is reserved at
its ceiling, so that no answer can carry the sum past it (DESIGN §2, promise 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

import anyio

from retouch.errors import BudgetReached
from retouch.manifest.model import Limits
from retouch.money import Money
from retouch.pacing import Concurrency, RateLimit, RetryBudget


class Stop:
    """Whether the run (or a lane) should start nothing new, and why; sleeps end when it is set."""

    def __init__(self) -> None:
        self.reason: Exception | None = None
        self._set = anyio.Event()

    def __bool__(self) -> bool:
        return self.reason is not None

    def set(self, reason: Exception) -> None:
        """Stop for this reason; the first one is kept."""
        if self.reason is None:
            self.reason = reason
            self._set.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep, or less when the stop comes first."""
        with anyio.move_on_after(seconds):
            await self._set.wait()

    async def wait(self) -> None:
        await self._set.wait()


class Turn:
    """One request's pass through its lane's gate: a `with` block around the request.

    It counts against the limits from when it is given; `leaves` says when the request is sent.
    Left without that, it was never sent and is given back.
    """

    def __init__(self, gate: Gate, images: int, tokens: float) -> None:
        now = anyio.current_time()
        self._gate = gate
        self._taken = [
            (each, each.limit.take(now, each.units(images, tokens))) for each in gate.limited
        ]
        self.cuts_when_sent = gate.concurrency.cuts

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_: object) -> None:
        for each, entry in self._taken:
            each.limit.give_back(entry)

    def leaves(self) -> None:
        """The request goes out now."""
        now = anyio.current_time()
        self.cuts_when_sent = self._gate.concurrency.cuts
        for each, entry in self._taken:
            each.limit.leave(now, entry)

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


class Gate:
    """One lane's admission: places in flight and rates."""

    def __init__(self, limits: Limits) -> None:
        self.concurrency = Concurrency(limits.concurrency)
        self.retries = RetryBudget()
        self.in_flight = 0
        self.limited = [
            Limited(RateLimit(per_minute), unit)
            for unit, per_minute in (
                ("requests", limits.requests_per_minute),
                ("images", limits.images_per_minute),
                ("tokens", limits.tokens_per_minute),
            )
            if per_minute is not None
        ]
        self._freed = anyio.Event()
        self._queue = anyio.Lock()
        self._not_before = float("-inf")

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

    async def turn(self, stop: Stop, *, images: int = 1, tokens: float = 0) -> Turn | None:
        """Wait until one more request keeps every limit, and take its turn; first come, first
        served. None, with nothing taken, when `stop` is set."""
        async with self._queue:
            while not stop:
                wait = self._wait_seconds(images, tokens)
                if wait <= 0:
                    self.retries.request()
                    return Turn(self, images, tokens)
                await stop.sleep(wait)
        return None

    def penalize(self, seconds: float) -> None:
        """Let nothing of this lane pass for `seconds`: the server asked for it."""
        now = anyio.current_time()
        self._not_before = max(self._not_before, now + seconds)

    def overrun(self, turn: Turn) -> None:
        """The server has too much: fewer at once."""
        self.concurrency.overrun(self.in_flight, turn.cuts_when_sent)

    def answered(self) -> None:
        """The server took a request: recover a little."""
        self.concurrency.succeeded()
        self._wake()

    def _wait_seconds(self, images: int, tokens: float) -> float:
        now = anyio.current_time()
        waits = [each.limit.wait_seconds(now, each.units(images, tokens)) for each in self.limited]
        return max([self._not_before - now, *waits])

    def _wake(self) -> None:
        freed, self._freed = self._freed, anyio.Event()
        freed.set()


@dataclass(slots=True)
class Cap:
    """One bound of the budget: what is counted towards it already, and its limit.

    `counts_history`: `counted` began with what earlier runs cost, on `day` (UTC, YYYY-MM-DD) or,
    without it, on any.
    """

    name: str
    limit: Money
    counted: Decimal = Decimal(0)
    model: str | None = None
    counts_history: bool = False
    day: str | None = None

    def room_for(self, amount: Decimal, reserved: Decimal) -> bool:
        return self.counted + reserved + amount <= self.limit.amount


@dataclass(slots=True)
class Reservation:
    """What one attempt may cost, held until it is settled; unsettled counts in full."""

    model: str
    ceiling: Decimal
    charged: Decimal | None = None

    def settle(self, charged: Money | None) -> None:
        """What it did cost; None where nothing was charged."""
        self.charged = charged.amount if charged else Decimal(0)


@dataclass(slots=True)
class Budget:
    """All caps of a run; without caps everything passes."""

    caps: list[Cap] = field(default_factory=list)
    reserved: dict[str | None, Decimal] = field(default_factory=dict)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def reserve(self, model: str, ceiling: Money | None) -> Reservation:
        """Hold `ceiling` until the attempt is settled; waits while others in flight may give way.

        Raises BudgetReached when it would pass a cap even with nothing else in flight.
        """
        amount = ceiling.amount if ceiling else Decimal(0)
        while (full := self._first_full(model, amount)) is not None:
            if not self._reserved_for(full):
                raise _reached(full, model, amount)
            await self._changed.wait()
        return self._hold(model, amount)

    def resume(self, model: str, ceiling: Money | None, day: str | None = None) -> Reservation:
        """Hold the ceiling of an attempt that an earlier run began: it is in flight again.

        `day`: when it was sent; caps that count it as history give it back until it is settled.
        """
        amount = ceiling.amount if ceiling else Decimal(0)
        for cap in self.caps:
            of_cap = cap.model in (None, model) and cap.day in (None, day)
            if cap.counts_history and of_cap:
                cap.counted -= amount
        return self._hold(model, amount)

    @contextmanager
    def holding(self, reservation: Reservation) -> Iterator[Reservation]:
        """Release the reservation at the end of the block and count what it cost."""
        try:
            yield reservation
        finally:
            cost = reservation.ceiling if reservation.charged is None else reservation.charged
            for name in (None, reservation.model):
                self.reserved[name] -= reservation.ceiling
            for cap in self.caps:
                if cap.model in (None, reservation.model):
                    cap.counted += cost
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    def _hold(self, model: str, amount: Decimal) -> Reservation:
        for name in (None, model):
            self.reserved[name] = self.reserved.get(name, Decimal(0)) + amount
        return Reservation(model, amount)

    def _first_full(self, model: str, amount: Decimal) -> Cap | None:
        for cap in self.caps:
            if cap.model in (None, model) and not cap.room_for(amount, self._reserved_for(cap)):
                return cap
        return None

    def _reserved_for(self, cap: Cap) -> Decimal:
        return self.reserved.get(cap.model, Decimal(0))


def _reached(cap: Cap, model: str, amount: Decimal) -> BudgetReached:
    spent = Money(cap.counted, cap.limit.currency)
    return BudgetReached(
        f"{cap.name} of {cap.limit} is reached: {spent} counted so far, "
        f"and the next request to {model} may cost up to {Money(amount, cap.limit.currency)}"
    )
