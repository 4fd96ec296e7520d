"""All lanes of a run, side by side: what is to be done is started in order, each lane at its pace.

The first reason to stop is kept; from then on nothing new starts, what is in flight ends and is
recorded. Tasks are fetched, for they are paid for, unless the reason leaves them to the next run.
Tasks of earlier runs are polled before anything is sent.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from retouch.dialects.base import Dialect
from retouch.engine.breaker import Losses
from retouch.engine.budget import Purse
from retouch.engine.context import Context, JobEnd, LaneTools
from retouch.engine.job_run import run_job
from retouch.engine.limiter import Limiter, Stop
from retouch.engine.outputs import Outputs
from retouch.engine.pacing import PollPace
from retouch.engine.paying_again import paying_again
from retouch.engine.polling import Polls
from retouch.engine.selection import Choice, JobStream, Reuse, Selection, choices
from retouch.engine.summary import Observer, RunOptions, Summary
from retouch.errors import DeadlineReached, LedgerTaken, RetouchError, StorageFailed
from retouch.job import Job
from retouch.ledger import Ledger
from retouch.ledger.decision import Hold, HoldRejected, Poll, Send, Skip
from retouch.ledger.records import ErrorRecord, FileRecord, Reused, Started, Unknown
from retouch.manifest import Price, RunSettings
from retouch.storage.descriptors import when_free
from retouch.text import how_many, one_clean_line, without_secrets
from retouch.threads import Threads, in_thread
from retouch.transport import LATE_SECONDS, Transport

SEEN_AT_ONCE = 64  # jobs looked at before other lanes get their turn


class Batch:
    """One run over a plan's lanes; the caller holds the folder's lock and the open ledger."""

    def __init__(
        self,
        *,
        lanes: Sequence[JobStream],
        dialect: Dialect,
        transport: Transport,
        ledger: Ledger,
        outputs: Outputs,
        selection: Selection,
        budget: Purse,
        prices: Mapping[str, Price | None],
        settings: RunSettings,
        run_options: RunOptions,
        observer: Observer,
        secrets: tuple[str, ...] = (),
        unbilled_statuses: Collection[int] = (),
        threads: Threads = in_thread,
    ) -> None:
        self.summary = Summary(again=paying_again(settings))
        self._lanes = tuple(lanes)
        self._selection = selection
        self._prices = prices
        self._run_options = run_options
        self._observer = observer
        self._ledger = ledger
        self._outputs = outputs
        self._threads = threads
        self._began = 0
        self._stops = [Stop() for _ in lanes]
        self._left = run_options.limit if run_options.limit is not None else float("inf")
        self._chance = random.Random(run_options.seed)  # noqa: S311 - jitter, not cryptography
        self._shop = Context(
            dialect=dialect,
            transport=transport,
            ledger=ledger,
            outputs=outputs,
            budget=budget,
            settings=settings,
            threads=threads,
            chance=self._chance,
            secrets=secrets,
            stop_run=self.stop,
            ended=self._ended,
            say=self._say,
            again=self.summary.again,
            unbilled_statuses=frozenset(unbilled_statuses),
        )

    @property
    def in_flight(self) -> int:
        """How many Jobs have begun and not ended."""
        return self._began - sum(self.summary.ended.values())

    @property
    def longest_wait_seconds(self) -> float:
        """How long what is in flight may take at most: its deadline, and reading on after it."""
        return self._shop.settings.timeout + LATE_SECONDS

    def stop(self, reason: RetouchError) -> None:
        """Start nothing new in any lane; the first reason is the one that is told."""
        if self.summary.stopped is None:
            self.summary.stopped = reason
            if not reason.leaves_tasks and self.in_flight:
                self._say(f"{reason.message}; ending what is in flight")
        for stop in self._stops:
            stop.set(reason)

    async def run(self) -> Summary:
        """Do what is to be done; returns when nothing is in flight any more.

        Raises StorageFailed only where nothing could be begun.
        """
        await self._settle_unanswered()
        async with anyio.create_task_group() as group:
            if self._run_options.deadline_seconds is not None:
                group.start_soon(self._watch_deadline, self._run_options.deadline_seconds)
            async with anyio.create_task_group() as lanes:
                for lane, stop in zip(self._lanes, self._stops, strict=True):
                    lanes.start_soon(self._run_lane, lane, stop)
            group.cancel_scope.cancel()
        for lane, stop in zip(self._lanes, self._stops, strict=True):
            if stop.reason is not None and stop.reason is not self.summary.stopped:
                self.summary.lane_stops[lane.model.model] = stop.reason
        return self.summary

    async def _settle_unanswered(self) -> None:
        """Say of each Attempt that an earlier run began and never answered for: unknown."""
        lost = list(self._ledger.state.unanswered())
        records = [_unanswered(key, outcome.began) for key, outcome in lost if outcome.began]
        if records:
            await self._ledger.append(*records)
            self._observer.said(
                f"{how_many(len(records), 'request')} of an earlier run had no answer when it "
                "ended; what was charged for that is not known"
            )

    async def _run_lane(self, lane: JobStream, stop: Stop) -> None:
        model = lane.model
        polls = Polls(
            PollPace(model.poll.interval),
            model.poll.timeout,
            stop,
            self._chance,
            warn=self._say,
        )
        tools = LaneTools(
            model,
            self._prices.get(model.model),
            lane.capabilities,
            Limiter(model.limits),
            polls,
            Losses(self._shop.settings.stop_after_losses),
            stop,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(polls.run)
            async with anyio.create_task_group() as jobs:
                await self._feed(lane, tools, jobs)
            group.cancel_scope.cancel()

    def _say(self, text: str) -> None:
        self._observer.said(one_clean_line(without_secrets(text, self._shop.secrets)))

    async def _feed(self, lane: JobStream, tools: LaneTools, jobs: TaskGroup) -> None:
        """Start what is to be polled, then what is to be sent; note what is passed over."""
        polled: set[str] = set()  # they may have ended before the second pass comes to them
        if self._ledger.state.has_tasks_out:
            for seen, (job, choice) in enumerate(choices(lane, self._selection)):
                if isinstance(choice, Poll):
                    if not await self._start(job, choice, tools, jobs):
                        return
                    polled.add(job.key)
                if not seen % SEEN_AT_ONCE:
                    await anyio.lowlevel.checkpoint()
        for job, choice in choices(lane, self._selection):
            if tools.stop:
                return
            if polled and job.key in polled:
                continue
            if isinstance(choice, Send):
                if self._left <= 0 or not await self._start(job, choice, tools, jobs):
                    return
            elif isinstance(choice, Reuse):
                await self._take_over(job, choice)
            elif not isinstance(choice, Poll):
                self._pass(job, choice)
            await anyio.lowlevel.checkpoint()

    async def _start(
        self, job: Job, decision: Send | Poll, tools: LaneTools, jobs: TaskGroup
    ) -> bool:
        """Start the Job when there is a place for it; False when the lane has been stopped."""
        slots = max(1, tools.capabilities.slots_per_image * job.images_wanted)
        await tools.limiter.place(slots)
        if isinstance(decision, Poll):
            is_over = tools.stop.leaves_tasks
        else:
            is_over = bool(tools.stop) or self._left <= 0
        if is_over:
            with tools.limiter.placed(slots):
                return False
        if isinstance(decision, Send):
            self._left -= 1
        self._began += 1
        self._observer.began(job)
        jobs.start_soon(self._run_job, job, decision, tools, slots)
        return True

    async def _run_job(self, job: Job, decision: Send | Poll, tools: LaneTools, slots: int) -> None:
        with tools.limiter.placed(slots):
            try:
                await run_job(job, decision, tools, self._shop)
            except (StorageFailed, LedgerTaken) as error:
                self.stop(error)
                self._ended(JobEnd(job, "stopped"))

    async def _take_over(self, job: Job, reuse: Reuse) -> None:
        """Copy finished work to where this manifest wants it, and say so in the ledger."""

        there = Outputs(reuse.folder)

        def copy() -> tuple[FileRecord, ...] | None:
            pictures = [there.read(file) for file in reuse.files]
            if None in pictures:
                return None
            return tuple(
                self._outputs.keep(
                    job.output_path(index), data, file.media_type, file.width, file.height
                )
                for index, (file, data) in enumerate(zip(reuse.files, pictures, strict=True))
                if data is not None
            )

        try:
            files = await self._threads(partial(when_free, copy))
            if files is None:
                self._observer.said(
                    f"{job.source.name}: its pictures in {reuse.folder} are not what "
                    f"{reuse.ledger} says any more, and were not taken over; remove them to pay "
                    "for new ones with --redo missing"
                )
                return self._pass(job, Skip("failed"))
            await self._ledger.append(Reused(key=job.key, source_ledger=reuse.ledger, files=files))
        except StorageFailed as error:
            return self.stop(error)
        return self._pass(job, reuse)

    def _pass(self, job: Job, choice: Choice) -> None:
        match choice:
            case Skip(reason=reason):
                self.summary.passed[reason] += 1
            case Hold():
                self.summary.passed["held"] += 1
            case HoldRejected():
                self.summary.passed["rejected"] += 1
            case Reuse():
                self.summary.passed["reused"] += 1
        self._observer.passed(job, choice)

    def _ended(self, end: JobEnd) -> None:
        if self._ledger.taken is not None:
            self.stop(self._ledger.taken)
        self.summary.ended[end.ended] += 1
        self.summary.settled[end.job.model] += end.ended in ("done", "failed", "unknown")
        self._observer.ended(end)

    async def _watch_deadline(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self.stop(
            DeadlineReached(
                f"the deadline of {seconds:.0f} s has come", hint="run again for what is left"
            )
        )


def _unanswered(key: str, began: Started) -> Unknown:
    return Unknown(
        key=key,
        attempt=began.attempt,
        model=began.model,
        prompt=began.prompt,
        source=began.source,
        error=ErrorRecord(
            kind="network", message="no answer on file: the run ended while it was in flight"
        ),
        ceiling=began.ceiling,
    )
