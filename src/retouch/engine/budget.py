"""The money, which a request passes before it may be sent.

What is in flight is reserved at its ceiling, so that no answer can carry the sum past a cap
(DESIGN §2, promise 7). A cap for a day turns with the day, in UTC; what was sent before midnight
and is answered after it belongs to the day it was sent on, as in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import anyio

from retouch.errors import BudgetReached
from retouch.money import Money

Attempt = tuple[str, int]
"""A Job's key and the number of its attempt."""


def utc_today() -> str:
    """The day in UTC, YYYY-MM-DD."""
    return datetime.now(UTC).date().isoformat()


@dataclass(slots=True)
class Cap:
    """One bound of the budget: what is counted towards it already, and its limit.

    `counts_history`: `counted` began with what earlier runs cost, on `day` (UTC, YYYY-MM-DD; the
    one it is now) or, without it, on any. `is_full`: a request was refused for it.
    """

    name: str
    limit: Money
    counted: Decimal = Decimal(0)
    model: str | None = None
    counts_history: bool = False
    day: str | None = None
    is_full: bool = False

    def room_for(self, amount: Decimal, reserved: Decimal) -> bool:
        return self.counted + reserved + amount <= self.limit.amount

    def counts(self, model: str, day: str | None) -> bool:
        """Whether a request to `model` on `day` (None: any) counts towards this cap."""
        return self.model in (None, model) and (None in (self.day, day) or self.day == day)

    def permit(self, today: str) -> None:
        """Begin anew on a new day; a clock that was set back changes nothing."""
        if self.day is not None and today > self.day:
            self.day, self.counted, self.is_full = today, Decimal(0), False


@dataclass(slots=True)
class Reservation:
    """What one attempt may cost, held until it is settled; unsettled counts in full.

    `day`: when it was sent, as the ledger has it; None counts on any. `attempt`: whose it is.
    """

    model: str
    ceiling: Decimal
    day: str | None = None
    charged: Decimal | None = None
    attempt: Attempt | None = None

    def settle(self, charged: Money | None) -> None:
        """What it did cost; None where nothing was charged."""
        self.charged = charged.amount if charged else Decimal(0)


def _nobody(cap: Cap) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class Purse:
    """All caps of a run; without caps everything passes. `today` tells the day in UTC; `watch` is
    told of each cap of which more is counted, or that has refused a request."""

    caps: list[Cap] = field(default_factory=list)
    today: Callable[[], str] = utc_today
    reserved: dict[str | None, Decimal] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    learnt: set[str] = field(default_factory=set)
    watch: Callable[[Cap], None] = _nobody
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def reserve(
        self, model: str, ceiling: Money | None, attempt: Attempt | None = None
    ) -> Reservation:
        """Hold `ceiling` until the attempt is settled; waits while others in flight may give way.

        Raises BudgetReached when it would pass a cap even with nothing else in flight.
        """
        return await self.reserve_learning(model, lambda: ceiling, is_learnt=True, attempt=attempt)

    async def reserve_learning(
        self,
        model: str,
        ceiling: Callable[[], Money | None],
        *,
        is_learnt: bool,
        attempt: Attempt | None = None,
    ) -> Reservation:
        """The same where a `ceiling` is worked out anew each time it is looked at.

        Under a cap the first request of a model that is not learnt goes alone: what it counts may
        lie far above its ceiling, and the others' are worked out from that.
        """
        while True:
            held = self.try_to_reserve(model, ceiling(), is_learnt=is_learnt, attempt=attempt)
            if held is not None:
                return held
            await self._changed.wait()

    def try_to_reserve(
        self, model: str, ceiling: Money | None, *, is_learnt: bool, attempt: Attempt | None = None
    ) -> Reservation | None:
        """The same at once; None while others in flight may give way. Raises BudgetReached."""
        amount = ceiling.amount if ceiling else Decimal(0)
        full = self._first_full(model, amount)
        if full is not None and not self._reserved_for(full):
            full.is_full = True
            self.watch(full)
            raise _reached(full, model, amount)
        is_known = is_learnt or model in self.learnt or not self._caps(model)
        if full is None and (is_known or not self.in_flight.get(model)):
            return self._hold(Reservation(model, amount, attempt=attempt))
        return None

    @property
    def left(self) -> Money | None:
        """What the tightest cap of the whole run leaves to be reserved; None without one."""
        reserved = self.reserved.get(None, Decimal(0))
        rooms = [
            Money(max(Decimal(0), cap.limit.amount - cap.counted - reserved), cap.limit.currency)
            for cap in self.caps
            if cap.model is None
        ]
        return min(rooms, key=lambda room: room.amount, default=None)

    def _caps(self, model: str) -> bool:
        return any(cap.model in (None, model) for cap in self.caps)

    def resume(
        self,
        model: str,
        ceiling: Money | None,
        day: str | None = None,
        attempt: Attempt | None = None,
        *,
        is_counted: bool = True,
    ) -> Reservation:
        """Hold the ceiling of an attempt that an earlier run began: it is in flight again.

        `day`: when it was sent; caps that count it as history give it back until it is settled.
        Not where it is not `is_counted` here, but among what others share.
        """
        amount = ceiling.amount if ceiling else Decimal(0)
        for cap in self.caps if is_counted else ():
            if cap.counts_history and cap.counts(model, day):
                cap.counted -= amount
        return self._hold(Reservation(model, amount, day, attempt=attempt))

    @contextmanager
    def holding(self, reservation: Reservation) -> Iterator[Reservation]:
        """Release the reservation at the end of the block and count what it cost."""
        try:
            yield reservation
        finally:
            self.release(reservation)
            changed, self._changed = self._changed, anyio.Event()
            changed.set()

    def release(self, reservation: Reservation) -> None:
        """Hold it no more, and count what it cost: its ceiling where that was not settled."""
        cost = reservation.ceiling if reservation.charged is None else reservation.charged
        for name in (None, reservation.model):
            self.reserved[name] -= reservation.ceiling
        self.in_flight[reservation.model] -= 1
        if cost or reservation.charged is None:
            # What a request costs is known, or will not be told.
            self.learnt.add(reservation.model)
        self._turn_the_day()
        for cap in self.caps:
            if cap.counts(reservation.model, reservation.day):
                cap.counted += cost
                self.watch(cap)

    def _hold(self, reservation: Reservation) -> Reservation:
        model = reservation.model
        for name in (None, model):
            self.reserved[name] = self.reserved.get(name, Decimal(0)) + reservation.ceiling
        self.in_flight[model] = self.in_flight.get(model, 0) + 1
        return reservation

    def _turn_the_day(self) -> None:
        today = self.today()
        for cap in self.caps:
            cap.permit(today)

    def _first_full(self, model: str, amount: Decimal) -> Cap | None:
        self._turn_the_day()
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
        f"and the next request to {model} may cost up to {Money(amount, cap.limit.currency)}",
        hint="the day ends at 00:00 UTC; run again then" if cap.day else "",
        model=cap.model,
    )
