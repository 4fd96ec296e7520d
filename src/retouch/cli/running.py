"""What every run does, on one machine or as a worker of many: its snapshot, its beginning and its
end on file, what it works with, and who is told of its money."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Literal
from urllib.parse import urlsplit

from retouch import __version__
from retouch.cli.buckets import buckets_named
from retouch.cli.connection import REHEARSAL_FOLDER, base_url_of
from retouch.cli.output import say
from retouch.cli.progress import Progress
from retouch.cli.publishing import links_of
from retouch.cli.sharding import Split
from retouch.cli.workspace import Workspace
from retouch.engine.budget import Purse
from retouch.engine.context import Alone, Resources
from retouch.engine.mirror import Mirror
from retouch.engine.notices import Ending, Notices
from retouch.engine.outputs import Outputs
from retouch.engine.prompt_texts import Texts, keep_texts
from retouch.engine.summary import RunOptions, Summary
from retouch.errors import Interrupted, RetouchError, StorageFailed
from retouch.ledger import Ledger
from retouch.ledger.records import RunBegins, RunEnds
from retouch.ledger.state import Replay
from retouch.money import Money, exact
from retouch.plan import Lane, Plan
from retouch.storage.durable import replace_whole
from retouch.text import without_signatures
from retouch.transport import Transport


@dataclass(frozen=True, slots=True)
class RunFlags:
    """How the command was asked to run; `run_options`: the part that the engine heeds."""

    run_options: RunOptions
    budget: str | None
    yes: bool
    url_map: tuple[str, ...]
    split: Split | None = None


def concurrency_of(workspace: Workspace) -> int:
    """How many requests may be in flight at once, in all lanes together."""
    return sum(model.limits.concurrency for model in workspace.loaded.manifest.models)


def keep_snapshot(workspace: Workspace, plan: Plan) -> None:
    """Write what was planned, and the prompts that all sources share; the others are added as
    they are sent. Raises StorageFailed."""
    write_snapshot(workspace, plan)
    keep_texts(workspace.folder, _shared_texts(plan))


def _shared_texts(plan: Plan) -> Iterator[str]:
    return chain.from_iterable(map(Lane.texts, plan.lanes))


def _kept_text(workspace: Workspace) -> bytes:
    """The manifest without what signs its URLs, and without the path of a hook: often a secret."""
    text = workspace.loaded.text
    notify = workspace.loaded.manifest.run.notify
    if notify is not None and notify.url is not None:
        parts = urlsplit(notify.url)
        shown = f"{parts.scheme}://{parts.netloc}/[secret]"
        text = text.replace(notify.url.encode(), shown.encode())
    return without_signatures(text)


def write_snapshot(workspace: Workspace, plan: Plan) -> None:
    """Write `manifest.yaml` and `plan.json`, each replaced whole. Raises StorageFailed."""
    planned = {
        "retouch": __version__,
        "manifest": workspace.loaded.path.name,
        "manifest_sha256": workspace.loaded.sha256,
        "prices_sha256": workspace.loaded.prices.sha256 if workspace.loaded.prices else None,
        "sources": plan.sources,
        "bad_sources": [{"source": bad.source, "reason": bad.reason} for bad in plan.bad_sources],
        "lanes": [{"model": lane.model.name, "jobs": lane.jobs_count} for lane in plan.lanes],
    }
    text = json.dumps(planned, ensure_ascii=False, indent=1)
    replace_whole(workspace.folder / "manifest.yaml", _kept_text(workspace))
    replace_whole(workspace.folder / "plan.json", text.encode() + b"\n")


async def begins(
    ledger: Ledger,
    workspace: Workspace,
    plan: Plan,
    environment: Mapping[str, str],
    *,
    is_virtual: bool,
) -> None:
    """Say in the ledger that a run begins."""
    loaded = workspace.loaded
    await ledger.append(
        RunBegins(
            manifest=loaded.path.name,
            manifest_sha256=loaded.sha256,
            retouch=__version__,
            provider="rehearsal" if is_virtual else workspace.dialect.NAME,
            base_url=base_url_of(workspace, environment),
            jobs=sum(lane.jobs_count for lane in plan.lanes),
            prices_sha256=loaded.prices.sha256 if loaded.prices else None,
            tags=dict(loaded.manifest.tags) or None,
        )
    )


async def ends(ledger: Ledger, summary: Summary) -> None:
    """Say in the ledger that it has ended, and what it came to."""
    state = ledger.state
    try:
        await ledger.append(
            RunEnds(
                outcome=outcome_of(summary.reason),
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


def outcome_of(reason: RetouchError | None) -> Literal["finished", "interrupted", "stopped"]:
    """How a run that stopped for this reason has ended."""
    if reason is None:
        return "finished"
    return "interrupted" if isinstance(reason, Interrupted) else "stopped"


def resources_of(
    workspace: Workspace,
    plan: Plan,
    transport: Transport,
    ledger: Ledger,
    *,
    budget: Purse,
    secrets: tuple[str, ...],
    mirror: Mirror | None = None,
    sharing: Alone | None = None,
) -> Resources:
    """What a run works with."""
    manifest = workspace.loaded.manifest
    return Resources(
        dialect=workspace.dialect,
        transport=transport,
        ledger=ledger,
        outputs=Outputs(workspace.folder, secrets),
        budget=budget,
        price_at=workspace.loaded.price_of,
        settings=manifest.run,
        secrets=secrets,
        unbilled_statuses=frozenset(manifest.provider.unbilled_statuses),
        mirror=mirror,
        links=links_of(workspace, plan, workspace.folder / REHEARSAL_FOLDER),
        buckets=buckets_named(workspace.loaded),
        sharing=sharing or Alone(),
        keep_text=Texts(workspace.folder, _shared_texts(plan)).keep,
    )


@asynccontextmanager
async def watching(
    notices: Notices | None, budget: Purse, progress: Progress, *, is_virtual: bool
) -> AsyncIterator[None]:
    """Tell of the budgets as they come to their ends, until the block does."""
    if notices is None:
        yield
        return
    notices.is_virtual, notices.say = is_virtual, progress.said
    budget.watch = notices.watch
    for cap in budget.caps:
        notices.watch(cap)
    async with notices.sending():
        yield
    notices.say = say


async def tell_hook(
    notices: Notices | None, state: Replay, reason: RetouchError | None, exit_code: int
) -> None:
    """Tell of the run's end, also of one that the disk has made."""
    if notices is not None:
        confirmed, high = state.totals.confirmed, state.unknown_high
        await notices.end(
            Ending(outcome_of(reason), exit_code, state.counts(), confirmed, high, reason)
        )
