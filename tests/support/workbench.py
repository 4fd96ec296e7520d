"""A batch set up for tests: real ledger, outputs, limiter, dialect, transport, own provider."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel

from retouch.dialects import DIALECTS
from retouch.dialects.base import Capabilities, Dialect
from retouch.engine.batch import Batch
from retouch.engine.budget import Purse
from retouch.engine.context import Alone, JobEnd, Resources
from retouch.engine.late import LateCount
from retouch.engine.links import Links
from retouch.engine.mirror import Mirror
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Choice, JobStream, Selection, open_shelves
from retouch.engine.summary import RunOptions, Summary
from retouch.errors import Interrupted, RetouchError
from retouch.job import Job, Picture, Prompt, Source, Terms
from retouch.ledger import Reader, open_ledger
from retouch.ledger.decision import NOTHING_REDONE, Redo
from retouch.ledger.records import AnyRecord
from retouch.ledger.state import Replay, replay
from retouch.manifest import Limits, Model, Poll, Price, RunSettings
from retouch.storage.buckets import Buckets
from retouch.threads import Threads, in_place
from retouch.transport import ApiKey, Connection, Transport, open_transport
from tests.support.provider import Provider, png

CANARY = "sk-canary-0123456789abcdef"
GEMINI, KLING, GPT = "gemini-2.5-flash-image", "kling-v2", "gpt-image-2"
BASE_URL = "http://127.0.0.1/v1"
PRICES = {
    GEMINI: Price(
        currency="CNY", input_per_million=Decimal("2.1"), output_per_million=Decimal(210)
    ),
    KLING: Price(currency="CNY", per_image=Decimal("0.20")),
    GPT: Price(
        currency="CNY",
        input_per_million=Decimal(56),
        output_per_million=Decimal(210),
        ceiling_input_tokens=1000,
        ceiling_output_tokens_per_image=1500,
    ),
}
R = TypeVar("R", bound=AnyRecord)
T = TypeVar("T")
PriceAt = Callable[[Model, datetime], Price | None]


@dataclass(frozen=True, slots=True)
class TestLane:
    """A lane of given Jobs."""

    model: Model
    capabilities: Capabilities
    all_jobs: tuple[Job, ...]
    __test__ = False

    @property
    def jobs_count(self) -> int:
        return len(self.all_jobs)

    @property
    def copies_count(self) -> int:
        return 0

    def jobs(self) -> Iterator[Job]:
        return iter(self.all_jobs)

    def copies(self) -> Iterator[Job]:
        return iter(())


def lane(
    model: str,
    count: int,
    *,
    n: int = 1,
    limits: Limits | None = None,
    poll: Poll | None = None,
    file: Picture | None = None,
) -> TestLane:
    """`count` Jobs over URL sources, so that no file is needed; or all over `file`, if given, by
    prompts that differ. What sends files as a form sends URLs as JSON."""
    jobs = tuple(
        Job(
            model=model,
            prompt=Prompt("white", f"make it white {index}" if file else "make it white"),
            source=Source(f"{index}.png", file or _linked(model, index)),
            options=(("n", n),),
            terms=Terms(n=n),
            output=f"images/{model}/white/{index}-{{index}}",
        )
        for index in range(count)
    )
    given = Model(
        model=model,
        options={"n": n},
        limits=limits or Limits(concurrency=8),
        poll=poll or Poll(interval=1.0, timeout=60.0),
    )
    return TestLane(given, dialect_of(model).capabilities(model), jobs)


def dialect_of(model: str) -> Dialect:
    """The dialect in which the tests' provider sells a model."""
    return DIALECTS["openai" if model == GPT else "qiniu"]


def filed(folder: Path, seed: str = "filed") -> Picture:
    """A small picture in a file, as a plan would have it; its bytes grow with its seed."""
    data, path = png(seed), folder / "filed.png"
    path.write_bytes(data)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Picture(
        digest, file=str(path), media_type="image/png", bytes=len(data), width=8, height=8
    )


def _linked(model: str, index: int) -> Picture:
    url = f"https://example.com/{model}/{index}.png"
    return Picture(digest=f"url:{url}", url=url)


@dataclass(slots=True)
class Recorder:
    """An Observer that keeps all it is told."""

    ends: list[JobEnd] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def began(self, job: Job) -> None:
        pass

    def ended(self, end: JobEnd) -> None:
        self.ends.append(end)

    def passed(self, job: Job, choice: Choice) -> None:
        self.choices.append(choice)

    def said(self, text: str) -> None:
        self.texts.append(text)


@dataclass(slots=True)
class Bench:
    """One manifest's outputs folder and its provider, over as many runs as a test wants."""

    folder: Path
    provider: Provider
    settings: RunSettings = field(default_factory=RunSettings)
    observer: Recorder = field(default_factory=Recorder)
    batch: Batch | None = None
    threads: Threads = in_place
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    unbilled_statuses: tuple[int, ...] = ()
    reuse: tuple[str, ...] = ()
    keep_text: Callable[[str], None] = lambda _: None
    told: dict[str, Summary] = field(default_factory=dict)  # by run
    sharing: Alone = field(default_factory=Alone)
    fallback_urls: tuple[str, ...] = ()
    links: Links | None = None
    buckets: Buckets | None = None
    mirror: Mirror | None = None
    late: tuple[LateCount, ...] = ()

    def cancels_once_answered(self, scope: anyio.CancelScope) -> None:
        """From the first answer on, `scope` is cancelled before anything else is done with it."""

        async def threads(call: Callable[[], T], /) -> T:
            if self.provider.posts:
                scope.cancel()
            await anyio.lowlevel.checkpoint()
            return call()

        self.threads = threads

    async def run(
        self,
        lanes: Sequence[JobStream],
        *,
        redo: Redo = NOTHING_REDONE,
        budget: Purse | None = None,
        run_options: RunOptions | None = None,
        priced: bool = True,
        price_at: PriceAt | None = None,
        scope: anyio.CancelScope | None = None,
    ) -> Summary:
        """One run; blocking work is done in place by default, so that a virtual clock can jump."""
        name = f"run-{len(self.told)}"
        outputs = Outputs(self.folder, (CANARY,))
        async with (
            open_ledger(
                self.folder / "ledger.jsonl", name, threads=self.threads, now=self.now
            ) as ledger,
            self.connected() as transport,
        ):
            self.batch = Batch(
                lanes=lanes,
                selection=Selection(
                    ledger.state, outputs, open_shelves(self.reuse, self.folder), redo
                ),
                resources=Resources(
                    dialect=dialect_of(lanes[0].model.model),
                    transport=transport,
                    ledger=ledger,
                    outputs=outputs,
                    budget=budget or Purse(),
                    price_at=price_at
                    or (lambda model, _: PRICES.get(model.model) if priced else None),
                    settings=self.settings,
                    secrets=(CANARY,),
                    unbilled_statuses=frozenset(self.unbilled_statuses),
                    threads=self.threads,
                    keep_text=self.keep_text,
                    sharing=self.sharing,
                    links=self.links,
                    buckets=self.buckets,
                    mirror=self.mirror,
                ),
                run_options=run_options or RunOptions(seed=7),
                observer=self.observer,
                late=self.late,
            )
            self.told[name] = self.batch.summary
            with scope or anyio.CancelScope():
                await self.batch.run()
            return self.batch.summary

    async def stopped(
        self,
        seconds: float,
        lanes: Sequence[TestLane],
        reason: RetouchError | None = None,
        *,
        budget: Purse | None = None,
    ) -> Summary:
        """One run that is stopped in order after so many seconds: by Ctrl-C, if for no other
        reason."""
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                await anyio.sleep(seconds)
                assert self.batch is not None
                self.batch.stop(reason or Interrupted("interrupted"))

            group.start_soon(stop)
            await self.run(lanes, budget=budget)
        assert self.batch is not None
        return self.batch.summary

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Transport]:
        """The way to the provider: in process."""
        connection = Connection(
            base_url=BASE_URL,
            key=ApiKey(CANARY),
            fallback_urls=self.fallback_urls,
            app=self.provider,
        )
        async with open_transport(connection, concurrency=64) as transport:
            yield transport

    @property
    def records(self) -> list[AnyRecord]:
        return list(Reader(self.folder / "ledger.jsonl"))

    def records_of(self, kind: type[R]) -> list[R]:
        """The records of one kind, in order."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def state(self) -> Replay:
        return replay(self.records)

    def bytes_written(self) -> Iterator[tuple[Path, bytes]]:
        """Every file under the folder, for canaries."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()
