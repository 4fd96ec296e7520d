"""All lanes of a run, side by side: what is to be done is started in order, each lane at its pace.

The first reason to stop is kept; from then on nothing new starts, what is in flight ends and is
recorded. Tasks are fetched, for they are paid for, unless the reason leaves them to the next run.
Tasks of earlier runs are polled before anything is sent.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from retouch.costs.pricing import ceiling_of
from retouch.engine.context import Context, JobEnd, LaneTools, Resources
from retouch.engine.job_run import run_job
from retouch.engine.late import LateCount
from retouch.engine.limiter import Stop
from retouch.engine.outputs import Outputs
from retouch.engine.pacing import PollPace
from retouch.engine.polling import Polls
from retouch.engine.recorder import Recorder, source_of
from retouch.engine.selection import (
    OLDER_COPY,
    OWN_LEDGER,
    Choice,
    JobStream,
    Reuse,
    Selection,
    choices,
    copy_choices,
)
from retouch.engine.summary import Observer, RunOptions, Summary
from retouch.errors import (
    DeadlineReached,
    Interrupted,
    LedgerTaken,
    RetouchError,
    StorageFailed,
)
from retouch.job import Job
from retouch.ledger.decision import Hold, HoldRejected, Poll, Send, Skip
from retouch.ledger.records import ErrorRecord, FileRecord, Reused, Started, Unknown
from retouch.storage.descriptors import when_free
from retouch.text import how_many, one_clean_line, without_secrets
from retouch.transport import LATE_SECONDS

SEEN_AT_ONCE = 64  # jobs scanned before the other lanes get their turn


class Batch:
    """One run over a plan's lanes; the caller holds the folder's lock and the open ledger."""

    def __init__(
        self,
        *,
        lanes: Sequence[JobStream],
        selection: Selection,
        resources: Resources,
        run_options: RunOptions,
        observer: Observer,
        late: Sequence[LateCount] = (),
    ) -> None:
        self.summary = Summary(again=resources.sharing.again(resources.settings))
        self._lanes = tuple(lanes)
        self._late = tuple(late)
        self._selection = selection
        self._run_options = run_options
        self._observer = observer
        self._ledger = resources.ledger
        self._began = 0
        self._stops = [Stop() for _ in lanes]
        self._left = run_options.limit if run_options.limit is not None else float("inf")
        self._chance = random.Random(run_options.seed)  # noqa: S311 - jitter, not cryptography
        self._context = Context.of(
            resources,
            chance=self._chance,
            stop_run=self.stop,
            ended=self._ended,
            say=self._say,
            again=self.summary.again,
        )

    @property
    def in_flight(self) -> int:
        """How many Jobs have begun and not ended."""
        return self._began - sum(self.summary.ended.values())

    @property
    def longest_wait_seconds(self) -> float:
        """How long what is in flight may take at most: its deadline, and reading on after it."""
        return self._context.settings.timeout + LATE_SECONDS

    def stop(self, reason: RetouchError) -> None:
        """Start nothing new in any lane; the first reason is the one that is told."""
        if self.summary.stopped is None:
            self.summary.stopped = reason
            if not reason.leaves_tasks and self.in_flight:
                self._say(f"{reason.message}; ending what is in flight")
        for stop in self._stops:
            stop.set(reason)

    def stop_lane(self, name: str, reason: RetouchError) -> None:
        """Start nothing new in one lane, by its model's name."""
        for lane, stop in zip(self._lanes, self._stops, strict=True):
            if lane.model.name == name:
                stop.set(reason)

    @property
    def lane_stops(self) -> dict[str, RetouchError]:
        """Why lanes were stopped that the run was not, by the names of their models."""
        return {
            lane.model.name: stop.reason
            for lane, stop in zip(self._lanes, self._stops, strict=True)
            if stop.reason is not None and stop.reason is not self.summary.stopped
        }

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
        self.summary.lane_stops |= self.lane_stops
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
            partial(self._context.price_at, model),
            lane.capabilities,
            self._context.sharing.limiter(model),
            polls,
            self._context.sharing.losses(model, self._context.settings.stop_after_losses),
            stop,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(polls.run)
            async with anyio.create_task_group() as jobs:
                await self._feed(lane, tools, jobs)
            await self._deliver(lane)
            group.cancel_scope.cancel()

    def _say(self, text: str) -> None:
        self._observer.said(one_clean_line(without_secrets(text, self._context.secrets)))

    async def _feed(self, lane: JobStream, tools: LaneTools, jobs: TaskGroup) -> None:
        """Start what is to be polled, then what is to be sent; note what is passed over."""
        polled = await self._feed_tasks(lane, tools, jobs)
        if polled is None:
            return
        late = next((each for each in self._late if each.lane is lane), None)
        turns = choices(lane, self._selection) if late is None else late.choices(self._selection)
        for seen, found in enumerate(turns):
            if tools.stop:
                return
            if found is None:  # passed over for now
                if not seen % SEEN_AT_ONCE:
                    await anyio.lowlevel.checkpoint()
                continue
            job, choice = found
            if polled and job.key in polled:
                continue
            decision = await self._delivered(job, choice)
            if isinstance(decision, Send):
                if self._left <= 0 or not await self._start(job, decision, tools, jobs):
                    return
            elif isinstance(decision, Hold) and decision.is_news:
                await self._note_found(job, decision, tools)
            elif not isinstance(decision, Poll | None):
                self._pass(job, decision)
            await anyio.lowlevel.checkpoint()

    async def _feed_tasks(
        self, lane: JobStream, tools: LaneTools, jobs: TaskGroup
    ) -> set[str] | None:
        """Start what is to be polled; its keys, for it may have ended before the second pass comes
        to it. None when the lane has been stopped."""
        polled: set[str] = set()
        if self._ledger.state.tasks_out:
            for seen, (job, choice) in enumerate(choices(lane, self._selection)):
                if isinstance(choice, Poll):
                    if not await self._start(job, choice, tools, jobs):
                        return None
                    polled.add(job.key)
                if not seen % SEEN_AT_ONCE:
                    await anyio.lowlevel.checkpoint()
        return polled

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
            try:
                self._context.keep_text(job.prompt.text)
            except StorageFailed as error:
                self.stop(error)
                with tools.limiter.placed(slots):
                    return False
            self._left -= 1
        self._began += 1
        self._observer.began(job)
        jobs.start_soon(self._run_job, job, decision, tools, slots)
        return True

    async def _run_job(self, job: Job, decision: Send | Poll, tools: LaneTools, slots: int) -> None:
        with tools.limiter.placed(slots):
            try:
                await run_job(job, decision, tools, self._context)
            except (StorageFailed, LedgerTaken) as error:
                self.stop(error)
                self._ended(JobEnd(job, "stopped"))

    async def _delivered(self, job: Job, choice: Choice) -> Choice | None:
        """The choice, once what is at hand was delivered: None where that was all."""
        return await self._take_over(job, choice) if isinstance(choice, Reuse) else choice

    async def _take_over(self, job: Job, reuse: Reuse) -> Send | None:
        """Deliver finished work to where this manifest wants it, and say so in the ledger; what is
        to be sent instead where its bytes are gone."""
        for offer in (reuse, *reuse.others):
            there = Outputs(offer.folder)

            def deliver(offer: Reuse = offer, there: Outputs = there) -> list[FileRecord | None]:
                return [
                    self._context.outputs.deliver(job.output_path(index), there, file)
                    for index, file in enumerate(offer.files)
                ]

            try:
                found = await self._context.threads(partial(when_free, deliver))
                files = tuple(file for file in found if file is not None)
                if len(files) == len(offer.files):
                    if self._context.mirror is not None:
                        await self._context.mirror.copy(files)
                    await self._ledger.append(self._reused(job, offer.ledger, files))
                    self._pass(job, offer)
                    return None
            except StorageFailed as error:
                self.stop(error)
                return None
        if reuse.instead is not None:
            return reuse.instead
        self._observer.said(
            f"{job.source.name}: its pictures in {reuse.folder} are not what {reuse.ledger} says "
            "any more, and were not taken over; remove them to pay for new ones with "
            "--redo missing"
        )
        self._pass(job, Skip("failed"))
        return None

    def _reused(self, job: Job, ledger: str, files: tuple[FileRecord, ...]) -> Reused:
        known = self._ledger.state.outcomes.get(job.key)
        return Reused(
            key=job.key,
            attempt=known.attempt if known and ledger == OWN_LEDGER else 0,
            model=job.model,
            prompt=job.prompt.id,
            source=job.source.name,
            **source_of(job),
            source_ledger=ledger,
            files=files,
        )

    async def _deliver(self, lane: JobStream) -> None:
        """Bring what is there to the further places of the lane's Jobs; free, so also after a stop
        but for one by the user or the disk."""
        for job, choice in copy_choices(lane, self._selection):
            if isinstance(self.summary.stopped, StorageFailed | Interrupted):
                return
            if isinstance(choice, Reuse):
                await self._take_over(job, choice)
            elif choice is not None:
                self._pass(job, choice)
            await anyio.lowlevel.checkpoint()

    async def _note_found(self, job: Job, hold: Hold, tools: LaneTools) -> None:
        """Say in the ledger that a Job's picture lies there and its Records do not."""
        observed = self._ledger.state.observed.get(job.model)
        ceiling = ceiling_of(job, tools.price_at(self._ledger.now()), tools.capabilities, observed)
        log = Recorder(job, self._ledger, ceiling, self._context.secrets)
        error = ErrorRecord(
            kind="broken_reply",
            code=OLDER_COPY,
            message="its picture lies at its place and no record names it: is this ledger an "
            "older copy?",
        )
        try:
            await log.unknown(hold.attempt, error)
        except StorageFailed as failed:
            return self.stop(failed)
        return self._pass(job, hold)

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
        self.summary.unknown_with_task += end.ended == "unknown" and end.task is not None
        self.summary.settled[end.job.lane_name] += end.ended in ("done", "failed", "unknown")
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
