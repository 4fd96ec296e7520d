"""A folder with pictures and a manifest, and the plan that is made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from retouch.dialects import DIALECTS
from retouch.errors import Problem
from retouch.job import Job
from retouch.manifest import load
from retouch.plan import DigestCache, Plan, build
from tests.support.hostile_pictures import picture

GEMINI = "gemini-2.5-flash-image"
A_DAY_AGO_NS = 86_400 * 10**9


class Studio:
    """`make` files, then `plan` a manifest of the given parts; the rest is filled in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.outputs = self.folder / "outputs"

    def make(self, name: str, data: bytes | str | None = None) -> Path:
        """A file, by default a whole picture of its own; as old as most files are."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            data = picture(30 + sum(name.encode()) % 50, 20 + len(name))
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - A_DAY_AGO_NS))
        return path

    def write(self, **parts: Any) -> Path:
        """The manifest; a text where `prompts` or a model name where `models` will do."""
        prompts = parts.pop("prompts", "make it {stem}")
        models = parts.pop("models", GEMINI)
        manifest = {
            "version": 1,
            "inputs": [{"glob": "data/**/*.*"}],
            "prompts": [{"id": "p", "template": prompts}] if isinstance(prompts, str) else prompts,
            "models": [{"model": models}] if isinstance(models, str) else models,
            **parts,
        }
        path = self.folder / "m.yaml"
        path.write_text(yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False), "utf-8")
        return path

    def plan(self, **parts: Any) -> Plan:
        """The plan of such a manifest."""
        loaded = load(self.write(**parts))
        with DigestCache.open(self.outputs) as cache:
            return build(loaded, DIALECTS["qiniu"], outputs=self.outputs, cache=cache)


def jobs(plan: Plan) -> list[Job]:
    """Every Job to be paid for, of a plan that has no problems."""
    assert plan.problems == ()
    assert plan.bad_sources == ()
    found = [job for lane in plan.lanes for job in lane.jobs()]
    copies = [job for lane in plan.lanes for job in lane.copies()]
    assert len(found) + len(copies) == plan.jobs_count
    return found


def names(plan: Plan) -> list[str]:
    """The sources of a plan's jobs, in order."""
    return [job.source.name for job in jobs(plan)]


def said(problems: Iterable[Problem]) -> str:
    """Everything that was said, a line each."""
    return "\n".join(map(str, problems))
