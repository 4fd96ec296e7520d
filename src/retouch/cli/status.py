"""`retouch status`: counts by outcome, what is left, cost so far, what is held, failed and why."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from retouch.cli.allowances import Basis, runway_document, runway_lines, runways, utc_today
from retouch.cli.failures import failures_of, print_failures
from retouch.cli.output import json_text, say
from retouch.cli.summary import missing_texts, outside_text
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    outside_plan,
)
from retouch.errors import InputRefused
from retouch.ledger import read
from retouch.ledger.charges import NO_ANSWER
from retouch.ledger.decision import Redo
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import Failed, Unknown
from retouch.ledger.state import Replay, open_keys
from retouch.money import NO_CURRENCY, Money, exact
from retouch.review.marks import counts_with, read_marks
from retouch.storage.part import ledgers_in, missing_beside
from retouch.text import how_many, one_clean_line

if TYPE_CHECKING:
    from retouch.engine.forecast import LaneForecast

HELD_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch status`."""
    add_manifest(parser)
    parser.add_argument(
        "--failed", action="store_true", help="list the jobs that failed, and what to do"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print where the manifest's ledger stands; 1 when charges are open outside its plan."""
    workspace = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    state = read(workspace.ledger)
    redo = Redo(unknown=workspace.loaded.manifest.run.on_unknown == "retry")
    standing = _standing(workspace, state)
    counts = counts_with(state, read_marks(workspace.folder).rejected_keys)
    found_budgets = runways(
        workspace.loaded.manifest, Basis(state, utc_today(), standing.forecasts)
    )
    failures = list(failures_of(state, redo))
    if arguments.json:
        found = {"manifest": workspace.loaded.manifest.name, "virtual": workspace.is_rehearsal}
        found |= _status(state, redo, counts)
        found |= {"outside": {"tasks": standing.tasks, "held": standing.held}}
        if parts := [each.ledger for each in missing_beside(ledgers_in(workspace.folder))]:
            found |= {"missing_parts": parts}
        found |= {"left": standing.left, "budgets": list(map(runway_document, found_budgets))}
        found |= {"failed": [each.document for each in failures]} if arguments.failed else {}
        print(json_text(found))
        return standing.exit_code
    _print(state, redo, counts, workspace.is_rehearsal, standing)
    for line in chain.from_iterable(map(runway_lines, found_budgets)):
        print(line)
    if arguments.failed:
        print_failures(failures)
    elif failures:
        print(f"{how_many(len(failures), 'job')} failed: --failed lists them, and what to do")
    if text := outside_text(standing.tasks, standing.held):
        say(text)
    for text in missing_texts(workspace.folder):
        say(text)
    return standing.exit_code


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the plan adds to the ledger: what is left of it, and what is open and not in it.

    `forecasts` is None where there is no ledger yet, or the plan cannot be made.
    """

    forecasts: list[LaneForecast] | None = None
    tasks: int = 0
    held: int = 0
    is_unplanned: bool = False

    @property
    def exit_code(self) -> int:
        return 1 if self.tasks or self.held else 0

    @property
    def left(self) -> dict[str, int] | None:
        """The plan's Jobs that a run has to do yet: to send, and to fetch."""
        if self.forecasts is None:
            return None
        counts = [each.count for each in self.forecasts]
        return {
            "jobs": sum(each.lane.jobs_count for each in counts),
            "to_send": sum(each.to_send for each in counts),
            "to_fetch": sum(each.to_poll for each in counts),
        }


def _standing(workspace: Workspace, state: Replay) -> _Standing:
    """The ledger beside the plan. Without a ledger nothing is planned, nor what plans imported."""
    if not state.runs and not state.outcomes:
        return _Standing()
    # Here and not above: start-up time.
    from retouch.cli.redo import redo_of  # noqa: PLC0415
    from retouch.engine.forecast import forecast_lanes  # noqa: PLC0415
    from retouch.engine.outputs import Outputs  # noqa: PLC0415
    from retouch.engine.selection import Selection, open_shelves  # noqa: PLC0415

    try:
        plan = make_plan(workspace)
    except InputRefused:
        if open_keys(state):
            raise
        return _Standing(is_unplanned=True)
    outside = outside_plan(workspace, plan, state)
    if plan.problems:
        return _Standing(None, outside.tasks, outside.held, is_unplanned=True)
    manifest, folder = workspace.loaded.manifest, workspace.loaded.folder
    selection = Selection(
        state,
        Outputs(workspace.folder),
        open_shelves(manifest.reuse, folder),
        redo_of([], workspace, plan),
    )
    forecasts = forecast_lanes(plan, selection, workspace.prices, workspace.neighbours())
    return _Standing(forecasts, outside.tasks, outside.held)


def _status(state: Replay, redo: Redo, counts: dict[str, int]) -> dict[str, object]:
    return {
        "outcomes": counts,
        "cost": {
            "confirmed": _amounts(state.totals.confirmed),
            "unknown_high": _amounts(state.unknown_high),
            "unpriced": state.totals.unpriced,
        },
        "images": state.totals.images,
        "tokens": {
            "input": state.totals.input_tokens,
            "output": state.totals.output_tokens,
            "total": state.totals.total_tokens,
        },
        "held": [_held(key, outcome) for key, outcome in state.held(redo)],
    }


def _amounts(sums: dict[str, Money]) -> dict[str, str]:
    return {currency: exact(money.amount) for currency, money in sums.items()}


def _held(key: str, outcome: Outcome) -> dict[str, object]:
    decided = outcome.decided
    reason = decided.error.message if isinstance(decided, Unknown | Failed) else NO_ANSWER
    began = outcome.began
    said = began or (decided if isinstance(decided, Unknown) else None)
    ceiling = said.ceiling if said else None
    return {
        "key": key,
        "attempt": outcome.attempt,
        "at": began.at if began else decided.at,
        "model": said.model if said else None,
        "prompt": said.prompt if said else None,
        "source": said.source if said else None,
        "task": outcome.task,
        "reason": reason,
        "ceiling": {"amount": ceiling.amount, "currency": ceiling.currency} if ceiling else None,
    }


def _print(
    state: Replay, redo: Redo, counts: dict[str, int], is_virtual: bool, standing: _Standing
) -> None:
    print(", ".join(f"{number:,} {word}" for word, number in counts.items()) or "no jobs yet")
    if (left := standing.left) is not None:
        print(_left_text(left))
    elif standing.is_unplanned:
        print("how many are left cannot be told: `retouch plan` says what is wrong")
    virtual = " (virtual)" if is_virtual else ""
    for money in state.totals.confirmed.values():
        print(f"confirmed {money}{virtual}")
    for money in state.unknown_high.values():
        if money.currency == NO_CURRENCY:
            continue
        print(f"unknown between 0 and {money}{virtual}")
    if state.totals.unpriced:
        print(f"{state.totals.unpriced:,} charged attempts are unpriced")
    _print_held(list(state.held(redo)))
    if state.tasks_out:
        print(f"{how_many(state.tasks_out, 'task')} on file: `retouch run` fetches them, free")


def _left_text(left: dict[str, int]) -> str:
    """What of the plan a run has to do yet."""
    to_do = left["to_send"] + left["to_fetch"]
    if not to_do:
        return f"nothing left to send of {how_many(left['jobs'], 'job')}"
    parts = [f"{left['to_send']:,} to send"] if left["to_send"] else []
    parts += [f"{left['to_fetch']:,} to fetch"] if left["to_fetch"] else []
    return f"{to_do:,} left of {how_many(left['jobs'], 'job')}: {', '.join(parts)}"


def _print_held(held: list[tuple[str, Outcome]]) -> None:
    for key, outcome in held[:HELD_SHOWN]:
        found = _held(key, outcome)
        task = f" · task {found['task']}" if found["task"] else ""
        line = f"held {key[:12]} · {found['source']} · {found['prompt']} · {found['model']}{task}"
        print(one_clean_line(line))
        print(f"     {one_clean_line(str(found['reason']))}")
    if len(held) > HELD_SHOWN:
        print(f"... {len(held) - HELD_SHOWN:,} more held: `retouch resolve` or --json lists them")
