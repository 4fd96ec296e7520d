"""`retouch run --ray`: the driver of a run on many machines.

It plans, asks, holds the folder, starts holder and workers, shows one bar, heeds Ctrl-C and says
how it ended, as a run on one machine does; what is sent, its workers send (see `hands`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import anyio

from retouch.cli.budgets import budget_of
from retouch.cli.confirm import confirm, left_undone
from retouch.cli.connection import connect, forget_tasks, is_marked
from retouch.cli.geometry import GeometryLook
from retouch.cli.hands import Order, ShardHands, ShardSummary, marked
from retouch.cli.interrupts import Interrupts
from retouch.cli.notify import notices_of
from retouch.cli.output import say
from retouch.cli.progress import Ahead, Progress, showing
from retouch.cli.running import RunFlags, keep_snapshot, tell_hook, watching
from retouch.cli.summary import nothing_to_do, say_outside, tell_end
from retouch.cli.workspace import Workspace, outside_plan
from retouch.cluster.purse import News
from retouch.cluster.ray import Crew, Hidden, hold, processors, shards_for, started
from retouch.cluster.shards import shard_owning
from retouch.cluster.wire import AGAIN, BUDGET, Reason
from retouch.engine.budget import Purse
from retouch.engine.context import JobEnd
from retouch.engine.notices import Notices
from retouch.engine.outputs import Outputs
from retouch.engine.paying_again import paying_again
from retouch.engine.selection import JobStream, LaneCount, Selection, choices, open_shelves, tally
from retouch.engine.summary import Summary
from retouch.errors import DeadlineReached, Interrupted, RetouchError
from retouch.ledger import read
from retouch.ledger.decision import Redo, Send
from retouch.ledger.state import Replay
from retouch.plan import Plan
from retouch.storage.lock import exclusive
from retouch.storage.part import Part, ledgers_in, part_of
from retouch.text import how_many
from retouch.transport import LATE_SECONDS, Connection, open_transport


@dataclass(frozen=True, slots=True)
class CrewRun:
    """One run on a cluster. `flags` are what the command line says, `address` where Ray is ("": as
    it finds it)."""

    workspace: Workspace
    plan: Plan
    redo: Redo
    flags: RunFlags
    rehearse: bool
    address: str
    workers: int
    run: str
    has_mirror: bool

    def go(self) -> int:
        """Do it; returns the exit code."""
        workspace = self.workspace
        shards = self._shards()
        with exclusive(workspace.folder, part=Part(shards, 0)), marked(workspace.folder, self.run):
            state = read(workspace.ledger)
            selection = self.selection(state)
            outside = outside_plan(workspace, self.plan, state)
            streams: tuple[JobStream, ...] = (*self.plan.lanes, *outside.lanes)
            lanes = [tally(lane, selection) for lane in streams]
            say_outside(outside)
            if not any(lane.has_work for lane in lanes) and not any(state.unanswered()):
                return nothing_to_do(lanes)
            budget = budget_of(workspace, state, self.flags.budget)
            limit = self.flags.run_options.limit
            confirm(workspace, self.plan, selection, limit=limit, yes=self.flags.yes)
            connection = connect(workspace, os.environ, self.flags.url_map)
            say(f"{how_many(self.workers, 'worker')} on Ray: starting, which takes some seconds")
            with started(self.address or None, self.workers) as ray:
                self._say_room(ray)
                work = _Work(self, ray, connection, shards, state, lanes, budget)
                return anyio.run(work.go)

    def selection(self, state: Replay) -> Selection:
        """What is to be done as things stand."""
        loaded = self.workspace.loaded
        shelves = open_shelves(loaded.manifest.reuse, loaded.folder)
        return Selection(state, Outputs(self.workspace.folder), shelves, self.redo)

    def _shards(self) -> int:
        """As many as an earlier run had, if that is enough for the workers."""
        parts = (part_of(path) for path in ledgers_in(self.workspace.folder))
        return shards_for(self.workers, [part.count for part in parts if part and part.count])

    def _say_room(self, ray: Any) -> None:
        room = processors(ray)
        if room < self.workers:
            say(f"the cluster has room for {room} workers: the others wait for it to grow")


@dataclass(slots=True)
class _Work:
    """What there is to do, and by what; counted as its workers tell it."""

    run: CrewRun
    ray: Any
    connection: Connection
    shards: int
    before: Replay
    lanes: list[LaneCount]
    budget: Purse
    ended: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    with_task: int = 0

    async def go(self) -> int:
        """Do it, and say how it ended."""
        run, workspace = self.run, self.run.workspace
        look, notices = GeometryLook(), notices_of(workspace, run.run, self.connection.secrets)
        keep_snapshot(workspace, run.plan)
        crew = await self._by_crew(look, notices)
        state = read(workspace.ledger)
        summary = self._summary(crew, state)
        if summary.is_budget_reached:
            say(left_undone(workspace, run.plan, run.selection(state)))
        if workspace.is_rehearsal:
            forget_tasks(workspace, state)
        await tell_hook(notices, state, summary.reason, summary.exit_code)
        if summary.stopped is None and (line := look.line(workspace.folder, workspace.root)):
            say(line)
        code = tell_end(workspace, self.lanes, summary, state)
        ends = (end.summary for end in crew.ends)
        is_mirrored = all(end.is_mirrored for end in ends if isinstance(end, ShardSummary))
        return code or (0 if is_mirrored else 1)

    async def _by_crew(self, look: GeometryLook, notices: Notices | None) -> Crew:
        """Have the shards done, with one bar and one Ctrl-C."""
        run = self.run
        is_virtual = await self._is_virtual()
        ahead = partial(Ahead.of, self.lanes, run.flags.run_options.limit)
        order = self._order(is_virtual=is_virtual)
        with showing(ahead, look, is_virtual=is_virtual, purse=self.budget) as progress:
            crew = Crew(
                self.ray,
                self._holder(),
                ShardHands(order),
                self._environment(),
                run.workers,
                self.shards,
                said=progress.said,
                heard=partial(self._heard, progress),
                money=partial(self._money, notices),
            )
            with Interrupts() as interrupts:
                async with watching(notices, self.budget, progress, is_virtual=is_virtual):
                    await self._until_done(crew, interrupts, progress)
        return crew

    async def _until_done(self, crew: Crew, interrupts: Interrupts, progress: Progress) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._heed, crew, interrupts, progress)
            if (seconds := self.run.flags.run_options.deadline_seconds) is not None:
                group.start_soon(self._watch_deadline, crew, seconds)
            await crew.run()
            group.cancel_scope.cancel()

    async def _heed(self, crew: Crew, interrupts: Interrupts, progress: Progress) -> None:
        await interrupts.next()
        reason = Reason.of(Interrupted("interrupted; run again to go on"))
        await crew.stop(reason)
        seconds = self.run.workspace.loaded.manifest.run.timeout + LATE_SECONDS
        progress.said(
            f"stopping: what is in flight may take up to {seconds:.0f} s; tasks stay on file. "
            "Press Ctrl-C again to stop now (their charge will be unknown)"
        )
        await interrupts.next()
        await crew.stop(reason, now=True)

    async def _watch_deadline(self, crew: Crew, seconds: float) -> None:
        await anyio.sleep(seconds)
        said = f"the deadline of {seconds:.0f} s has come"
        await crew.stop(Reason.of(DeadlineReached(said, hint="run again for what is left")))

    async def _is_virtual(self) -> bool:
        if self.run.workspace.is_rehearsal:
            return True
        async with open_transport(self.connection, concurrency=1) as transport:
            return await is_marked(transport)

    def _order(self, *, is_virtual: bool) -> Order:
        run, loaded = self.run, self.run.workspace.loaded
        return Order(
            manifest=loaded.path.resolve(),
            sha256=loaded.sha256,
            outputs=run.workspace.root.resolve(),
            rehearse=run.rehearse,
            run=run.run,
            shards=self.shards,
            jobs=sum(lane.jobs_count for lane in run.plan.lanes),
            redo=run.redo,
            caps=tuple(self.budget.caps),
            url_map=run.flags.url_map,
            is_virtual=is_virtual,
            has_mirror=run.has_mirror,
            limits=self._limits(),
        )

    def _limits(self) -> Mapping[int, int] | None:
        """How many of the first jobs that are to be sent each shard has; None: no limit."""
        limit = self.run.flags.run_options.limit
        if limit is None:
            return None
        selection = self.run.selection(self.before)
        sent = (
            job.key
            for lane in self.lanes
            for job, choice in choices(lane.lane, selection)
            if isinstance(choice, Send)
        )
        return Counter(shard_owning(key, self.shards) for key in islice(sent, limit))

    def _holder(self) -> Any:
        manifest = self.run.workspace.loaded.manifest
        again = paying_again(manifest.run).purse.caps
        observed = {
            model: (each.input_tokens, each.output_tokens_per_image)
            for model, each in self.before.observed.items()
        }
        return hold(
            self.ray,
            {BUDGET: self.budget.caps, AGAIN: again},
            {model.name: model.limits for model in manifest.models},
            manifest.run.stop_after_losses,
            observed,
        )

    def _environment(self) -> Hidden:
        """What a worker's own environment may not have."""
        key = self.run.workspace.loaded.manifest.provider.api_key_env
        names = [name for name in (key, "OPENAI_BASE_URL") if name]
        return Hidden({name: os.environ[name] for name in names if name in os.environ})

    def _heard(self, progress: Progress, event: JobEnd | str) -> None:
        if isinstance(event, str):
            progress.said(event)
            return
        self.ended[event.ended] += 1
        self.settled[event.job.lane_name] += event.ended in ("done", "failed", "unknown")
        self.with_task += event.ended == "unknown" and event.task is not None
        progress.ended(event)

    def _money(self, notices: Notices | None, news: News) -> None:
        self.budget.caps[:] = news.caps
        self.budget.reserved = news.reserved
        if notices is not None:
            for cap in news.caps:
                notices.watch(cap)

    def _summary(self, crew: Crew, state: Replay) -> Summary:
        """What all shards did, and why they stopped. What a lost worker had not told yet is on
        file."""
        if crew.losses:
            now, before = state.counts(), self.before.counts()
            for word in ("done", "failed", "unknown", "accepted"):
                self.ended[word] = max(self.ended[word], now[word] - before[word])
        again = paying_again(self.run.workspace.loaded.manifest.run)
        summary = Summary(
            self.ended, unknown_with_task=self.with_task, settled=self.settled, again=again
        )
        reasons: list[RetouchError] = [crew.gave_up] if crew.gave_up else []
        for end in crew.ends:
            if end.error is not None:
                reasons.append(end.error.error)
            if isinstance(end.summary, ShardSummary):
                end.summary.add_to(summary, reasons)
        summary.stopped = max(reasons, key=lambda reason: reason.exit_code, default=crew.stopped)
        return summary
