"""`retouch run`: edit the pictures of a manifest, paying for each piece of work once."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from retouch import __version__
from retouch.cli.budgets import add_budget, budget_of
from retouch.cli.confirm import add_yes, confirm, left_undone
from retouch.cli.connection import Connection, add_url_map, base_url_of, connect, forget_tasks
from retouch.cli.geometry import GeometryLook
from retouch.cli.interrupts import Interrupts
from retouch.cli.output import say
from retouch.cli.progress import Progress, showing
from retouch.cli.summary import nothing_to_do, tell_end
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    refuse_problems,
)
from retouch.engine.batch import Batch
from retouch.engine.budget import Purse
from retouch.engine.outputs import Outputs
from retouch.engine.selection import LaneCount, Selection, open_shelves, tally
from retouch.engine.summary import RunOptions, Summary
from retouch.errors import InputRefused, Interrupted, StorageFailed
from retouch.ledger import Ledger, open_ledger
from retouch.ledger.decision import Redo
from retouch.ledger.records import RunBegins, RunEnds
from retouch.money import Money, exact
from retouch.plan import Plan
from retouch.storage.durable import make_folder, replace_whole
from retouch.storage.lock import Hold, exclusive
from retouch.text import how_many, one_clean_line, without_signatures

_KEY_DIGITS = 64
_DEADLINE = re.compile(r"([0-9]{1,9})([smh]?)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch run`."""
    add_manifest(parser)
    parser.add_argument("--limit", metavar="N", type=int, help="send at most N jobs")
    parser.add_argument(
        "--redo",
        metavar="WHAT",
        nargs="+",
        default=[],
        help="pay again for: failed, unknown, missing (pictures gone), or jobs by their key",
    )
    parser.add_argument(
        "--deadline", metavar="TIME", help="start nothing new after so long, like 6h or 90m"
    )
    add_budget(parser)
    add_yes(parser)
    add_url_map(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit code of DESIGN §7."""
    if arguments.limit is not None and arguments.limit < 1:
        raise InputRefused(f"--limit {arguments.limit}: at least 1 job")
    run_options = RunOptions(arguments.limit, _seconds(arguments.deadline))
    workspace = open_workspace(arguments)
    redo = _redo(arguments.redo, workspace)
    plan = make_plan(workspace)
    refuse_problems(workspace, plan)
    make_folder(workspace.folder)
    with exclusive(workspace.folder) as hold:
        return anyio.run(_Run(workspace, hold, plan, redo, run_options, arguments).go)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run on one outputs folder, which is locked."""

    workspace: Workspace
    hold: Hold
    plan: Plan
    redo: Redo
    run_options: RunOptions
    arguments: argparse.Namespace

    async def go(self) -> int:
        """Open the ledger, see what is to be done, do it, say how it ended."""
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        workspace = self.workspace
        async with open_ledger(workspace.ledger, run_id, hold=self.hold, say=say) as ledger:
            selection = Selection(
                ledger.state,
                Outputs(workspace.folder),
                open_shelves(workspace.loaded.manifest.reuse, workspace.loaded.folder),
                self.redo,
            )
            lanes = [tally(lane, selection) for lane in self.plan.lanes]
            if not any(lane.has_work for lane in lanes) and not any(ledger.state.unanswered()):
                return nothing_to_do(lanes)
            budget = budget_of(workspace, ledger.state, self.arguments.budget)
            confirm(workspace, self.plan, selection, self.arguments)
            connection = connect(workspace, os.environ, self.arguments.map)
            await self._begin(ledger)
            look = GeometryLook()
            summary = await self._work(ledger, selection, lanes, connection, budget, look=look)
            await _end(ledger, summary)
            if ledger.taken is not None and summary.stopped is None:
                summary.stopped = ledger.taken
            if summary.is_budget_reached:
                say(left_undone(workspace, self.plan, selection))
            if workspace.is_rehearsal:
                forget_tasks(workspace, ledger.state)
        if summary.stopped is None and (line := look.line(workspace.folder, workspace.root)):
            say(line)
        return tell_end(workspace, lanes, summary)

    async def _begin(self, ledger: Ledger) -> None:
        loaded = self.workspace.loaded
        write_snapshot(self.workspace, self.plan)
        await ledger.append(
            RunBegins(
                manifest=loaded.path.name,
                manifest_sha256=loaded.sha256,
                retouch=__version__,
                provider="rehearsal"
                if self.workspace.is_rehearsal
                else self.workspace.dialect.NAME,
                base_url=base_url_of(self.workspace, os.environ),
                jobs=sum(lane.jobs_count for lane in self.plan.lanes),
                prices_sha256=loaded.prices.sha256 if loaded.prices else None,
            )
        )

    async def _work(
        self,
        ledger: Ledger,
        selection: Selection,
        lanes: list[LaneCount],
        connection: Connection,
        budget: Purse,
        *,
        look: GeometryLook,
    ) -> Summary:
        """Run the batch with progress and signals; what was kept is in the ledger whatever
        happens."""
        workspace = self.workspace
        manifest = workspace.loaded.manifest
        jobs = sum(lane.to_send + lane.to_poll for lane in lanes)
        held = sum(lane.held for lane in lanes)
        concurrency = sum(model.limits.concurrency for model in manifest.models)
        async with connection.open(concurrency) as transport:
            shown = jobs if self.run_options.limit is None else min(jobs, self.run_options.limit)
            with showing(shown, held, look, is_virtual=workspace.is_rehearsal) as progress:
                batch = Batch(
                    lanes=self.plan.lanes,
                    dialect=workspace.dialect,
                    transport=transport,
                    ledger=ledger,
                    outputs=Outputs(workspace.folder, connection.secrets),
                    selection=selection,
                    budget=budget,
                    prices=workspace.prices,
                    settings=manifest.run,
                    run_options=self.run_options,
                    observer=progress,
                    secrets=connection.secrets,
                )
                with Interrupts() as interrupts:
                    return await _until_done(batch, progress, interrupts)


async def _until_done(batch: Batch, progress: Progress, interrupts: Interrupts) -> Summary:
    """Run the batch; the first signal lets it end in order, the second stops it now."""
    async with anyio.create_task_group() as group:
        group.start_soon(_heed, interrupts, batch, progress, group.cancel_scope)
        await batch.run()
        group.cancel_scope.cancel()
    return batch.summary


async def _heed(
    interrupts: Interrupts, batch: Batch, progress: Progress, scope: anyio.CancelScope
) -> None:
    await interrupts.next()
    batch.stop(Interrupted("interrupted; run again to go on"))
    progress.said(
        f"stopping: {how_many(batch.in_flight, 'job')} in flight may take up to "
        f"{batch.longest_wait_seconds:.0f} s; tasks stay on file. "
        "Press Ctrl-C again to stop now (their charge will be unknown)"
    )
    await interrupts.next()
    scope.cancel()


async def _end(ledger: Ledger, summary: Summary) -> None:
    outcome = "finished"
    if summary.stopped is not None or summary.lane_stops:
        outcome = "interrupted" if isinstance(summary.stopped, Interrupted) else "stopped"
    state = ledger.state
    try:
        await ledger.append(
            RunEnds(
                outcome=outcome,  # type: ignore[arg-type]  # one of the three words above
                counts=dict(sorted(state.counts().items())),
                cost={
                    "confirmed": _amounts(state.totals.confirmed),
                    "unknown_high": _amounts(state.unknown_high),
                },
            )
        )
    except StorageFailed:
        if not isinstance(summary.stopped, StorageFailed):
            raise


def _amounts(sums: dict[str, Money]) -> dict[str, str]:
    return {currency: exact(money.amount) for currency, money in sums.items()}


def _redo(words: list[str], workspace: Workspace) -> Redo:
    """What `--redo` names. Raises InputRefused for a word that is none."""
    named = {"failed", "unknown", "missing"}
    keys = {
        word for word in words if len(word) == _KEY_DIGITS and set(word) <= set("0123456789abcdef")
    }
    for word in words:
        if word not in named and word not in keys:
            raise InputRefused(
                f"--redo {one_clean_line(word, 80)}: neither failed, unknown, missing nor a job's "
                "key (64 hex digits)"
            )
    retry = workspace.loaded.manifest.run.on_unknown == "retry"
    return Redo(
        failed="failed" in words,
        unknown="unknown" in words or retry,
        missing="missing" in words,
        keys=frozenset(keys),
    )


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


def write_snapshot(workspace: Workspace, plan: Plan) -> None:
    """Write `manifest.yaml` and `plan.json`, each replaced whole. Raises StorageFailed."""
    planned = {
        "retouch": __version__,
        "manifest": workspace.loaded.path.name,
        "manifest_sha256": workspace.loaded.sha256,
        "prices_sha256": workspace.loaded.prices.sha256 if workspace.loaded.prices else None,
        "sources": plan.sources,
        "bad_sources": [{"source": bad.source, "reason": bad.reason} for bad in plan.bad_sources],
        "lanes": [{"model": lane.model.model, "jobs": lane.jobs_count} for lane in plan.lanes],
    }
    text = json.dumps(planned, ensure_ascii=False, indent=1)
    replace_whole(workspace.folder / "manifest.yaml", without_signatures(workspace.loaded.text))
    replace_whole(workspace.folder / "plan.json", text.encode() + b"\n")
