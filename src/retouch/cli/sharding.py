"""`--shard`: one process's part of a manifest, and its share of the limits."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from retouch.cli.workspace import Workspace
from retouch.cluster import Shard, ShardPlan, divided, shard_of, share_problems
from retouch.cluster.shares import amount_of
from retouch.engine.selection import JobStream
from retouch.errors import InputRefused
from retouch.money import Money
from retouch.plan import Plan


def add_shard(parser: argparse.ArgumentParser) -> None:
    """`--shard` and `--shards-share`."""
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="do the I-th of N parts alone, at an N-th of limits and budget; auto: the one that "
        "Slurm's array says, auto/N: that Kubernetes' index says",
    )
    add_share(parser)


def add_share(parser: argparse.ArgumentParser) -> None:
    """`--shards-share`."""
    parser.add_argument(
        "--shards-share",
        choices=("split", "all"),
        default=None,
        help="of shards: split limits and budget among them (default), or give each the whole: all",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """How the work is divided: the `shard` that this process does, and whether it `has_whole`
    limits and budget."""

    shard: Shard
    has_whole: bool = False

    @property
    def said(self) -> str:
        """For people: shard 2/4."""
        return f"shard {self.shard.said}"

    def workspace(self, whole: Workspace) -> Workspace:
        """The same, with the shard's ledger and its share of limits and money."""
        loaded = whole.loaded if self.has_whole else divided(whole.loaded, self.shard)
        return replace(whole, loaded=loaded, part=self.shard.part)

    def plan(self, plan: Plan, workspace: Workspace) -> ShardPlan:
        """What of the plan is the shard's; `workspace` is the shard's, too."""
        return ShardPlan.of(plan.lanes, self.shard, workspace.loaded.manifest.models)

    def amount(self, money: Money) -> Money:
        """The shard's share of an amount that was given on the command line."""
        if self.has_whole:
            return money
        return Money(amount_of(money.amount, self.shard.count), money.currency)

    def jobs(self, limit: int | None) -> int | None:
        """The shard's share of `--limit`; the shares add up to it."""
        if limit is None or self.has_whole:
            return limit
        return limit // self.shard.count + (self.shard.index <= limit % self.shard.count)


def split_of(said: str | None, share: str | None, environment: Mapping[str, str]) -> Split | None:
    """What `--shard` and `--shards-share` say; None: there are no shards. Raises InputRefused."""
    if said is None:
        if share is not None:
            raise InputRefused("--shards-share says how shards share: name one by --shard I/N")
        return None
    return Split(shard_of(said, environment), share == "all")


def refuse_undivided(workspace: Workspace, lanes: Sequence[JobStream], split: Split | None) -> None:
    """Raises InputRefused where limits of the manifest cannot be divided by so many."""
    if split is None or split.has_whole:
        return
    problems = share_problems(workspace.loaded, lanes, split.shard.count)
    if problems:
        raise InputRefused(problems)
