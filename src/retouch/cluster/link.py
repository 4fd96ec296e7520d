"""A worker's connection to the holder of purse and limits: what it tells, asks for and is told.

What is told rides with what is asked; what is asked while a report is on its way goes with the
next. So a worker that is busy sends few large reports, and a job costs a share of one. A worker
that has not reached the holder for `LEASE_SECONDS` sends nothing any more: its shard may be
somebody else's by then.
"""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import anyio
import anyio.abc

from retouch.cluster.wire import (
    LEASE_SECONDS,
    Answer,
    Asked,
    Begun,
    LaneView,
    MorePlaces,
    NotUsed,
    Offset,
    Reason,
    Reply,
    Report,
    Reserve,
    Settle,
    SlotGiven,
    Told,
    Wait,
)
from retouch.engine.limiter import Stop
from retouch.errors import Refused, RetouchError
from retouch.ledger.state import Replay
from retouch.ledger.terms import Observed

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


class LeasedSlot(Protocol):
    """Leave to send that was leased: what is not used in time goes back."""

    def give_back_late(self) -> None:
        """Give it back once it has gone by."""


class LeasedLane(Protocol):
    """One lane's admission, as the link knows it."""

    def say_places(self) -> None:
        """Tell which places are not needed."""

    def add_places(self, more: int, share: int) -> None:
        """So many places more are leased."""

    def see(self, view: LaneView) -> None:
        """How the lane stands for all."""


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
        self.limiters: dict[str, LeasedLane] = {}
        self._exchange, self._shard, self._holding = exchange, shard, begun.holding
        self._told: list[Told] = []
        self._events: list[Any] = []
        self._questions: list[Question] = []
        self._woken = anyio.Event()
        self._no_slot_before: dict[str, float] = {}
        self._permits: dict[int, LeasedSlot] = {}
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

    def hold(self, permit: LeasedSlot) -> None:
        """Watch over a permit: what is not used in time goes back at once."""
        self._permits[id(permit)] = permit

    def let_go(self, permit: LeasedSlot) -> None:
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
        report = self._gathered(due)
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

    def _gathered(self, due: list[Question]) -> Report:
        """All that there is to tell and to ask."""
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
        return Report(
            self._shard,
            self._holding,
            tuple(told),
            asked,
            stops,
            self._news_observed(),
            pickle.dumps(events) if events else b"",
        )

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
