"""A manifest never feeds on its own results: where they go, and which inputs would hold them.

The whole outputs folder is refused to a pattern that merely happens to reach into it. Another
manifest's results may be edited further by an input that names their folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retouch.errors import Problem
from retouch.manifest import Loaded
from retouch.plan.globs import UnfitPattern, glob_of
from retouch.plan.paths import SUFFIXES
from retouch.plan.planned import Lane


@dataclass(frozen=True, slots=True)
class Results:
    """Where results go, as real paths: `root` for all manifests, `own` for this one and its
    rehearsals. `shown` is `root` as the manifest would write it."""

    root: str
    own: tuple[str, ...]
    shown: str

    def hold(self, path: str, base: str) -> bool:
        """Whether a real path that an input reaches from the folder `base` is a result it must not
        read."""
        if not is_below(path, self.root):
            return False
        if any(is_below(path, own) for own in self.own):
            return True
        return not is_below(base, self.root)  # outputs/other/… is named on purpose

    @property
    def remedy(self) -> str:
        """What to write instead."""
        return f"write `exclude: [{self.shown}/**]`, or narrow the pattern"


def is_below(path: str, folder: str) -> bool:
    """Whether an absolute path lies inside a folder."""
    return path.startswith(f"{folder.rstrip('/')}/")


def results_of(loaded: Loaded, outputs: Path) -> Results:
    """Where the manifest's results go. `outputs` is the folder of all manifests' results."""
    root = os.path.realpath(outputs)
    own = f"{root.rstrip('/')}/{loaded.manifest.name}"
    relative = os.path.relpath(root, os.path.realpath(loaded.folder)).replace(os.sep, "/")
    return Results(root, (own, f"{own}.rehearsal"), root if relative[:2] == ".." else relative)


def feeding_on_results(loaded: Loaded, outputs: Path, lanes: Iterable[Lane]) -> Iterator[Problem]:
    """Globs that would match this manifest's own results, once there are some."""
    results = results_of(loaded, outputs)
    first = [next(lane.jobs(), None) for lane in lanes]
    places = [job.output_path(0) + suffix for job in first if job for suffix in SUFFIXES]
    folder = Path(os.path.realpath(loaded.folder))
    for index, given in enumerate(loaded.manifest.inputs):
        if given.glob is None:
            continue
        try:
            glob = glob_of(given.glob, folder, literal=given.literal)
            excluded = [glob_of(each, folder) for each in given.exclude]
        except UnfitPattern:
            continue
        for place in (f"{results.own[0]}/{each}" for each in places):
            if glob.matches(place) and not any(each.matches(place) for each in excluded):
                shown = place.removeprefix(f"{folder}/")
                what = f"the manifest would feed on its own results: the glob matches {shown}"
                yield loaded.problem(("inputs", index, "glob"), what, results.remedy)
                break
