"""Asking before much is spent, and saying what is left when the money ends."""

from __future__ import annotations

import argparse
import sys

from retouch.cli.workspace import Workspace
from retouch.engine.forecast import LaneForecast, Planned, forecast_lanes, highest
from retouch.engine.selection import Selection
from retouch.errors import Refused
from retouch.money import Money
from retouch.text import fit_for_terminal, how_many


def add_yes(parser: argparse.ArgumentParser) -> None:
    """`--yes`."""
    parser.add_argument(
        "--yes", action="store_true", help="do not ask, whatever `run.confirm_above` says"
    )


def confirm(
    workspace: Workspace, plan: Planned, selection: Selection, *, limit: int | None, yes: bool
) -> None:
    """Ask before a run that may cost more than `run.confirm_above`; rehearsals cost nothing.

    `limit`: how many Jobs are sent at most. `yes`: the answer was given with the command.
    Raises Refused where the answer is no, and without a terminal unless `--yes` was given.
    """
    setting = workspace.loaded.manifest.run.confirm_above
    if setting is None or yes or workspace.is_rehearsal:
        return
    bound = Money(setting.amount, setting.currency)
    highs, unsure = highest(
        forecast_lanes(plan, selection, workspace.prices, workspace.neighbours(), limit=limit)
    )
    reasons = [
        f"may cost up to {high}"
        for high in highs.values()
        if high.currency != bound.currency or high.amount > bound.amount
    ]
    reasons += [f"costs nobody knows how much ({model})" for model in unsure]
    if not reasons:
        return
    what = f"this run {' and '.join(reasons)}; `run.confirm_above` is {bound}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refused(
            what, hint="`--yes` goes on without asking; `retouch plan` shows the estimate"
        )
    print(f"{fit_for_terminal(what)}.\nGo on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes", "j", "是", "好"):
        raise Refused("not confirmed; nothing was sent")


def left_undone(workspace: Workspace, plan: Planned, selection: Selection) -> str:
    """What a run that met its budget leaves, and what that would cost."""
    forecasts = forecast_lanes(plan, selection, workspace.prices, workspace.neighbours())
    sending = [each for each in forecasts if each.count.to_send]
    jobs = sum(each.count.to_send for each in sending)
    costs = ", ".join(map(_cost, sending))
    return f"{how_many(jobs, 'job')} left undone would cost about {costs}" if jobs else ""


def _cost(each: LaneForecast) -> str:
    likely, currency = each.estimate.cost.likely, each.estimate.currency
    model = each.count.lane.model.name
    if likely is None or currency is None:
        return f"nobody knows how much ({model})"
    high = each.estimate.high
    most = f", at most {high}" if high is not None and high.amount != likely else ""
    return f"{Money(likely, currency)} ({model}{most})"
