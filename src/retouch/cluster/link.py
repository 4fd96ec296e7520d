"""A worker's side of the lease: purse and limits with the names and ways of a run's own, held
elsewhere.

What is told rides with what is asked; what is asked while a report is on its way goes with the
next. So a worker that is busy sends few large reports, and a job costs a share of one. A worker
that has not reached the holder for `LEASE_SECONDS` sends nothing any more: its shard may be
somebody else's by then.
"""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio
import anyio.abc

from retouch.cluster.wire import (
    AGAIN,
    BUDGET,
    LEASE_SECONDS,
    Answer,
    Asked,
    Begun,
    LaneView,
    Left,
    MorePlaces,
    NotUsed,
    Offset,
    Overrun,
    Penalized,
    Places,
    Reason,
    Reply,
    Report,
    Reserve,
    Resume,
    Retried,
    Served,
    Settle,
    SlotGiven,
    Streak,
    Told,
    Unserved,
    Used,
    Wait,
    WantSlot,
)
from retouch.engine.breaker import Losses
from retouch.engine.budget import Attempt, Cap, Purse, Reservation
from retouch.engine.context import Alone
from retouch.engine.limiter import Limiter, Permit, Stop
from retouch.engine.paying_again import PayingAgain, paying_again
from retouch.errors import Refused, RetouchError
from retouch.ledger.records import Done, Failed
from retouch.ledger.state import Replay
from retouch.ledger.terms import Observed
from retouch.manifest import Limits, Model, RunSettings
from retouch.money import Money

BEAT_SECONDS = 0.5
LINGER_SECONDS = 0.01  # in which what is asked gathers
BLOCK = 8  # slots of one lane that one report asks for
_SURE_SECONDS = 1.0  # before the end of the lease: clocks, and what is on its way

Exchange = Callable[[Report], Awaitable[Reply]]


@dataclass(eq=False, slots=True)
class Question:
    """Something asked for: worked out anew each time it is sent, until it is answered.

    `is_dropped`: nobody waits for the answer; what it grants goes back.
    """

    of: Callable[[], Asked]
    lane: str
    asked: Asked | None = None
    answer: Answer | None = None
    done: anyio.Event = field(default_factory=anyio.Event)
    stop: Stop | None = None
    is_dropped: bool = False
    is_for_slot: bool = False
    not_before: float = float("-inf")


class Link:
    """One shard's connection to the holder; `run` keeps it up while the shard's batch runs."""

    def __init__(self, exchange: Exchange, shard: int, begun: Begun) -> None:
        self.open = begun.open
        self.offset = Offset()
        self.lanes: dict[str, LaneView] = {}
        self.is_lost = False
        self.good_until = anyio.current_time() + LEASE_SECONDS - _SURE_SECONDS
        self.state: Replay | None = None
        self._stops: Callable[[], list[tuple[str | None, RetouchError]]] = list
        self._on_stop: Callable[[str | None, RetouchError], None] = lambda _lane, _reason: None
        self._on_now: Callable[[], None] = lambda: None
        self._stopped: list[tuple[str | None, RetouchError]] = []
        self._is_now = False
        self.limiters: dict[str, SharedLimiter] = {}
        self._exchange, self._shard, self._holding = exchange, shard, begun.holding
        self._told: list[Told] = []
        self._events: list[Any] = []
        self._questions: list[Question] = []
        self._woken = anyio.Event()
        self._no_slot_before: dict[str, float] = {}
        self._permits: dict[int, SharedPermit] = {}
        self._stops_told: set[tuple[str | None, Reason]] = set()
        self._observed: dict[str, tuple[int, int]] = {}

    @property
    def may_send(self) -> bool:
        """Whether the lease holds: nobody else has the shard."""
        return not self.is_lost and anyio.current_time() < self.good_until

    def watch(
        self,
        stops: Callable[[], list[tuple[str | None, RetouchError]]],
        on_stop: Callable[[str | None, RetouchError], None],
        on_now: Callable[[], None],
    ) -> None:
        """Tell the others what `stops` here the run (None) or a lane; `on_stop` is told what does
        elsewhere, also before now, and `on_now` that all is to end where it stands."""
        self._stops, self._on_stop, self._on_now = stops, on_stop, on_now
        for lane, reason in self._stopped:
            on_stop(lane, reason)
        if self._is_now:
            on_now()

    def tell(self, told: Told) -> None:
        """Say so with the next report."""
        self._told.append(told)

    def event(self, event: Any) -> None:
        """Something for the driver's eyes."""
        self._events.append(event)

    async def ask(
        self,
        of: Callable[[], Asked],
        lane: str,
        stop: Stop | None = None,
        *,
        is_for_slot: bool = False,
    ) -> Answer | None:
        """Ask until there is room; None when `stop` is set before, or the holder is lost."""
        question = self.question(of, lane, stop, is_for_slot=is_for_slot)
        try:
            await question.done.wait()
        except BaseException:
            question.is_dropped = True
            if question.answer is not None:
                self._give_back(question, question.answer)
            raise
        return question.answer

    def question(
        self,
        of: Callable[[], Asked],
        lane: str,
        stop: Stop | None = None,
        *,
        is_for_slot: bool = False,
    ) -> Question:
        """The same for who waits for more than the answer."""
        question = Question(of, lane, stop=stop, is_for_slot=is_for_slot)
        if self.is_lost:
            question.done.set()
        else:
            self._questions.append(question)
            self._woken.set()
        return question

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Report until cancelled; when it has begun, the holder's clock is known."""
        await self._report([])
        task_status.started()
        while not self.is_lost:
            with anyio.move_on_after(self._pause()):
                await self._woken.wait()
                await anyio.sleep(LINGER_SECONDS)
            self._woken = anyio.Event()
            self._drop_stopped()
            await self._report(self._due())
        for question in self._questions:
            question.done.set()

    async def close(self) -> None:
        """A last report: what was settled and seen."""
        if not self.is_lost:
            await self._report([])

    def hold(self, permit: SharedPermit) -> None:
        """Watch over a permit: what is not used in time goes back at once."""
        self._permits[id(permit)] = permit

    def let_go(self, permit: SharedPermit) -> None:
        """It was used or given back."""
        self._permits.pop(id(permit), None)

    def _pause(self) -> float:
        now = anyio.current_time()
        waits = [max(0.0, self._due_at(each) - now) for each in self._questions]
        return min([BEAT_SECONDS, *waits])

    def _due_at(self, question: Question) -> float:
        if question.is_for_slot:
            return self._no_slot_before.get(question.lane, float("-inf"))
        return question.not_before

    def _drop_stopped(self) -> None:
        """What a lane asked for that was stopped meanwhile is not asked for any more."""
        for question in self._questions:
            if question.stop:
                question.is_dropped = True
                question.done.set()
        self._questions = [each for each in self._questions if not each.is_dropped]

    def _due(self) -> list[Question]:
        now, slots = anyio.current_time(), dict[str, int]()
        due: list[Question] = []
        for question in self._questions:
            if self._due_at(question) > now + LINGER_SECONDS:
                continue
            if question.is_for_slot:
                slots[question.lane] = slots.get(question.lane, 0) + 1
                if slots[question.lane] > BLOCK:
                    continue
            question.asked = question.of()
            due.append(question)
        return due

    async def _report(self, due: list[Question]) -> None:
        for limiter in self.limiters.values():
            limiter.say_places()
        for permit in tuple(self._permits.values()):
            permit.give_back_late()
        told, self._told = self._told, []
        events, self._events = self._events, []
        asked = tuple(question.asked for question in due if question.asked is not None)
        stops = tuple(
            (lane, Reason.of(error))
            for lane, error in self._stops()
            if (lane, Reason.of(error)) not in self._stops_told
        )
        self._stops_told.update(stops)
        report = Report(
            self._shard,
            self._holding,
            tuple(told),
            asked,
            stops,
            self._news_observed(),
            pickle.dumps(events) if events else b"",
        )
        began = anyio.current_time()
        try:
            with anyio.fail_after(LEASE_SECONDS):
                reply = await self._exchange(report)
        except Exception as error:  # whatever a network does: the holder is not to be had
            self._lose(f"the holder of the budget cannot be reached ({type(error).__name__})")
            return
        now = anyio.current_time()
        if reply.is_over:
            self._lose("another worker has this shard")
            return
        self.offset.heard(began, reply.at, now)
        self.good_until = began + LEASE_SECONDS - _SURE_SECONDS
        self._take_in(reply)
        for question, answer in zip(due, reply.answers, strict=True):
            self._answered(question, answer, now)
        self._questions = [each for each in self._questions if not each.done.is_set()]
        if any(self._due_at(each) <= now for each in self._questions):
            self._woken.set()

    def _take_in(self, reply: Reply) -> None:
        self.lanes = reply.lanes
        for name, limiter in self.limiters.items():
            if name in reply.lanes:
                limiter.see(reply.lanes[name])
        if self.state is not None:
            for model, (read, written) in reply.observed.items():
                self.state.observed.setdefault(model, Observed()).take(read, written, 1)
        for lane, reason in reply.stops:
            self._stops_told.add((lane, reason))
            self._stop(lane, reason.error)
        if reply.now and not self._is_now:
            self._is_now = True
            self._on_now()

    def _stop(self, lane: str | None, reason: RetouchError) -> None:
        self._stopped.append((lane, reason))
        self._on_stop(lane, reason)

    def _answered(self, question: Question, answer: Answer, now: float) -> None:
        if question.is_dropped:
            self._give_back(question, answer)
            question.done.set()
        elif isinstance(answer, Wait) and question.is_for_slot:
            self._no_slot_before[question.lane] = now + answer.seconds
        elif isinstance(answer, Wait):
            question.not_before = now + answer.seconds
        else:
            question.answer = answer
            question.done.set()

    def _give_back(self, question: Question, answer: Answer) -> None:
        """What was granted to nobody."""
        asked = question.asked
        match answer:
            case SlotGiven(slot=slot):
                self.tell(NotUsed(question.lane, slot))
            case MorePlaces(more=more, share=share) if question.lane in self.limiters:
                self.limiters[question.lane].add_places(more, share)
            case Reason() | Wait():
                pass
            case _ if isinstance(asked, Reserve):
                self.tell(Settle(asked.purse, asked.attempt, Decimal(0)))

    def _lose(self, why: str) -> None:
        """Nothing is sent any more; what is in flight ends and is recorded."""
        self.is_lost = True
        hint = "run again: it goes on from there"
        self._stop(None, Refused(f"{why}: nothing more is sent here", hint=hint))
        for question in self._questions:
            question.done.set()

    def _news_observed(self) -> dict[str, tuple[int, int]]:
        if self.state is None:
            return {}
        seen = {
            model: (each.input_tokens, each.output_tokens_per_image)
            for model, each in self.state.observed.items()
        }
        news = {model: each for model, each in seen.items() if self._observed.get(model) != each}
        self._observed = seen
        return news


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

    @contextmanager
    def placed(self, slots: int = 1) -> Iterator[None]:
        """Give back the places taken by `place` at the end of the block."""
        try:
            yield
        finally:
            self.in_flight -= slots
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

    def limiter(self, model: Model) -> Limiter:
        """The admission of one lane; lanes of one name have one."""
        name = model.name
        if name not in self._link.limiters:
            self._link.limiters[name] = SharedLimiter(self._link, name, model.limits)
        return self._link.limiters[name]

    def losses(self, model: Model, most: int) -> Losses:
        """The losing streak of one lane."""
        return SharedLosses(self._link, model.name, most)

    def again(self, settings: RunSettings) -> PayingAgain:
        """The terms on which is paid again, within one sum for all."""
        terms = paying_again(settings)
        return terms.within(SharedPurse(self._link, AGAIN, terms.purse.caps))
