"""`retouch prune`: pictures that no present job of the manifest owns, listed or moved away."""

from __future__ import annotations

import argparse
import os
from itertools import chain
from pathlib import Path

from retouch.cli.output import json_text, say
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    refuse_problems,
)
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.errors import StorageFailed
from retouch.ledger import read
from retouch.ledger.lines import NamedPaths
from retouch.plan import Plan
from retouch.storage.durable import make_folder
from retouch.storage.lock import exclusive
from retouch.text import how_many, one_clean_line

PRUNED = "pruned"
_LISTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch prune`."""
    add_manifest(parser)
    parser.add_argument("--yes", action="store_true", help="move them to pruned/")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """List what is owned by nothing, or move it; nothing is deleted."""
    workspace = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    plan = make_plan(workspace)
    refuse_problems(workspace, plan)
    if not workspace.folder.is_dir():
        found: list[str] = []
    elif arguments.yes:
        with exclusive(workspace.folder):
            found = _unowned(workspace, plan)
            for path in found:
                _move(workspace.folder, path)
    else:
        found = _unowned(workspace, plan)
    if arguments.json:
        print(json_text({"files": found, "moved": arguments.yes}))
        return 0
    for path in found[:_LISTED]:
        print(one_clean_line(path, 300))
    if len(found) > _LISTED:
        print(f"and {len(found) - _LISTED:,} more; --json names them all")
    told = f"{how_many(len(found), 'picture')} that no present job owns"
    if found and arguments.yes:
        say(f"{told}: moved to {workspace.folder / PRUNED}")
    else:
        say(told + ("; `--yes` moves them to pruned/" if found else ""))
    return 0


def _unowned(workspace: Workspace, plan: Plan) -> list[str]:
    """Paths of pictures, relative to the outputs folder, that no present job owns.

    A job owns what is recorded at its place; what lies at a planned place without a record may be
    its picture all the same, and stays.
    """
    selection = Selection(read(workspace.ledger), Outputs(workspace.folder))
    owned, planned = NamedPaths(), NamedPaths()
    places = map(selection.state.places_of, selection.state.outcomes.values())
    recorded = NamedPaths(file.path for place in places for files in place for file in files)
    for lane in plan.lanes:
        for job in chain(lane.jobs(), lane.copies()):
            outcome = selection.state.outcomes.get(job.key)
            here = selection.here(job)
            # Where a job's place has no record yet, what it would be delivered from stays.
            owned.add(file.path for file in here or (outcome.files if outcome else ()))
            planned.add(job.output_path(index) for index in range(job.images_wanted))
    return [
        path
        for path in _pictures(workspace.folder)
        if path not in owned and (path in recorded or _stem(path) not in planned)
    ]


def _pictures(folder: Path) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder / "images"):
        folders.sort()
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in sorted(names)]
    return found


def _stem(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem = name.rpartition(".")[0].partition("~")[0]
    return f"{folder}{slash}{stem}"


def _move(folder: Path, path: str) -> None:
    """Move one picture below pruned/, under its own path; an earlier one there keeps its name."""
    target = folder / PRUNED / path
    number = 1
    try:
        make_folder(target.parent)
        while os.path.lexists(target):
            number += 1
            target = target.with_name(f"{Path(path).stem}~{number}{target.suffix}")
        (folder / path).rename(target)
    except OSError as error:
        raise StorageFailed(f"{target}: cannot be moved there: {error.strerror}") from error
