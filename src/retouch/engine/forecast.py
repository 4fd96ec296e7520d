"""What a plan's Jobs would cost and why they would be sent: shared by `plan` and `run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Protocol

from retouch.costs.allowance import Need
from retouch.costs.estimate import THIN, Demand, Estimate, estimate, seconds_at_limits
from retouch.costs.history import History
from retouch.costs.pricing import Asked
from retouch.engine.selection import (
    Changes,
    CountedStream,
    JobStream,
    LaneCount,
    Selection,
    counted_as_new,
    left_to_choose,
)
from retouch.errors import LedgerDamaged, StorageFailed
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.decision import Send
from retouch.ledger.state import Replay
from retouch.manifest import Price
from retouch.money import EXACT, Money, total
from retouch.storage.part import WHOLE, part_of
from retouch.threads import uncollected

Listener = Callable[[Job, str], None]


class Planned(Protocol):
    """A plan, or what one shard does of it."""

    @property
    def lanes(self) -> Sequence[JobStream]: ...


@dataclass(frozen=True, slots=True)
class LaneForecast:
    """One lane: its Jobs counted, what those to be sent will cost, the most they can cost
    (`ceiling`, None: nobody can say), and how long they take."""

    count: LaneCount
    estimate: Estimate
    seconds: float | None
    ceiling: Decimal | None

    def need(self, currency: str) -> Need:
        """What a budget in `currency` must have for the lane's Jobs."""
        jobs, likely = self.count.to_send, self.estimate.cost.likely
        if not jobs or self.estimate.currency != currency:
            return Need(jobs, None, None)
        with localcontext(EXACT):
            each = None if likely is None else likely / jobs
            return Need(jobs, each, None if self.ceiling is None else self.ceiling / jobs)


def forecast_lanes(
    plan: Planned,
    selection: Selection,
    prices: Mapping[str, Price | None],
    neighbours: Iterable[Replay],
    *,
    limit: int | None = None,
    on_send: Listener | None = None,
) -> list[LaneForecast]:
    """Every lane counted and estimated; of each at most `limit` Jobs are estimated.

    `prices` is by lane; `neighbours` are asked only where this ledger alone tells too little.
    `on_send` is told of each Job that would be sent, and why.
    """
    changes = Changes(selection.state)
    counted: list[tuple[LaneCount, Demand]] = []
    for lane in plan.lanes:
        price = prices.get(lane.model.name)
        demand = Demand(price, lane.capabilities, selection.state)
        new = None if on_send else counted_as_new(lane, selection)
        if new is not None and isinstance(lane, CountedStream):
            _add_new(next(lane.jobs(), None), lane.asked(limit), demand)
        found = new or _count(
            lane, selection, changes, demand, limit=limit, on_send=on_send or _nobody
        )
        counted.append((found, demand))
    wanted = [each.lane.model.model for each, demand in counted if demand.jobs]
    history = History([selection.state], wanted)
    if any(len(history.of(model)) < THIN for model in wanted):
        for state in neighbours:
            history.add(state)
    forecasts = []
    for each, demand in counted:
        cost = estimate(demand, history)
        seconds = seconds_at_limits(each.lane.model.limits, demand, cost.tokens, history)
        forecasts.append(LaneForecast(each, cost, seconds, demand.ceiling))
    return forecasts


def highest(forecasts: list[LaneForecast]) -> tuple[dict[str, Money], list[str]]:
    """The most that all lanes may cost, by currency, and the models of which nobody can say."""
    sending = [each for each in forecasts if each.count.to_send]
    highs = [each.estimate.high for each in sending]
    unsure = [
        each.count.lane.model.name
        for each, high in zip(sending, highs, strict=True)
        if high is None
    ]
    return total(high for high in highs if high is not None), unsure


def _add_new(example: Job | None, asked: Counter[tuple[int, int]], demand: Demand) -> None:
    """What a lane's Jobs ask for, all of them new and like `example`."""
    if example is not None:
        for (text_bytes, pictures), jobs in asked.items():
            demand.add_alike(example, Asked(example.terms, text_bytes, pictures), jobs)


def _count(
    lane: JobStream,
    selection: Selection,
    changes: Changes,
    demand: Demand,
    *,
    limit: int | None,
    on_send: Listener,
) -> LaneCount:
    """Go once through the lane: what `count_lane` counts, with reasons told apart further."""
    counted = LaneCount(lane)
    with uncollected():
        for job, choice in left_to_choose(counted, selection):
            if isinstance(choice, Send):
                reason = changes.reason(job, choice)
                counted.count(Send(choice.attempt, reason))
                on_send(job, reason)
                if limit is None or demand.jobs < limit:
                    demand.add(job)
            else:
                counted.count(choice)
    counted.count_copies(selection)
    counted.reasons = Counter(dict(sorted(counted.reasons.items())))
    return counted


def neighbours(own: Path, root: Path, reused: Iterable[Path], provider: str) -> Iterator[Replay]:
    """What other manifests' ledgers below `root`, and those `reused`, say of the same provider.

    One that cannot be read tells nothing. `own` is left out. Parts of one ledger are one.
    """
    ledgers = (*sorted(root.glob("*/ledger*.jsonl")), *reused)
    for path in dict.fromkeys(_as_one(each.resolve()) for each in ledgers):
        try:
            state = read(path) if path != _as_one(own.resolve()) else None
        except (LedgerDamaged, StorageFailed):
            continue
        if state is not None and state.last_run and state.last_run.provider == provider:
            yield state


def _as_one(path: Path) -> Path:
    """The one name for all parts of a ledger."""
    return path if part_of(path) is None else path.with_name(WHOLE.ledger)


def _nobody(job: Job, reason: str) -> None:
    """Nobody listens."""
