"""The one holder of a run's money and limits: workers lease from it, settle, and give back.

Money is held by attempt, so that nothing is lost with a worker: what it had reserved stays
reserved until its shard's ledger has been read and says what became of it. Slots end by
themselves (see `windows`); places in flight are free again when a holding is over. Pure but for
its purses' look at the day: the caller passes the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from retouch.cluster.windows import VALID_SECONDS, SharedRate, Slot
from retouch.cluster.wire import (
    BUDGET,
    LEASE_SECONDS,
    Answer,
    Asked,
    Begun,
    Granted,
    LaneView,
    Left,
    MorePlaces,
    NotUsed,
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
from retouch.engine.breaker import Losses, Outage
from retouch.engine.budget import Attempt, Cap, Purse, Reservation
from retouch.engine.pacing import Concurrency, RetryBudget
from retouch.errors import BudgetReached
from retouch.manifest import Limits

GONE = -1  # the number of a holding that was lost
BLOCK = 8  # places that are leased ahead of their use
# Slots are given a little before they begin, so that what is sent can be read and noted
# meanwhile; not long before, for what is leased to one worker is missing to the others.
LEAD_SECONDS = 0.05
HORIZON_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 0.05
NEXT_SLOT_SECONDS = 0.1  # within the horizon: somebody asks before a slot has gone by
SILENT_SECONDS = 3600.0
FORGOTTEN_SECONDS = 2.0  # who asked for places and has not asked since waits no more


@dataclass(slots=True)
class _SlotOf:
    """A slot's part in each of its lane's limits."""

    shard: int
    parts: list[tuple[_Limit, Slot]]


@dataclass(slots=True)
class _Limit:
    rate: SharedRate
    unit: str

    def units(self, images: int, tokens: float) -> float:
        return {"requests": 1, "images": images, "tokens": tokens}[self.unit]


@dataclass(slots=True)
class _Wanting:
    """A worker that waits for places: since when, and when it last said so."""

    since: float
    seen: float


class LaneHolder:
    """One lane's places, slots and what was learnt of its server, over all workers."""

    def __init__(self, limits: Limits, losses_allowed: int) -> None:
        self.concurrency = Concurrency(limits.concurrency)
        self.outage = Outage()
        self.retries = RetryBudget()
        self.losses = Losses(losses_allowed)
        self._limits = [
            _Limit(SharedRate(rate, (1.0, 10.0) if unit == "requests" else ()), unit)
            for unit, rate in (
                ("requests", limits.requests_per_minute),
                ("images", limits.images_per_minute),
                ("tokens", limits.tokens_per_minute),
            )
            if rate is not None
        ]
        self._not_before = self._next_probe = float("-inf")
        self._places: dict[int, int] = {}
        self._wanting: dict[int, _Wanting] = {}
        self._slots: dict[int, _SlotOf] = {}
        self._number = 0

    @property
    def view(self) -> LaneView:
        """What every worker must know of it."""
        return LaneView(
            self.concurrency.cuts,
            self.outage,
            self.retries.requests,
            self.retries.retries,
            self.losses.in_a_row,
        )

    @property
    def in_flight(self) -> int:
        """How many places are leased."""
        return sum(self._places.values())

    def forget(self, shard: int) -> None:
        """A holding is over: its places are free. Its slots end by themselves."""
        self._places.pop(shard, None)
        self._wanting.pop(shard, None)
        gone = [number for number, each in self._slots.items() if each.shard == shard]
        for number in gone:
            del self._slots[number]

    def places(self, shard: int, now: float, asked: Places) -> MorePlaces | Wait:
        """Lease more places, in the order in which they were asked for; more than there are, to
        one alone."""
        self._places[shard] = asked.kept
        if asked.wanted <= 0:
            self._wanting.pop(shard, None)
            return MorePlaces(0, self._share(shard))
        since = self._wanting[shard].since if shard in self._wanting else now
        self._wanting[shard] = _Wanting(since, now)
        for each in [
            each
            for each, wanting in self._wanting.items()
            if now - wanting.seen > FORGOTTEN_SECONDS
        ]:
            del self._wanting[each]
        more = self._more(shard, asked)
        if not more:
            return Wait(LOOK_AGAIN_SECONDS)
        self._places[shard] += more
        del self._wanting[shard]
        return MorePlaces(more, self._share(shard))

    def _more(self, shard: int, asked: Places) -> int:
        limit = self.concurrency.limit
        free = limit - self.in_flight
        if min(self._wanting, key=lambda each: self._wanting[each].since) != shard:
            return 0
        if asked.wanted > limit and not self.in_flight:
            return asked.wanted
        if asked.wanted > free:
            return 0
        share = self._share(shard)
        return max(asked.wanted, min(free, share - asked.kept, asked.wanted + BLOCK))

    def _share(self, shard: int) -> int:
        """How many places one worker may keep: all, until others wait for some."""
        others = {each for each in self._wanting if each != shard}
        if not others and self.in_flight <= self.concurrency.limit:
            return self.concurrency.limit
        users = len({each for each, held in self._places.items() if held} | others | {shard})
        return max(1, self.concurrency.limit // users)

    def slot(self, shard: int, now: float, asked: WantSlot) -> SlotGiven | Wait:
        """The next slot, if it begins soon."""
        begins = max(now + (LEAD_SECONDS if self._limits else 0.0), self._not_before)
        if self.outage.probes:
            begins = max(begins, self._next_probe)
        units = [(limit, limit.units(asked.images, asked.tokens)) for limit in self._limits]
        begins = max([begins, *(limit.rate.room_at(now, begins, of) for limit, of in units)])
        if begins > now + HORIZON_SECONDS:
            # Sooner where a slot that is out was used at its beginning.
            sooner = begins - now - HORIZON_SECONDS - VALID_SECONDS
            return Wait(max(NEXT_SLOT_SECONDS, sooner))
        self._forget_slots(now)
        self.retries.request()
        self._next_probe = begins + self.outage.pause_seconds
        self._number += 1
        parts = [(limit, limit.rate.give(begins, of)) for limit, of in units]
        if parts:
            self._slots[self._number] = _SlotOf(shard, parts)
        ends = min((slot.ends for _, slot in parts), default=begins + LEASE_SECONDS)
        return SlotGiven(self._number, begins, ends)

    def _forget_slots(self, now: float) -> None:
        """What nobody said more about for an hour."""
        while self._slots:
            number, oldest = next(iter(self._slots.items()))
            if all(slot.ends > now - SILENT_SECONDS for _, slot in oldest.parts):
                return
            del self._slots[number]

    def heard(self, now: float, told: Told) -> None:
        """Take in what a worker tells of the lane."""
        match told:
            case Left() | NotUsed() | Used():
                self._slot_told(now, told)
            case Penalized(seconds=seconds):
                self._not_before = max(self._not_before, now + seconds)
            case Overrun(cuts=cuts):
                self.concurrency.overrun(self.in_flight, cuts)
            case Unserved(left_at=left_at, is_limit=is_limit):
                self.outage.unserved(now, left_at, is_limit=is_limit)
                self._next_probe = now + self.outage.pause_seconds
            case Served(took=took):
                self.outage.served()
                if took:
                    self.concurrency.succeeded()
            case Retried():
                self.retries.retries += 1
            case Streak(lost=lost):
                if lost:
                    self.losses.lost()
                else:
                    self.losses.gained()
            case _:
                pass

    def _slot_told(self, now: float, told: Left | NotUsed | Used) -> None:
        known = self._slots.get(told.slot)
        if known is None:
            return
        match told:
            case Left(at=at):
                for limit, slot in known.parts:
                    limit.rate.left(slot, max(slot.begins, at))
                if any(limit.unit == "tokens" for limit in self._limits):
                    return  # what it counted will be told
            case NotUsed():
                for limit, slot in known.parts:
                    limit.rate.give_back(slot)
            case Used(tokens=tokens):
                for limit, slot in known.parts:
                    if limit.unit == "tokens":
                        limit.rate.correct(now, slot, tokens)
        del self._slots[told.slot]


@dataclass(slots=True)
class _Holding:
    number: int
    heard_at: float
    stops_told: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What has happened since the driver last asked: what observers were told, in order; the caps
    of the budget as they are, and what is reserved of them, by lane (None: in all)."""

    events: tuple[bytes, ...] = ()
    caps: tuple[Cap, ...] = ()
    reserved: dict[str | None, Decimal] = field(default_factory=dict)


class Holder:
    """Purses by their names with their caps, lanes by their models' names. `observed`: the most
    tokens that a model's requests have counted before, as in a Report."""

    def __init__(
        self,
        caps: Mapping[str, Sequence[Cap]],
        limits: Mapping[str, Limits],
        losses_allowed: int,
        observed: Mapping[str, tuple[int, int]],
    ) -> None:
        self.purses = {name: Purse(list(each)) for name, each in caps.items()}
        self.lanes = {name: LaneHolder(each, losses_allowed) for name, each in limits.items()}
        self._losses_allowed = losses_allowed
        self._held: dict[tuple[str, Attempt], tuple[int, Reservation]] = {}
        self._holdings: dict[int, _Holding] = {}
        self._number = 0
        self._stops: list[tuple[str | None, Reason]] = []
        self._observed = dict(observed)
        self._events: list[bytes] = []
        self._is_now = False

    def begin(self, shard: int, now: float) -> Begun:
        """A worker takes the shard; who had it before is not listened to any more."""
        self._number += 1
        for lane in self.lanes.values():
            lane.forget(shard)
        self._holdings[shard] = _Holding(self._number, now)
        left = tuple(place for place, (of, _) in self._held.items() if of == shard)
        return Begun(self._number, left)

    def exchange(self, report: Report, now: float) -> Reply:
        """Take in a worker's report and answer what it asks."""
        holding = self._holdings.get(report.shard)
        if holding is None or holding.number != report.holding:
            return Reply(now, is_over=True)
        holding.heard_at = now
        if report.events:
            self._events.append(report.events)
        for model, (read, written) in report.observed.items():
            known = self._observed.get(model, (0, 0))
            self._observed[model] = (max(read, known[0]), max(written, known[1]))
        for told in report.told:
            self._heard(report.shard, now, told)
        self._stops += [stop for stop in report.stops if stop not in self._stops]
        answers = tuple(self._answer(report.shard, now, asked) for asked in report.asked)
        stops = tuple(self._stops[holding.stops_told :])
        holding.stops_told = len(self._stops)
        lanes = {name: lane.view for name, lane in self.lanes.items()}
        return Reply(now, answers, lanes, stops, self._observed, now=self._is_now)

    def is_lost(self, shard: int, now: float) -> float:
        """A worker was lost, and is not listened to any more. Seconds until it surely sends
        nothing: until then nobody may take its shard."""
        holding = self._holdings.get(shard)
        if holding is None:
            return 0.0
        holding.number = GONE
        return max(0.0, holding.heard_at + LEASE_SECONDS - now)

    def end(self, shard: int) -> None:
        """A worker has ended in order; what it has not settled counts in full."""
        self._holdings.pop(shard, None)
        for place in [place for place, (of, _) in self._held.items() if of == shard]:
            self._release(place)
        for lane in self.lanes.values():
            lane.forget(shard)

    def stop(self, reason: Reason, *, now: bool = False) -> None:
        """Start nothing new in any shard; `now`: and end what is in flight where it stands."""
        if (None, reason) not in self._stops:
            self._stops.append((None, reason))
        self._is_now = self._is_now or now

    def news(self) -> News:
        """What the driver has not been told yet."""
        events, self._events = self._events, []
        budget = self.purses[BUDGET]
        return News(tuple(events), tuple(budget.caps), dict(budget.reserved))

    def _heard(self, shard: int, now: float, told: Told) -> None:
        match told:
            case Settle(purse=purse, attempt=attempt, charged=charged, day=day):
                place = (purse, attempt)
                if self._held.get(place, (None,))[0] == shard:
                    held = self._held[place][1]
                    held.day, held.charged = day or held.day, charged
                    self._release(place)
            case Resume(purse=purse, attempt=attempt, lane=lane, ceiling=ceiling, day=day):
                if (purse, attempt) not in self._held:
                    held = self.purses[purse].resume(lane, ceiling, day, attempt)
                    self._held[purse, attempt] = (shard, held)
            case Places():
                self._lane(told.lane).places(shard, now, told)
            case _:
                self._lane(told.lane).heard(now, told)

    def _release(self, place: tuple[str, Attempt]) -> None:
        self.purses[place[0]].release(self._held.pop(place)[1])

    def _answer(self, shard: int, now: float, asked: Asked) -> Answer:
        match asked:
            case Reserve():
                return self._reserve(shard, asked)
            case Places():
                return self._lane(asked.lane).places(shard, now, asked)
            case WantSlot():
                return self._lane(asked.lane).slot(shard, now, asked)

    def _reserve(self, shard: int, asked: Reserve) -> Answer:
        place = (asked.purse, asked.attempt)
        try:
            held = self.purses[asked.purse].try_to_reserve(
                asked.lane, asked.ceiling, is_learnt=asked.is_learnt, attempt=asked.attempt
            )
        except BudgetReached as reached:
            return Reason.of(reached)
        if held is None:
            return Wait(LOOK_AGAIN_SECONDS)
        self._held[place] = (shard, held)
        return Granted()

    def _lane(self, name: str) -> LaneHolder:
        """A lane; one that is outside the plan has the limits of any model."""
        if name not in self.lanes:
            self.lanes[name] = LaneHolder(Limits(), self._losses_allowed)
        return self.lanes[name]
