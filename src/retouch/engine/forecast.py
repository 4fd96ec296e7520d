"""What a plan's Jobs would cost and why they would be sent: shared by `plan` and `run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retouch.cli.workspace import Workspace
from retouch.costs.estimate import THIN, Demand, Estimate, estimate, seconds_at_limits
from retouch.costs.history import History
from retouch.engine.changes import Changes
from retouch.engine.selection import LaneSurvey, Surveyor, survey
from retouch.errors import LedgerDamaged, StorageFailed
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.decision import Send, Skip
from retouch.ledger.state import Replay
from retouch.money import Money, total
from retouch.plan import Lane, Plan

Listener = Callable[[Job, str], None]


@dataclass(frozen=True, slots=True)
class Appraisal:
    """One lane: its Jobs counted, what those to be sent will cost, and how long they take."""

    survey: LaneSurvey
    estimate: Estimate
    seconds: float | None


def appraise(
    workspace: Workspace,
    plan: Plan,
    surveyor: Surveyor,
    *,
    limit: int | None = None,
    on_send: Listener | None = None,
) -> list[Appraisal]:
    """Every lane counted and estimated; of each at most `limit` Jobs are estimated.

    `on_send` is told of each Job that would be sent, and why.
    """
    changes = Changes(surveyor.state)
    counted: list[tuple[LaneSurvey, Demand]] = []
    for lane in plan.lanes:
        price = workspace.prices.get(lane.model.model)
        demand = Demand(price, lane.capabilities, surveyor.state)
        found = _count(lane, surveyor, changes, demand, limit=limit, on_send=on_send or _nobody)
        counted.append((found, demand))
    history = History([surveyor.state])
    wanted = [each.lane.model.model for each, demand in counted if demand.jobs]
    if any(len(history.of(model)) < THIN for model in wanted):
        for state in _neighbours(workspace):
            history.add(state)
    appraisals = []
    for each, demand in counted:
        cost = estimate(demand, history)
        seconds = seconds_at_limits(each.lane.model.limits, demand, cost.tokens, history)
        appraisals.append(Appraisal(each, cost, seconds))
    return appraisals


def highest(appraisals: list[Appraisal]) -> tuple[dict[str, Money], list[str]]:
    """The most that all lanes may cost, by currency, and the models of which nobody can say."""
    sending = [each for each in appraisals if each.survey.to_send]
    highs = [each.estimate.high for each in sending]
    unsure = [
        each.survey.lane.model.model
        for each, high in zip(sending, highs, strict=True)
        if high is None
    ]
    return total(high for high in highs if high is not None), unsure


def _count(
    lane: Lane,
    surveyor: Surveyor,
    changes: Changes,
    demand: Demand,
    *,
    limit: int | None,
    on_send: Listener,
) -> LaneSurvey:
    """Go once through the lane: what `survey.tally` counts, with reasons told apart further."""
    counted = LaneSurvey(lane)
    for job, choice in survey(lane, surveyor):
        if isinstance(choice, Send):
            reason = changes.reason(job, choice)
            counted.count(Send(choice.attempt, reason))
            on_send(job, reason)
            if limit is None or demand.jobs < limit:
                demand.add(job)
        else:
            counted.count(choice)
            counted.missing += isinstance(choice, Skip) and surveyor.is_missing_pictures(job.key)
    counted.reasons = Counter(dict(sorted(counted.reasons.items())))
    return counted


def _neighbours(workspace: Workspace) -> Iterator[Replay]:
    """Other manifests' ledgers of the same provider; one that cannot be read tells nothing."""
    own = workspace.ledger.resolve()
    reused = (workspace.loaded.folder / name for name in workspace.loaded.manifest.reuse)
    paths = {path.resolve(): None for path in (*_ledgers(workspace.root), *reused)}
    provider = "rehearsal" if workspace.is_rehearsal else workspace.dialect.NAME
    for path in paths:
        try:
            state = read(path) if path != own else None
        except (LedgerDamaged, StorageFailed):
            continue
        if state is not None and state.last_run and state.last_run.provider == provider:
            yield state


def _ledgers(root: Path) -> list[Path]:
    return sorted(root.glob("*/ledger*.jsonl"))


def _nobody(job: Job, reason: str) -> None:
    """Nobody listens."""
