"""`retouch run`: edit the pictures of a manifest, paying for each piece of work once."""

from __future__ import annotations

import argparse
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import anyio

from retouch.cli.buckets import say_traffic
from retouch.cli.budgets import add_budget, budget_of
from retouch.cli.confirm import add_yes, confirm, left_undone
from retouch.cli.connection import (
    add_url_map,
    connect,
    connections_allowed,
    forget_tasks,
    is_marked,
)
from retouch.cli.geometry import GeometryLook
from retouch.cli.interrupts import Interrupts
from retouch.cli.ledgers import Found
from retouch.cli.mirroring import close_mirror, kept_up, mirrored
from retouch.cli.notify import notices_of
from retouch.cli.output import say
from retouch.cli.progress import Ahead, Progress, showing
from retouch.cli.ray_options import add_ray, workers_of
from retouch.cli.redo import add_redo, redo_of
from retouch.cli.running import (
    RunFlags,
    begins,
    concurrency_of,
    ends,
    keep_snapshot,
    resources_of,
    tell_hook,
    watching,
)
from retouch.cli.sharding import add_shard, refuse_undivided, split_of
from retouch.cli.summary import nothing_to_do, say_outside, tell_end
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    outside_plan,
    refuse_problems,
)
from retouch.engine.batch import Batch
from retouch.engine.budget import Purse
from retouch.engine.forecast import Planned
from retouch.engine.late import LateCount, counted
from retouch.engine.mirror import Mirror
from retouch.engine.notices import Notices
from retouch.engine.outputs import Outputs
from retouch.engine.selection import JobStream, LaneCount, Selection, open_shelves
from retouch.engine.summary import RunOptions, Summary
from retouch.errors import InputRefused, Interrupted, RetouchError, StorageFailed
from retouch.ledger import Ledger, open_ledger, read
from retouch.ledger.decision import Redo
from retouch.plan import Plan
from retouch.storage.durable import make_folder
from retouch.storage.lock import Hold, exclusive, held_beside
from retouch.storage.part import WHOLE, Part
from retouch.text import how_many, one_clean_line
from retouch.transport import Connection, open_transport

_DEADLINE = re.compile(r"([0-9]{1,9})([smh]?)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch run`."""
    add_manifest(parser)
    parser.add_argument("--limit", metavar="N", type=int, help="send at most N jobs")
    add_redo(parser)
    parser.add_argument(
        "--deadline", metavar="TIME", help="start nothing new after so long, like 6h or 90m"
    )
    add_budget(parser)
    add_shard(parser)
    add_ray(parser)
    parser.add_argument(
        "--no-report", action="store_true", help="write no gallery and costs page at the end"
    )
    parser.add_argument(
        "--no-mirror", action="store_true", help="copy nothing to output.mirror this time"
    )
    add_yes(parser)
    add_url_map(parser)


def _options(arguments: argparse.Namespace) -> RunFlags:
    """What the flags say. Raises InputRefused for a limit or a deadline that is none."""
    if arguments.limit is not None and arguments.limit < 1:
        raise InputRefused(f"--limit {arguments.limit}: at least 1 job")
    split = split_of(arguments.shard, arguments.shards_share, os.environ)
    limit = split.jobs(arguments.limit) if split else arguments.limit
    run_options = RunOptions(limit, _seconds(arguments.deadline))
    return RunFlags(run_options, arguments.budget, arguments.yes, tuple(arguments.map), split)


def run(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit code of DESIGN §7."""
    options = _options(arguments)
    split = options.split
    workers = workers_of(arguments.ray, arguments.workers, arguments.shard)
    whole = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    plan = make_plan(whole)
    refuse_problems(whole, plan)
    refuse_undivided(whole, plan.lanes, split)
    workspace = split.workspace(whole) if split else whole
    to_do = split.plan(plan, workspace) if split else plan
    concurrency = concurrency_of(workspace)
    connections = None if workspace.is_rehearsal else connections_allowed(concurrency)
    redo = redo_of(arguments.redo, workspace, plan)
    make_folder(workspace.folder)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    wanted = not arguments.no_mirror
    closing = _Closing(whole, plan, arguments.rehearse, has_report=not arguments.no_report)
    if workers:
        from retouch.cli.crew import CrewRun  # noqa: PLC0415 - start-up time

        code = CrewRun(
            workspace,
            plan,
            redo,
            options,
            arguments.rehearse,
            arguments.ray,
            workers,
            run_id,
            wanted,
        ).go()
        closing.close(workspace.part, code)
        return code
    with (
        exclusive(workspace.folder, part=workspace.part) as hold,
        mirrored(workspace, rehearse=arguments.rehearse, wanted=wanted) as mirror,
    ):
        job = _Run(workspace, hold, plan, to_do, redo, options, connections, mirror, run_id)
        code = anyio.run(job.go)
        is_last = closing.close(workspace.part, code)
        code = close_mirror(mirror, code)
    if not is_last:  # of shards that ended at once, each saw another
        closing.close(workspace.part, code)
    say_traffic()
    return code


@dataclass(frozen=True, slots=True)
class _Closing:
    """What is done at a run's end for the folder as a whole: by the last shard that was at work."""

    workspace: Workspace
    plan: Plan
    rehearse: bool
    has_report: bool

    def close(self, part: Part, code: int) -> bool:
        """Do it, unless others than this part are at work; whether none was."""
        folder = self.workspace.folder
        if part.count and held_beside(folder, part):
            return False
        if self.has_report and code != StorageFailed.exit_code:
            _write_report(self.workspace, self.plan, rehearse=self.rehearse)
        if part.count and self.workspace.is_rehearsal:
            forget_tasks(self.workspace, read(self.workspace.ledger))
        return True


def _write_report(workspace: Workspace, plan: Plan, *, rehearse: bool) -> None:
    """The gallery and the costs page. Whatever hinders it, the run has ended as it has."""
    # Here and not above: slow to import, and of no use to what sends.
    from retouch.cli import pages  # noqa: PLC0415

    found = Found(workspace.folder / WHOLE.ledger, workspace.loaded)
    try:
        subject = pages.subject_of(found, workspace.root, rehearse=rehearse, plan=plan)
        written = pages.refresh_report(subject)
    except KeyboardInterrupt:
        say("the report is not whole; `retouch report MANIFEST --format html` writes it")
    except RetouchError as error:
        say(f"no report: {error.message}")
    else:
        if written is not None:
            say(f"look at them in {written}, or by `retouch review`")


@dataclass(frozen=True, slots=True)
class _Run:
    """One run on one outputs folder, or one shard of it, which is locked. `to_do` is what of the
    plan is done here."""

    workspace: Workspace
    hold: Hold
    plan: Plan
    to_do: Planned
    redo: Redo
    options: RunFlags
    connections: int | None
    mirror: Mirror | None
    run_id: str

    async def go(self) -> int:
        """Open the ledger, see what is to be done, do it, say how it ended."""
        workspace, split = self.workspace, self.options.split
        keeps = split.shard.owns if split else None
        async with open_ledger(
            workspace.ledger, self.run_id, hold=self.hold, say=say, keeps=keeps
        ) as ledger:
            selection = Selection(
                ledger.state,
                Outputs(workspace.folder),
                open_shelves(workspace.loaded.manifest.reuse, workspace.loaded.folder),
                self.redo,
            )
            outside = outside_plan(workspace, self.to_do, ledger.state)
            streams: tuple[JobStream, ...] = (*self.to_do.lanes, *outside.lanes)
            lanes = [counted(lane, selection) for lane in streams]
            say_outside(outside)
            if not any(lane.has_work for lane in lanes) and not any(ledger.state.unanswered()):
                return nothing_to_do(lanes)
            budget = budget_of(
                workspace, ledger.state, self.options.budget, split=split, counted=ledger.shared
            )
            budget.today = lambda: ledger.now().date().isoformat()
            confirm(
                workspace,
                self.to_do,
                selection,
                limit=self.options.run_options.limit,
                yes=self.options.yes,
            )
            connection = connect(workspace, os.environ, self.options.url_map)
            look = GeometryLook()
            notices = notices_of(workspace, self.run_id, connection.secrets)
            try:
                summary = await self._work(
                    ledger, selection, lanes, connection, budget, look=look, notices=notices
                )
                await ends(ledger, summary)
                for lane in lanes:
                    if isinstance(lane, LateCount):
                        lane.complete(selection)
            except RetouchError as error:
                await tell_hook(notices, ledger.state, error, error.exit_code)
                raise
            if ledger.taken is not None:
                summary.stopped = summary.stopped or ledger.taken
                if self.mirror is not None:
                    self.mirror.abandon()
            if summary.is_budget_reached:
                say(left_undone(workspace, self.to_do, selection))
            if workspace.is_rehearsal and split is None:
                forget_tasks(workspace, ledger.state)
            await tell_hook(notices, ledger.state, summary.reason, summary.exit_code)
        if summary.stopped is None and (line := look.line(workspace.folder, workspace.root)):
            say(line)
        return tell_end(workspace, lanes, summary, ledger.state)

    async def _work(
        self,
        ledger: Ledger,
        selection: Selection,
        lanes: list[LaneCount],
        connection: Connection,
        budget: Purse,
        *,
        look: GeometryLook,
        notices: Notices | None,
    ) -> Summary:
        """Run the batch with progress and signals; what was kept is in the ledger whatever
        happens."""
        workspace = self.workspace
        late = [lane for lane in lanes if isinstance(lane, LateCount)]
        async with open_transport(
            connection, concurrency=concurrency_of(workspace), connections=self.connections
        ) as transport:
            is_virtual = workspace.is_rehearsal or await is_marked(transport)
            keep_snapshot(workspace, self.plan)
            await begins(ledger, workspace, self.plan, os.environ, is_virtual=is_virtual)
            ahead = partial(Ahead.of, lanes, self.options.run_options.limit)
            name = self.options.split.said if self.options.split else ""
            with showing(ahead, look, is_virtual=is_virtual, purse=budget, name=name) as progress:
                batch = Batch(
                    lanes=[lane.lane for lane in lanes],
                    selection=selection,
                    resources=resources_of(
                        workspace,
                        self.plan,
                        transport,
                        ledger,
                        budget=budget,
                        secrets=connection.secrets,
                        mirror=self.mirror,
                    ),
                    run_options=self.options.run_options,
                    observer=progress,
                    late=late,
                )
                with Interrupts() as interrupts:
                    async with (
                        watching(notices, budget, progress, is_virtual=is_virtual),
                        kept_up(self.mirror, ledger, batch, progress.said),
                    ):
                        return await _until_done(batch, progress, interrupts, self.mirror)


async def _until_done(
    batch: Batch, progress: Progress, interrupts: Interrupts, mirror: Mirror | None
) -> Summary:
    """Run the batch; the first signal lets it end in order, the second stops it now."""
    async with anyio.create_task_group() as group:
        group.start_soon(_heed, interrupts, batch, progress, group.cancel_scope, mirror)
        await batch.run()
        group.cancel_scope.cancel()
    return batch.summary


async def _heed(
    interrupts: Interrupts,
    batch: Batch,
    progress: Progress,
    scope: anyio.CancelScope,
    mirror: Mirror | None,
) -> None:
    await interrupts.next()
    batch.stop(Interrupted("interrupted; run again to go on"))
    progress.said(
        f"stopping: {how_many(batch.in_flight, 'job')} in flight may take up to "
        f"{batch.longest_wait_seconds:.0f} s; tasks stay on file. "
        "Press Ctrl-C again to stop now (their charge will be unknown)"
    )
    await interrupts.next()
    if mirror is not None:
        mirror.give_up()
    scope.cancel()


def _seconds(text: str | None) -> float | None:
    """`90`, `90s`, `15m`, `6h` as seconds."""
    if text is None:
        return None
    written = _DEADLINE.fullmatch(text)
    if written is None or not int(written[1]):
        raise InputRefused(
            f"--deadline {one_clean_line(text, 40)}: write a whole number with s, m or h, like 6h"
        )
    return float(written[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[written[2]]
