"""A crew's hands at work in one process: shards side by side, with a real holder, without Ray."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel

from retouch.cli.budgets import budget_of
from retouch.cli.hands import Order, ShardHands, marked
from retouch.cli.running import keep_snapshot
from retouch.cli.workspace import Workspace, make_plan, open_workspace
from retouch.cluster.purse import Holder
from retouch.cluster.ray import ShardEnd
from retouch.cluster.wire import AGAIN, BUDGET, Reply, Report
from retouch.engine.paying_again import paying_again
from retouch.ledger import read
from retouch.ledger.decision import NOTHING_REDONE
from tests.e2e.house import CANARY, House

T = TypeVar("T")


def sent(thing: T) -> T:
    """The same on another machine."""
    there: T = pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own
    return there


@dataclass
class Office:
    """What a driver has: the order, the holder, and how each shard ended."""

    workspace: Workspace
    order: Order
    holder: Holder
    ends: dict[int, ShardEnd] = field(default_factory=dict)

    async def exchange(self, report: Report) -> Reply:
        await anyio.lowlevel.checkpoint()
        return sent(self.holder.exchange(sent(report), anyio.current_time()))

    async def shard(self, number: int) -> None:
        """One worker does one shard; it may be cancelled, as if it were killed."""
        hands = sent(ShardHands(self.order))
        hands.prepare({**os.environ, "OPENAI_API_KEY": CANARY})
        begun = self.holder.begin(number, anyio.current_time())
        self.ends[number] = sent(await hands.work(number, self.exchange, begun))
        self.holder.end(number)

    async def all(self) -> None:
        """Every shard, side by side."""
        async with anyio.create_task_group() as group:
            for number in range(1, self.order.shards + 1):
                group.start_soon(self.shard, number)


@contextmanager
def office(place: House, shards: int) -> Iterator[Office]:
    """A run's beginning, as its driver makes it, over the house's manifest."""
    path = place.folder / "manifest.yaml"
    workspace = open_workspace(path, place.folder / "outputs", rehearse=False)
    plan = make_plan(workspace)
    workspace.folder.mkdir(parents=True, exist_ok=True)
    caps = budget_of(workspace, read(workspace.ledger), None).caps
    settings = workspace.loaded.manifest.run
    order = Order(
        manifest=Path(path),
        sha256=workspace.loaded.sha256,
        outputs=workspace.root,
        rehearse=False,
        run="20261129T000000-abcdef",
        shards=shards,
        jobs=sum(lane.jobs_count for lane in plan.lanes),
        redo=NOTHING_REDONE,
        caps=tuple(caps),
    )
    holder = Holder(
        {BUDGET: caps, AGAIN: paying_again(settings).purse.caps},
        {model.name: model.limits for model in workspace.loaded.manifest.models},
        settings.stop_after_losses,
        {},
    )
    keep_snapshot(workspace, plan)
    with marked(workspace.folder, order.run):
        yield Office(workspace, order, holder)
