"""`retouch status`: counts by outcome, cost so far, what is held and why; from the ledger."""

from __future__ import annotations

import argparse

from retouch.cli.output import json_text, say
from retouch.cli.summary import outside_text
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    outside_plan,
)
from retouch.ledger import read
from retouch.ledger.charges import NO_ANSWER
from retouch.ledger.decision import Redo
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import Failed, Unknown
from retouch.ledger.state import Replay, open_keys
from retouch.money import Money, exact
from retouch.review.marks import counts_with, read_marks
from retouch.text import how_many, one_clean_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch status`."""
    add_manifest(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print where the manifest's ledger stands; 1 when charges are open outside its plan."""
    workspace = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    state = read(workspace.ledger)
    redo = Redo(unknown=workspace.loaded.manifest.run.on_unknown == "retry")
    tasks, held = _outside(workspace, state)
    counts = counts_with(state, read_marks(workspace.folder).rejected_keys)
    found = _status(state, redo, counts)
    found = {"manifest": workspace.loaded.manifest.name, "virtual": workspace.is_rehearsal} | found
    if arguments.json:
        told = {"outside": {"tasks": tasks, "held": held}}
        print(json_text(found | told))
    else:
        _print(state, redo, counts, workspace.is_rehearsal)
        if text := outside_text(tasks, held):
            say(text)
    return 1 if tasks or held else 0


def _outside(workspace: Workspace, state: Replay) -> tuple[int, int]:
    """How many tasks and held Jobs the plan does not name. Where nothing is open the sources need
    not be looked at, nor what looks at them be imported."""
    if not open_keys(state):
        return 0, 0
    outside = outside_plan(workspace, make_plan(workspace), state)
    return outside.tasks, outside.held


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


def _print(state: Replay, redo: Redo, counts: dict[str, int], is_virtual: bool) -> None:
    print(", ".join(f"{number} {word}" for word, number in counts.items()) or "no jobs yet")
    virtual = " (virtual)" if is_virtual else ""
    for money in state.totals.confirmed.values():
        print(f"confirmed {money}{virtual}")
    for money in state.unknown_high.values():
        print(f"unknown between 0 and {money}{virtual}")
    if state.totals.unpriced:
        print(f"{state.totals.unpriced} charged attempts are unpriced")
    for key, outcome in state.held(redo):
        found = _held(key, outcome)
        task = f" · task {found['task']}" if found["task"] else ""
        held = f"held {key[:12]} · {found['source']} · {found['prompt']} · {found['model']}{task}"
        print(one_clean_line(held))
        print(f"     {one_clean_line(str(found['reason']))}")
    if state.tasks_out:
        print(f"{how_many(state.tasks_out, 'task')} on file: `retouch run` fetches them, free")
