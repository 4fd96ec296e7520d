"""A real batch on a disk that fails, with the provider's own book as the oracle.

Ledger, outputs, limiter and jobs are the program's; the network is in process and time is virtual.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio.lowlevel
import pytest

from retouch.dialects import DIALECTS
from retouch.dialects.base import Endpoint
from retouch.engine.batch import Batch
from retouch.engine.budget import Purse
from retouch.engine.context import Resources
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.engine.summary import RunOptions, Summary
from retouch.errors import StorageFailed
from retouch.job import Job
from retouch.ledger import open_ledger
from retouch.manifest import Limits, Poll, RunSettings
from retouch.transport import ApiKey, Connection, open_transport
from tests.proofs.crash.recorder import Killed, Recorder
from tests.support.provider import Charge, Mishap, Provider
from tests.support.virtual import run_in_virtual_time
from tests.support.workbench import BASE_URL, CANARY, GEMINI, KLING, PRICES, TestLane, lane
from tests.support.workbench import Recorder as Watcher

T = TypeVar("T")
MISHAPS = (
    Mishap(500),
    Mishap(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}'),
    Mishap(504, b"", (("content-type", "text/html"),), charged=True),
    Mishap(200, b'{"data": [{"b64_js', charged=True),
    Mishap(400, b'{"error":{"message":"unsafe","code":"moderation_blocked"}}'),
)


async def a_moment_later(call: Callable[[], T], /) -> T:
    """Run `call` here, after the others had a turn: so that records gather as with threads."""
    await anyio.lowlevel.checkpoint()
    return call()


@dataclass(frozen=True, slots=True)
class Probe:
    """The world when a change was made: charges in the book, jobs in flight."""

    charges: int
    in_flight: int


@dataclass(slots=True)
class Stage:
    """One folder, one provider, several runs. With a `book_file`, the provider outlives the
    process: its charges and tasks are read back."""

    folder: Path
    seed: int = 0
    jobs: int = 12
    provider: Provider = field(default_factory=Provider)
    said: list[str] = field(default_factory=list)
    concurrency: int = 5
    book_file: Path | None = None
    _batch: Batch | None = None
    _runs: int = 0

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        self.provider = Provider(
            seconds=0.5,
            task_seconds=3.0,
            mishaps=self._mishaps(random.Random(self.seed + 1)),
            book_file=self.book_file,
        )
        if self.book_file is not None and self.book_file.exists():
            for line in self.book_file.read_text().splitlines():
                charge = Charge(**json.loads(line))
                self.provider.book.append(charge)
                if charge.task:
                    self.provider._tasks[charge.task] = (0.0, charge.images)
        self.concurrency = chance.choice((2, 5, 12))

    def _mishaps(self, chance: random.Random) -> Iterator[Mishap | None]:
        while self.seed:
            yield chance.choice(MISHAPS) if chance.random() < 0.25 else None

    @property
    def lanes(self) -> list[TestLane]:
        limits = Limits(concurrency=self.concurrency)
        half = self.jobs // 2
        return [
            lane(GEMINI, self.jobs - half, n=2, limits=limits),
            lane(KLING, half, limits=limits, poll=Poll(interval=1.0, timeout=60.0)),
        ]

    @property
    def keys(self) -> list[str]:
        return [job.key for each in self.lanes for job in each.all_jobs]

    @property
    def probe(self) -> Probe:
        return Probe(len(self.provider.book), self._batch.in_flight if self._batch else 0)

    def bought(self, charges: int | None = None) -> Counter[str]:
        """How often each Job was charged, by key, in the first so many lines of the book."""
        keys = {_asked(job): job.key for each in self.lanes for job in each.all_jobs}
        return Counter(keys[charge.request] for charge in self.provider.book[:charges])

    def run(self) -> Summary:
        """One run to its end, the same each time. Raises StorageFailed, and Killed as a process
        would die."""
        try:
            return run_in_virtual_time(self._go, self.seed)
        except BaseExceptionGroup as group:
            if group.subgroup(Killed):
                raise Killed from None
            known = group.subgroup(StorageFailed)
            if known is None:
                raise
            error: BaseException = known
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    async def _go(self) -> Summary:
        self._runs += 1
        outputs = Outputs(self.folder, (CANARY,))
        async with (
            open_ledger(
                self.folder / "ledger.jsonl",
                f"run-{self._runs}",
                threads=a_moment_later,
                say=self.said.append,
            ) as ledger,
            open_transport(
                Connection(base_url=BASE_URL, key=ApiKey(CANARY), app=self.provider), concurrency=64
            ) as transport,
        ):
            self._batch = Batch(
                lanes=self.lanes,
                selection=Selection(ledger.state, outputs),
                resources=Resources(
                    dialect=DIALECTS["qiniu"],
                    transport=transport,
                    ledger=ledger,
                    outputs=outputs,
                    budget=Purse(),
                    price_at=lambda model, _: PRICES.get(model.model),
                    settings=RunSettings(timeout=60.0),
                    secrets=(CANARY,),
                    threads=a_moment_later,
                ),
                run_options=RunOptions(seed=self.seed),
                observer=Watcher(),
            )
            return await self._batch.run()


def recorded(stage: Stage, patch: pytest.MonkeyPatch, *, die_at: int | None) -> Recorder:
    """Run until the n-th change kills it, then once more to the end; all changes in one log."""
    recorder = Recorder(stage.folder, lambda: stage.probe, die_at=die_at)
    with recorder.recording(patch):
        try:
            stage.run()
        except Killed:
            recorder.is_dead, recorder.die_at = False, None
            stage.run()
    return recorder


def _asked(job: Job) -> str:
    """The provider's digest of the request for a Job."""
    request = DIALECTS["qiniu"].submit(job, Endpoint(BASE_URL))
    body = b"".join(part for part in request.body if isinstance(part, bytes))
    return hashlib.sha256(json.dumps(json.loads(body), sort_keys=True).encode()).hexdigest()
