"""What the Jobs of a run share, what those of a lane share, and how a Job's end is told."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from retouch.dialects.base import Capabilities, Dialect
from retouch.engine.breaker import Losses, Refusals
from retouch.engine.budget import Purse
from retouch.engine.limiter import Limiter, Stop
from retouch.engine.outputs import Outputs
from retouch.engine.paying_again import PayingAgain
from retouch.engine.polling import Polls
from retouch.engine.recorder import NOTHING_PAID, Paid
from retouch.errors import RetouchError
from retouch.job import Job
from retouch.ledger import Ledger
from retouch.ledger.records import ErrorRecord, FileRecord
from retouch.manifest import Model, Price, RunSettings
from retouch.threads import Threads
from retouch.transport import Transport

Ended = Literal["done", "failed", "unknown", "accepted", "stopped"]


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How one Job ended in this run: data for progress and counts."""

    job: Job
    ended: Ended
    paid: Paid = NOTHING_PAID
    files: tuple[FileRecord, ...] = ()
    error: ErrorRecord | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What every Job of a run shares. `secrets` are scrubbed from all that is written; `tasks`
    tells which Job each Task was given to, by its Source."""

    dialect: Dialect
    transport: Transport
    ledger: Ledger
    outputs: Outputs
    budget: Purse
    settings: RunSettings
    threads: Threads
    chance: random.Random
    secrets: tuple[str, ...]
    stop_run: Callable[[RetouchError], None]
    ended: Callable[[JobEnd], None]
    say: Callable[[str], None]
    wall_clock: Callable[[], datetime]
    again: PayingAgain = field(default_factory=PayingAgain)
    unbilled_statuses: frozenset[int] = frozenset()
    tasks: dict[str, tuple[str, str]] = field(default_factory=dict)


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
