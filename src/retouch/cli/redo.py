"""`--redo`: what the user pays for again, knowingly; the same for `plan` and `run`."""

from __future__ import annotations

import argparse
from dataclasses import replace

from retouch.cli.workspace import Workspace
from retouch.ledger.decision import Redo
from retouch.manifest import PayAgain, RunSettings
from retouch.plan import Plan

_STATES = ("failed", "unknown", "missing", "rejected")


def add_redo(parser: argparse.ArgumentParser) -> None:
    """`--redo`."""
    parser.add_argument(
        "--redo",
        metavar="WHAT",
        nargs="+",
        default=[],
        help="pay again for: failed, unknown, missing (pictures gone), rejected (by `retouch "
        "review`), or jobs by key, source, output path, a glob of either, or @FILE of them",
    )


def redo_of(words: list[str], workspace: Workspace, plan: Plan) -> Redo:
    """What `--redo` names. Raises InputRefused for a word that names nothing."""
    named = [word for word in words if word not in _STATES]
    standing = _standing(workspace.loaded.manifest.run)
    return replace(
        standing,
        failed="failed" in words,
        unknown="unknown" in words or standing.unknown,
        missing="missing" in words,
        rejected="rejected" in words,
        keys=_named(named, plan) if named else frozenset(),
    )


def _standing(settings: RunSettings) -> Redo:
    """What a manifest lets every run pay for again, before anybody asks for more."""
    terms = settings.on_unknown
    return Redo(unknown=terms == "retry", again=terms.retry if isinstance(terms, PayAgain) else 0)


def _named(words: list[str], plan: Plan) -> frozenset[str]:
    from retouch.engine.naming import keys_of  # noqa: PLC0415 - start-up time

    return keys_of(words, plan.lanes, "--redo")
