"""What a run by many workers is held to: purse and limits with the names and ways of a run's own,
leased by a `Link`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import anyio

from retouch.cluster.link import Link, Question
from retouch.cluster.wire import (
    AGAIN,
    BUDGET,
    LaneView,
    Left,
    MorePlaces,
    NotUsed,
    Overrun,
    Penalized,
    Places,
    Reason,
    Reserve,
    Resume,
    Retried,
    Served,
    Settle,
    SlotGiven,
    Streak,
    Unserved,
    Used,
    WantSlot,
)
from retouch.engine.breaker import Losses
from retouch.engine.budget import Attempt, Cap, Purse, Reservation
from retouch.engine.context import Alone
from retouch.engine.limiter import Limiter, Permit, Stop
from retouch.engine.paying_again import PayingAgain, paying_again
from retouch.errors import Refused
from retouch.ledger.records import Done, Failed
from retouch.ledger.state import Replay
from retouch.manifest import Limits, Model, RunSettings
from retouch.money import Money


class SharedPurse(Purse):
    """A purse whose caps are kept by the holder; `caps` are only looked at."""

    def __init__(self, link: Link, name: str, caps: list[Cap]) -> None:
        super().__init__(caps)
        self._link, self._name = link, name

    async def reserve_learning(
        self,
        model: str,
        ceiling: Callable[[], Money | None],
        *,
        is_learnt: bool,
        attempt: Attempt | None = None,
    ) -> Reservation:
        """As a Purse does; raises Refused where the holder is lost."""
        place = _named(attempt)
        sent: list[Money | None] = [None]

        def asked() -> Reserve:
            sent[0] = ceiling()
            return Reserve(self._name, place, model, sent[0], is_learnt)

        answer = await self._link.ask(asked, model)
        if isinstance(answer, Reason):
            raise answer.error
        if answer is None:
            raise Refused("the holder of the budget is not there any more")
        amount = sent[0].amount if sent[0] else Decimal(0)
        return self._hold(Reservation(model, amount, attempt=place))

    def resume(
        self,
        model: str,
        ceiling: Money | None,
        day: str | None = None,
        attempt: Attempt | None = None,
        *,
        is_counted: bool = True,  # noqa: ARG002 - the holder counts what every part has begun
    ) -> Reservation:
        """As a Purse does."""
        place = _named(attempt)
        self._link.tell(Resume(self._name, place, model, ceiling, day))
        amount = ceiling.amount if ceiling else Decimal(0)
        return self._hold(Reservation(model, amount, day, attempt=place))

    def release(self, reservation: Reservation) -> None:
        """As a Purse does."""
        super().release(reservation)
        place = _named(reservation.attempt)
        self._link.tell(Settle(self._name, place, reservation.charged, reservation.day))


def _named(attempt: Attempt | None) -> Attempt:
    if attempt is None:
        raise ValueError("what is leased is leased for an attempt")
    return attempt


def settle_lost(link: Link, state: Replay) -> None:
    """Say what became of what a lost worker had reserved, by its shard's ledger. What is at the
    server as a Task stays reserved, for it is taken up again."""
    for purse, (key, attempt) in link.open:
        outcome = state.outcomes.get(key)
        charge = state.open_charges.get((key, attempt))
        day = charge.day if charge else None
        if charge is not None and state.is_polled(charge) and purse == BUDGET:
            continue
        charged: Decimal | None = Decimal(0)
        if charge is not None or (outcome is not None and outcome.attempt > attempt):
            charged = None
        elif outcome is not None and outcome.attempt == attempt:
            decided = outcome.decided
            cost = decided.cost if isinstance(decided, Done | Failed) else None
            charged = cost.money.amount if cost else Decimal(0)
            day = decided.at[:10]
        link.tell(Settle(purse, (key, attempt), charged, day))


class SharedPermit(Permit):
    """A slot of the holder's: leave to send between two moments."""

    def __init__(self, limiter: SharedLimiter, slot: SlotGiven, asked: WantSlot) -> None:
        super().__init__(limiter, asked.images, asked.tokens)
        self._shared, self._asked = limiter, asked
        self._has(slot)

    def _has(self, slot: SlotGiven) -> None:
        self._slot, self._is_over = slot, False
        self._shared.link.hold(self)

    async def is_due(self) -> bool:
        """Wait for the slot; another one is asked for where it went by. False where the lease on
        the shard has run out."""
        link = self._shared.link
        while True:
            wait = link.offset.not_before(self._slot.begins) - anyio.current_time()
            if wait > 0 and not self._is_over:
                await anyio.sleep(wait)
            if not link.may_send:
                return False
            self.give_back_late()
            if not self._is_over:
                return True
            slot = await self._shared.slot(self._asked)
            if slot is None:
                return False
            self._has(slot)

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def give_back_late(self) -> None:
        """Give the slot back once it has gone by."""
        if anyio.current_time() > self._shared.link.offset.not_after(self._slot.ends):
            self._give_back()

    def leaves(self) -> None:
        """The request goes out now."""
        super().leaves()
        self._shared.link.let_go(self)

    def on_wire(self) -> None:
        """Its first bytes are on their way: until then it may have to wait for a connection."""
        link, self._is_over = self._shared.link, True
        at = link.offset.theirs(anyio.current_time())
        link.tell(Left(self._shared.name, self._slot.slot, at))

    def used(self, tokens: int | None) -> None:
        """The request took this many tokens; None: nobody said, what was expected stands."""
        if tokens is not None and self._shared.counts_tokens:
            self._shared.link.tell(Used(self._shared.name, self._slot.slot, tokens))

    def _give_back(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._shared.link.let_go(self)
            self._shared.link.tell(NotUsed(self._shared.name, self._slot.slot))


class SharedLimiter(Limiter):
    """One lane's admission where places and slots are leased."""

    def __init__(self, link: Link, name: str, limits: Limits) -> None:
        super().__init__(limits)
        self.link, self.name = link, name
        self.counts_tokens = limits.tokens_per_minute is not None
        self.limited = []
        self._held, self._share = 0, limits.concurrency
        self._asking: Question | None = None
        self._was_wanted = False

    async def place(self, slots: int = 1) -> None:
        """Wait for places, leased in blocks, and take them."""
        while not self._has_room(slots) and not self.link.is_lost:
            self._was_wanted = True
            asking = self._asking = self.link.question(
                lambda: Places(self.name, self._kept(), slots), self.name
            )
            try:
                await asking.done.wait()
            finally:
                self._asking = None
                asking.is_dropped = True
            if isinstance(asking.answer, MorePlaces):
                self.add_places(asking.answer.more, asking.answer.share)
        self.in_flight += slots

    def _wake(self) -> None:
        if self._asking is not None:
            self._asking.is_dropped = True
            self._asking.done.set()  # looks whether there is room now

    def add_places(self, more: int, share: int) -> None:
        """So many places more are leased."""
        self._held += more
        self._share = share

    def say_places(self) -> None:
        """Give back what nobody waits for, and what others wait for."""
        if self._asking is not None:
            return  # what is asked says it
        kept = self._kept() if self._was_wanted else self.in_flight
        self._was_wanted = False
        if kept < self._held:
            self._held = kept
            self.link.tell(Places(self.name, kept, 0))

    async def slot(self, asked: WantSlot, stop: Stop | None = None) -> SlotGiven | None:
        """The next slot; None when `stop` is set, or the holder lost."""
        answer = await self.link.ask(lambda: asked, self.name, stop, is_for_slot=True)
        return answer if isinstance(answer, SlotGiven) else None

    async def permit(self, stop: Stop, *, images: int = 1, tokens: float = 0) -> Permit | None:
        """Wait for a slot; None, with nothing taken, when `stop` is set."""
        asked = WantSlot(self.name, images, tokens)
        slot = None if stop else await self.slot(asked, stop)
        return SharedPermit(self, slot, asked) if slot is not None else None

    def may_retry(self) -> bool:
        """Whether one more retry is within the lane's budget, which all share."""
        if self.outage.probes:
            return True
        may = self.retries.take()
        if may:
            self.link.tell(Retried(self.name))
        return may

    def penalize(self, seconds: float) -> None:
        """Let nothing of this lane pass anywhere for `seconds`."""
        self.link.tell(Penalized(self.name, seconds))

    def overrun(self, permit: Permit) -> None:
        """The server has too much: fewer at once, everywhere."""
        self.link.tell(Overrun(self.name, permit.cuts_when_sent))

    def unserved(self, permit: Permit, *, is_limit: bool = False) -> bool:
        """As a Limiter does, and for all."""
        left_at = self.link.offset.theirs(permit.left_at)
        self.link.tell(Unserved(self.name, left_at, is_limit))
        return super().unserved(permit, is_limit=is_limit)

    def served(self) -> None:
        """The server did answer: there is no outage."""
        super().served()
        self.link.tell(Served(self.name, took=False))

    def answered(self) -> None:
        """The server took a request: all recover a little."""
        super().served()
        self.link.tell(Served(self.name, took=True))

    def see(self, view: LaneView) -> None:
        """How the lane stands for all."""
        self.concurrency.cuts = view.cuts
        self.outage = view.outage.shifted(-self.link.offset.most)
        self.retries.requests, self.retries.retries = view.requests, view.retries

    def _kept(self) -> int:
        """How many places are kept: not more than the share, once they are free."""
        self._held = max(self.in_flight, min(self._held, self._share))
        return self._held

    def _has_room(self, slots: int) -> bool:
        held = self._held if not self.in_flight else min(self._held, self._share)
        return self.in_flight + slots <= held


class SharedLosses(Losses):
    """A lane's losing streak over all workers."""

    def __init__(self, link: Link, name: str, most: int) -> None:
        super().__init__(most)
        self._link, self._name = link, name

    def lost(self) -> bool:
        """One more; whether that is too many."""
        self._link.tell(Streak(self._name, lost=True))
        view = self._link.lanes.get(self._name)
        self.in_a_row = max(self.in_a_row, view.losses if view else 0)
        return super().lost()

    def gained(self) -> None:
        """A picture came."""
        super().gained()
        view = self._link.lanes.get(self._name)
        if view is not None and view.losses:
            self._link.tell(Streak(self._name, lost=False))


class Sharing(Alone):
    """What a shard's run is held to: what all shards share."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._limiters: dict[str, SharedLimiter] = {}

    def limiter(self, model: Model) -> Limiter:
        """The admission of one lane; lanes of one name have one."""
        name = model.name
        if name not in self._limiters:
            known = self._limiters[name] = SharedLimiter(self._link, name, model.limits)
            self._link.limiters[name] = known
        return self._limiters[name]

    def losses(self, model: Model, most: int) -> Losses:
        """The losing streak of one lane."""
        return SharedLosses(self._link, model.name, most)

    def again(self, settings: RunSettings) -> PayingAgain:
        """The terms on which is paid again, within one sum for all."""
        terms = paying_again(settings)
        return terms.within(SharedPurse(self._link, AGAIN, terms.purse.caps))
