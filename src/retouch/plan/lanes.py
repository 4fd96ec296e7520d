"""`build`: the whole plan of a manifest, everything wrong with it collected and said at once.

Inputs are named, files looked at, and then each model's lane is checked through: options, fields,
counts, each picture's limits, each prompt as rendered, each path. No Job is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.dialects.base import Dialect
from retouch.errors import Problem
from retouch.manifest import Loaded
from retouch.manifest.messages import close_to
from retouch.pictures.inspecting import can_hash
from retouch.plan.candidates import Candidate, empty_cell
from retouch.plan.checked import Checked, Checks
from retouch.plan.columns import BUILT_IN, OF_A_JOB
from retouch.plan.digests import DigestCache
from retouch.plan.inspections import Album, OnProgress
from retouch.plan.lane import LaneBuilder, Shared
from retouch.plan.objects import Objects
from retouch.plan.paths import OutputPaths, output_paths, told_apart
from retouch.plan.planned import BadSource, Lane, Leak, Plan
from retouch.plan.prompts import Variant, variants
from retouch.plan.results import feeding_on_results
from retouch.plan.sources import gather
from retouch.plan.splits import in_splits, leak_problems, leaks_in
from retouch.plan.templates import TemplateError
from retouch.plan.validation import check_paths, undefined
from retouch.plan.warnings import Warnings
from retouch.text import one_clean_line
from retouch.threads import uncollected

if TYPE_CHECKING:  # start-up: `plan` opens few buckets
    from retouch.storage.buckets import Buckets


def build(
    loaded: Loaded,
    dialect: Dialect,
    *,
    outputs: Path,
    cache: DigestCache,
    on_progress: OnProgress | None = None,
    buckets: Buckets | None = None,
) -> Plan:
    """The plan of a manifest, whose results go to `outputs`/<its name>. Sends and writes nothing.

    Everything wrong is in the Plan's `problems` and `bad_sources`; nothing is raised for it.
    """
    with uncollected():
        return _built(loaded, dialect, outputs, cache, on_progress, buckets)


def _built(  # noqa: PLR0917 - build's own
    loaded: Loaded,
    dialect: Dialect,
    outputs: Path,
    cache: DigestCache,
    on_progress: OnProgress | None,
    buckets: Buckets | None,
) -> Plan:
    problems: list[Problem] = []
    tally = Warnings()
    objects = Objects(buckets) if buckets is not None else None
    prompts = variants(loaded, problems)
    candidates = in_splits(loaded, gather(loaded, outputs, problems, tally, objects), problems)
    hashed = _is_hashed(loaded, problems)
    paths = _paths(loaded, candidates, problems)
    problems.extend(_unknown_lanes(loaded))
    prompts = _with_known_names(loaded, prompts, candidates, problems)
    problems.extend(_empty_cells(candidates, prompts))
    sources, album = len(candidates), Album(cache, objects)
    checked, bad = _checked(Checks(loaded, album, tally, hashed=hashed), candidates, on_progress)
    leaks = _leaks(loaded, checked, problems)
    if paths is not None and "path" not in loaded.manifest.output.model_fields_set:
        paths = told_apart(paths, (each.source.columns for each in checked))
    lanes: list[Lane] = []
    shared = Shared(album.one)
    for index in range(len(loaded.manifest.models)):
        builder = LaneBuilder(loaded, dialect, index, tally, shared)
        if lane := builder.lane(checked, prompts, paths or output_paths("{index}")):
            lanes.append(lane)
        bad.extend(builder.bad_sources)
        problems.extend(builder.problems)
    inputs = shared.survey(checked).sources
    del checked, shared  # what follows asks for no facts, and 100,000 sources' are many
    problems.extend(_same_work(loaded, lanes))
    if not _distinct(problems, "error"):  # paths can be made only where prompts and columns can
        problems.extend((*check_paths(loaded, lanes), *feeding_on_results(loaded, outputs, lanes)))
    problems.extend(tally.problems(loaded))
    return Plan(
        lanes=tuple(lanes),
        sources=sources,
        problems=_distinct(problems, "error"),
        warnings=_distinct(problems, "warning"),
        bad_sources=tuple(bad),
        inputs=inputs,
        leaks=leaks,
        has_splits=loaded.manifest.splits is not None,
    )


def _distinct(problems: list[Problem], severity: str) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(each for each in problems if each.severity == severity))


def _is_hashed(loaded: Loaded, problems: list[Problem]) -> bool:
    """Whether pictures are asked how they look: to find those alike in two splits."""
    given = loaded.manifest.splits
    if given is None or given.leaks.near == "ignore":
        return False
    if not can_hash():
        what = "pictures that look the same are not looked for: OpenCV is not installed"
        remedy = "`make setup EXTRAS=rehearsal`, or write `near: ignore`"
        problems.append(loaded.problem(("splits", "leaks"), what, remedy, "warning"))
    return can_hash()


def _leaks(loaded: Loaded, checked: list[Checked], problems: list[Problem]) -> tuple[Leak, ...]:
    """What is in two splits, and what is to be said of it."""
    given = loaded.manifest.splits
    if given is None:
        return ()
    leaks = leaks_in(checked, given)
    problems.extend(leak_problems(loaded, given, leaks))
    return leaks.found


def _same_work(loaded: Loaded, lanes: list[Lane]) -> Iterator[Problem]:
    """Lanes of one model that would ask for the same work, and pay for it twice."""
    first: dict[str, str] = {}
    for lane in lanes:
        try:
            job = next(lane.jobs(), None)
        except KeyError:  # a name without a value, which is told already
            continue
        if job is None:
            continue
        other = first.setdefault(job.key, lane.name)
        if other != lane.name:
            at = next(at for at, each in enumerate(loaded.manifest.models) if each is lane.model)
            what = f"`{lane.name}` and `{other}` ask for the same work of the same model"
            remedy = "give them other options, or remove one"
            yield loaded.problem(("models", at), what, remedy)


def _paths(
    loaded: Loaded, candidates: list[Candidate], problems: list[Problem]
) -> OutputPaths | None:
    """The output template; None if it is not one, which is said."""
    try:
        paths = output_paths(loaded.manifest.output.path)
    except TemplateError as error:
        problems.append(loaded.problem(("output", "path"), str(error), error.remedy))
        return None
    known = dict.fromkeys((*BUILT_IN, *OF_A_JOB, *_split(candidates)))
    for header in dict.fromkeys(candidate.columns.header for candidate in candidates):
        known.update(dict.fromkeys(header))
    for name in paths.names:
        if name not in known:
            what = f"`{{{one_clean_line(name, 40)}}}` is not known in `output.path`"
            remedy = f"known: {', '.join(known)}"
            problems.append(loaded.problem(("output", "path"), what, remedy))
            return None
    return paths


def _with_known_names(
    loaded: Loaded,
    prompts: tuple[Variant, ...],
    candidates: list[Candidate],
    problems: list[Problem],
) -> tuple[Variant, ...]:
    """The prompts whose names some source has; the others are told, even if no source is good."""
    read = {candidate.input for candidate in candidates}
    if any(
        given.glob is None and at not in read for at, given in enumerate(loaded.manifest.inputs)
    ):
        return prompts  # the columns of what could not be read are not known
    known = dict.fromkeys((*BUILT_IN, "model", "prompt", *_split(candidates)))
    for header in dict.fromkeys(candidate.columns.header for candidate in candidates):
        known.update(dict.fromkeys(header))
    fit = []
    for variant in prompts:
        unknown = [name for name in variant.used if name not in known]
        problems.extend(undefined(loaded, variant, name, known) for name in unknown)
        if not unknown:
            fit.append(variant)
    return tuple(fit)


def _unknown_lanes(loaded: Loaded) -> Iterator[Problem]:
    """Prompts for models that are not there."""
    names = [model.name for model in loaded.manifest.models]
    for index, prompt in enumerate(loaded.manifest.prompts):
        for at, name in enumerate(prompt.models):
            if name not in names:
                what = f"`models` names none of the models: {one_clean_line(name, 60)}"
                yield loaded.problem(("prompts", index, "models", at), what, close_to(name, names))


def _split(candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """The column `split`, where some source has one."""
    return ("split",) if any(each.columns.split for each in candidates) else ()


def _empty_cells(candidates: list[Candidate], prompts: tuple[Variant, ...]) -> list[Problem]:
    """Cells that a prompt would put in and that hold nothing."""
    names = tuple(dict.fromkeys(name for variant in prompts for name in variant.used))
    found = (empty_cell(candidate, names) for candidate in candidates)
    return [problem for problem in found if problem is not None]


def _checked(
    checks: Checks, candidates: list[Candidate], on_progress: OnProgress | None
) -> tuple[list[Checked], list[BadSource]]:
    good: list[Checked] = []
    bad: list[BadSource] = []
    for found in checks.all(candidates, on_progress):
        if isinstance(found, BadSource):
            bad.append(found)
        else:
            good.append(found)
    return good, bad
