"""What the Jobs of a run share, what those of a lane share, and how a Job's end is told."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Literal

from retouch.dialects.base import Capabilities, Dialect
from retouch.engine.breaker import Losses, Refusals
from retouch.engine.budget import Purse
from retouch.engine.limiter import Limiter, Stop
from retouch.engine.links import Links
from retouch.engine.memory import Memory, Recent
from retouch.engine.mirror import Mirror
from retouch.engine.outputs import Outputs
from retouch.engine.paying_again import PayingAgain, paying_again
from retouch.engine.polling import Polls
from retouch.engine.recorder import NOTHING_PAID, Paid
from retouch.errors import RetouchError
from retouch.job import Job
from retouch.ledger import Ledger
from retouch.ledger.records import ErrorRecord, FileRecord
from retouch.manifest import Model, Price, RunSettings
from retouch.storage.buckets import Buckets
from retouch.threads import Threads, in_thread
from retouch.transport import Transport


class Alone:
    """What a run on one machine is held to: its lanes' limits and purses are its own. A run that
    shares them with others offers the same (see `retouch.cluster`)."""

    def limiter(self, model: Model) -> Limiter:
        """The admission of one lane."""
        return Limiter(model.limits)

    def losses(self, model: Model, most: int) -> Losses:  # noqa: ARG002 - who shares asks for it
        """The losing streak of one lane."""
        return Losses(most)

    def again(self, settings: RunSettings) -> PayingAgain:
        """The terms on which is paid again."""
        return paying_again(settings)


Ended = Literal["done", "failed", "unknown", "accepted", "stopped"]


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How one Job ended in this run: data for progress and counts. `also_paid`: what answers
    without a picture cost before it, that were paid for again."""

    job: Job
    ended: Ended
    paid: Paid = NOTHING_PAID
    files: tuple[FileRecord, ...] = ()
    error: ErrorRecord | None = None
    task: str | None = None
    also_paid: tuple[Paid, ...] = ()


def _nowhere(text: str) -> None:
    """Texts are kept by nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run works with, opened by its caller. `secrets` are scrubbed from all that is written.

    `price_at`: what a model costs at a moment; None where it is unpriced. `keep_text` is told each
    prompt before it is sent; what it raises (StorageFailed) stops the run.
    """

    dialect: Dialect
    transport: Transport
    ledger: Ledger
    outputs: Outputs
    budget: Purse
    price_at: Callable[[Model, datetime], Price | None]
    settings: RunSettings
    secrets: tuple[str, ...] = ()
    unbilled_statuses: frozenset[int] = frozenset()
    threads: Threads = in_thread
    mirror: Mirror | None = None
    links: Links | None = None
    buckets: Buckets | None = None
    sharing: Alone = field(default_factory=Alone)
    keep_text: Callable[[str], None] = _nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Resources):
    """What every Job of a run shares, and how it tells its Batch; `tasks` tells which Job each
    Task was given to: by the `hash()` of its id the Job's number among the ledger's outcomes."""

    chance: random.Random
    stop_run: Callable[[RetouchError], None]
    ended: Callable[[JobEnd], None]
    say: Callable[[str], None]
    wall_clock: Callable[[], datetime]
    memory: Memory
    again: PayingAgain = field(default_factory=PayingAgain)
    recent: Recent = field(default_factory=Recent)
    tasks: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        resources: Resources,
        *,
        chance: random.Random,
        stop_run: Callable[[RetouchError], None],
        ended: Callable[[JobEnd], None],
        say: Callable[[str], None],
        again: PayingAgain,
    ) -> Context:
        """These resources, and the ways to the Batch that holds them."""
        held = {each.name: getattr(resources, each.name) for each in fields(Resources)}
        return cls(
            **held,
            chance=chance,
            stop_run=stop_run,
            ended=ended,
            say=say,
            again=again,
            wall_clock=resources.ledger.now,
            memory=Memory(resources.settings.memory_bytes),
        )


@dataclass(frozen=True, slots=True)
class LaneTools:
    """What the Jobs of one lane share. `told`: what was said of the lane, once is enough."""

    model: Model
    price_at: Callable[[datetime], Price | None]
    capabilities: Capabilities
    limiter: Limiter
    polls: Polls
    losses: Losses
    stop: Stop
    refusals: Refusals[Callable[[], Awaitable[None]]] = field(default_factory=Refusals)
    told: set[str] = field(default_factory=set)
