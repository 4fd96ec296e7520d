"""A manifest never feeds on its own results: where they go, and which inputs would hold them.

The whole outputs folder is refused to a pattern that merely happens to reach into it. Another
manifest's results may be edited further by an input that names their folder.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retouch.errors import Problem
from retouch.manifest import Loaded
from retouch.plan.globs import compiled
from retouch.plan.paths import SUFFIXES
from retouch.plan.planned import Lane


@dataclass(frozen=True, slots=True)
class Results:
    """Where results go, relative to the manifest's folder: `root` for all manifests (None: not
    below the folder), `own` for this one and its rehearsals."""

    root: str | None
    own: tuple[str, ...]

    def hold(self, path: str, named: str) -> bool:
        """Whether a path that the input `named` reaches is a result it must not read."""
        if self.root is None:
            return False
        if any(_is_below(path, own) for own in self.own):
            return True
        below = "" if self.root == "." else f"{self.root}/"
        # outputs/other/... is named on purpose; outputs/* and **/*.jpg are not.
        manifest = named.removeprefix(below).partition("/")[0]
        is_meant = named.startswith(below) and not set(manifest) & set("*?[")
        return _is_below(path, self.root) and not is_meant

    @property
    def remedy(self) -> str:
        """What to write instead."""
        return f"write `exclude: [{self.root}/**]`, or narrow the pattern"


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(f"{folder}/")


def results_of(loaded: Loaded, outputs: Path) -> Results:
    """Where the manifest's results go. `outputs` is the folder of all manifests' results."""
    relative = os.path.relpath(outputs.resolve(), loaded.folder.resolve()).replace(os.sep, "/")
    if relative == ".." or relative.startswith("../"):
        return Results(None, ())
    own = posixpath.normpath(f"{relative}/{loaded.manifest.name}")
    return Results(relative, (own, f"{own}.rehearsal"))


def feeding_on_results(loaded: Loaded, outputs: Path, lanes: Iterable[Lane]) -> Iterator[Problem]:
    """Globs that would match this manifest's own results, once there are some."""
    results = results_of(loaded, outputs)
    if results.root is None:
        return
    first = [next(lane.jobs(), None) for lane in lanes]
    places = [job.output_path(0) + suffix for job in first if job for suffix in SUFFIXES]
    for index, given in enumerate(loaded.manifest.inputs):
        if given.glob is None:
            continue
        pattern, excluded = compiled(given.glob), [compiled(each) for each in given.exclude]
        for place in (f"{results.own[0]}/{each}" for each in places):
            if pattern.matches(place) and not any(each.matches(place) for each in excluded):
                what = f"the manifest would feed on its own results: the glob matches {place}"
                yield loaded.problem(("inputs", index, "glob"), what, results.remedy)
                break
