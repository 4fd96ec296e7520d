"""`--shard`: one process's part of a manifest, and its share of the limits."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from retouch.cli.workspace import Workspace
from retouch.cluster import Shard, ShardPlan, divided, shard_of, share_problems
from retouch.cluster.shards import nth
from retouch.cluster.shares import amount_of, limits_said
from retouch.engine.selection import JobStream
from retouch.errors import InputRefused, Problem
from retouch.manifest import Manifest
from retouch.money import Money, exact
from retouch.plan import Plan
from retouch.text import how_many, one_clean_line


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
        return nth(limit, self.shard)


def split_of(said: str | None, share: str | None, environment: Mapping[str, str]) -> Split | None:
    """What `--shard` and `--shards-share` say; None: there are no shards. Raises InputRefused."""
    if said is None:
        if share is not None:
            raise InputRefused("--shards-share says how shards share: name one by --shard I/N")
        return None
    return Split(shard_of(said, environment), share == "all")


@dataclass(frozen=True, slots=True)
class ShardShare:
    """What one shard does and what it may use; `manifest` has its share."""

    split: Split
    jobs: int
    manifest: Manifest

    @property
    def line(self) -> str:
        """For people; one model and one budget after the other."""
        parts = [how_many(self.jobs, "job")]
        models = self.manifest.models
        for model in models:
            name = f"{one_clean_line(model.name, 60)}: " if len(models) > 1 else ""
            parts.append(f"{name}{limits_said(model)}")
        parts += [f"budget {amount} {span}" for span, amount in self._budgets()]
        how = "the whole of limits and budget" if self.split.has_whole else "its share"
        return f"{self.split.said} ({how}): {'; '.join(parts)}"

    @property
    def document(self) -> dict[str, object]:
        """For programs: amounts as decimal strings."""
        shard = self.split.shard
        return {
            "shard": shard.index,
            "of": shard.count,
            "share": "all" if self.split.has_whole else "split",
            "ledger": shard.part.ledger,
            "jobs": self.jobs,
            "limits": {
                model.name: model.limits.model_dump(exclude_none=True)
                for model in self.manifest.models
            },
            "budgets": [
                {"span": span, "amount": exact(money.amount), "currency": money.currency}
                for span, money in self._budgets()
            ],
        }

    def _budgets(self) -> Iterator[tuple[str, Money]]:
        budget = self.manifest.run.budget
        if budget is None:
            return
        spans = (("for one run", budget.amount), ("in total", budget.total),
                 ("for a day", budget.per_day))  # fmt: skip
        for span, amount in spans:
            if amount is not None:
                yield span, Money(amount, budget.currency)


def undivided(
    workspace: Workspace, lanes: Sequence[JobStream], split: Split | None
) -> list[Problem]:
    """What of the manifest's limits cannot be divided by so many shards."""
    if split is None or split.has_whole:
        return []
    return share_problems(workspace.loaded, lanes, split.shard.count)


def refuse_undivided(workspace: Workspace, lanes: Sequence[JobStream], split: Split | None) -> None:
    """Raises InputRefused where there is any."""
    if problems := undivided(workspace, lanes, split):
        raise InputRefused(problems)
