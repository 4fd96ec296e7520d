"""What the commands on a manifest share: the manifest read, its dialect, its outputs folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.cli.buckets import buckets_named
from retouch.cli.grouped import grouped
from retouch.cli.output import say
from retouch.dialects import DIALECTS
from retouch.dialects.base import Dialect
from retouch.errors import InputRefused, Problem, StorageFailed
from retouch.manifest import Loaded, Price, load
from retouch.review.marks import read_marks
from retouch.storage.part import WHOLE, Part

if TYPE_CHECKING:
    from retouch.engine.forecast import Planned
    from retouch.engine.outside import Outside
    from retouch.ledger.state import Replay
    from retouch.plan import Plan

REHEARSAL_SUFFIX = ".rehearsal"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A manifest and where its work is kept.

    `root` is the outputs folder of all manifests, `folder` that of this one. `is_rehearsal` says
    that the embedded service answers, so that costs are virtual. `prices` are those of now. `part`
    is what of the work is done here.
    """

    loaded: Loaded
    dialect: Dialect
    root: Path
    folder: Path
    is_rehearsal: bool
    prices: dict[str, Price | None]
    part: Part = WHOLE

    @property
    def ledger(self) -> Path:
        """The part that is written here; all that lie beside it are read with it."""
        return self.folder / self.part.ledger

    def neighbours(self) -> Iterator[Replay]:
        """What the ledgers of other manifests say of the same provider, read as asked for."""
        from retouch.engine.forecast import neighbours  # noqa: PLC0415 - start-up time

        reused = (self.loaded.folder / name for name in self.loaded.manifest.reuse)
        provider = "rehearsal" if self.is_rehearsal else self.dialect.NAME
        return neighbours(self.ledger, self.root, reused, provider)


def add_manifest(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command on a manifest."""
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="the manifest (YAML)")
    add_outputs(parser)
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="against the embedded service: offline, free, into outputs/NAME.rehearsal/",
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """`--outputs`, for every command that reads or writes the outputs folder."""
    parser.add_argument(
        "--outputs",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("RETOUCH_OUTPUTS") or "outputs"),
        help="the outputs folder (default: RETOUCH_OUTPUTS, else outputs)",
    )


def open_workspace(manifest: Path, outputs: Path, *, rehearse: bool) -> Workspace:
    """Read a manifest whose work is kept under `outputs`. Raises InputRefused."""
    loaded = load(manifest, dialects=DIALECTS)
    return workspace_of(loaded, outputs, is_rehearsed=rehearse)


def workspace_of(loaded: Loaded, outputs: Path, *, is_rehearsed: bool) -> Workspace:
    """Where the work of a manifest is kept; `is_rehearsed`: in its rehearsal."""
    dialect = DIALECTS[loaded.manifest.provider.dialect]
    is_rehearsal = is_rehearsed or dialect is DIALECTS["rehearsal"]
    suffix = REHEARSAL_SUFFIX if is_rehearsed else ""
    now = datetime.now(UTC)
    prices = {model.name: loaded.price_of(model, now) for model in loaded.manifest.models}
    folder = outputs / f"{loaded.manifest.name}{suffix}"
    return Workspace(loaded, dialect, outputs, folder, is_rehearsal, prices)


def make_plan(workspace: Workspace) -> Plan:
    """Plan the manifest, with other Jobs in the place of those whose pictures were rejected.

    Raises InputRefused with every problem at once, StorageFailed.
    """
    from retouch.plan import DigestCache, build  # noqa: PLC0415 - start-up: `status` plans nothing

    rejected = read_marks(workspace.folder).rejected_keys
    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(f"{workspace.root}: {error.strerror}") from error
    with DigestCache.open(workspace.root) as cache, _counting_pictures() as on_progress:
        plan = build(
            workspace.loaded,
            workspace.dialect,
            outputs=workspace.root,
            cache=cache,
            on_progress=on_progress,
            buckets=buckets_named(workspace.loaded),
        )
    return plan.with_rejected(rejected) if rejected else plan


@contextmanager
def _counting_pictures() -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from tqdm import tqdm  # noqa: PLC0415 - start-up time

    with tqdm(unit="picture", desc="reading", leave=False) as bar:
        yield bar.update


def outside_plan(workspace: Workspace, plan: Planned, state: Replay) -> Outside:
    """What is open in the ledger and not in the plan."""
    from retouch.engine.outside import outside_of  # noqa: PLC0415 - start-up time

    models = {model.model: model for model in workspace.loaded.manifest.models}
    return outside_of(plan.lanes, state, models, workspace.dialect)


def refuse_problems(workspace: Workspace, plan: Plan) -> None:
    """Say the warnings; raise InputRefused where the plan has errors or bad sources."""
    list_file = problem_list(workspace)
    for warning in grouped((*workspace.loaded.warnings, *plan.warnings), list_file):
        say(str(warning))
    skip = workspace.loaded.manifest.run.on_bad_source == "skip"
    bad = [
        Problem(source.source, 0, 0, source.reason, "", "warning" if skip else "error")
        for source in plan.bad_sources
    ]
    if skip:
        for problem in grouped(bad, list_file):
            say(f"{problem}; skipped")
        bad = []
    if plan.problems or bad:
        hint = "`run: {on_bad_source: skip}` leaves bad sources out" if bad else ""
        raise InputRefused(grouped([*plan.problems, *bad], list_file), hint=hint)


def problem_list(workspace: Workspace) -> Path:
    """Where the whole list of a manifest's problems goes."""
    return workspace.root / ".cache" / f"{workspace.loaded.manifest.name}.problems.txt"
