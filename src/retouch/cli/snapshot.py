"""What was planned, kept beside the ledger: the manifest as run (less what signs its URLs), and
plan.json."""

from __future__ import annotations

import json

from retouch import __version__
from retouch.cli.workspace import Workspace
from retouch.plan import Plan
from retouch.storage.durable import replace_whole
from retouch.text import without_signatures


def write_snapshot(workspace: Workspace, plan: Plan) -> None:
    """Write `manifest.yaml` and `plan.json`, each replaced whole. Raises StorageFailed."""
    planned = {
        "retouch": __version__,
        "manifest": workspace.loaded.path.name,
        "manifest_sha256": workspace.loaded.sha256,
        "prices_sha256": workspace.loaded.prices.sha256 if workspace.loaded.prices else None,
        "sources": plan.sources,
        "bad_sources": [{"source": bad.source, "reason": bad.reason} for bad in plan.bad_sources],
        "lanes": [{"model": lane.model.model, "jobs": lane.jobs_count} for lane in plan.lanes],
    }
    text = json.dumps(planned, ensure_ascii=False, indent=1)
    replace_whole(workspace.folder / "manifest.yaml", without_signatures(workspace.loaded.text))
    replace_whole(workspace.folder / "plan.json", text.encode() + b"\n")
