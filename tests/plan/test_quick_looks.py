"""What is passed at a quick look (most files, prompts and paths of a large plan) is planned as if
each had been looked at closely."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retouch.plan import Plan, lane, planned, sources, validation
from retouch.plan.checked import Checks
from tests.support.samples import encoded, photo
from tests.support.studio import GEMINI, Studio


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(photo(40, 30), "JPEG", exif=exif)


PICTURES = {
    "plain": encoded(photo(40, 30)),
    "larger": encoded(photo(64, 48)),
    "other": encoded(photo(40, 30, seed=2)),
    "turned": _turned(),
    "print": encoded(photo(40, 30).convert("CMYK"), "JPEG"),
    "bitmap": encoded(photo(40, 30), "BMP"),
    "thin": encoded(photo(900, 4)),
    "broken": encoded(photo(40, 30))[:300],
}
FILES = ("x/1.png", "x/2.png", "x/1.jpg", "y/1.png", "y/con.png", "é.png", "x/A.png", "x/a.png")
PROMPTS: tuple[dict[str, Any], ...] = (
    {"id": "same", "template": "make it blue"},
    {"id": "again", "template": "make it blue"},
    {"id": "own", "template": "a {stem} in {label}"},
    {"id": "twice", "template": "a {stem} in {label}"},
    {"id": "one", "template": "only for one", "models": [GEMINI]},
    {"id": "some", "template": "some of {stem}", "when": {"stem": "1"}},
    {"id": "long", "template": "{stem} " * 2000},
    {"id": "odd", "template": "{stem}\n and \u00a0"},
    {"id": "none", "template": "{nowhere}"},
)
PATHS = (
    None,
    "{model}/{prompt}/{label}-{stem}-{index}",
    "{prompt}/{stem}-{index}",
    "{stem}-{index}",
)
MODELS = ([GEMINI], [GEMINI, "kling-v2"], ["gpt-image-2", GEMINI], ["kling-v2-1"])


@contextmanager
def _close_looks_alone() -> Iterator[None]:
    """Every quick look finds nothing that it may pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checks, "_known", lambda _self, candidates: [None] * len(candidates))
        patch.setattr(Checks, "_plain", lambda _self, _candidate, _looks: None)
        patch.setattr(sources._Input, "_folder", lambda _self, _place, _root, _base: None)
        patch.setattr(lane.LaneBuilder, "_goes_as_it_is", lambda _self, _each: False)
        patch.setattr(planned.Lane, "fits_all", property(lambda _self: False))
        patch.setattr(validation, "_apart_by_halves", lambda _lanes: False)
        yield


def _told(plan: Plan) -> tuple[Any, ...]:
    """All that a plan says; its Jobs where it has no problem."""
    counts = [(each.name, each.jobs_count, each.copies_count) for each in plan.lanes]
    made: list[Any] = []
    if not plan.problems:
        for each in plan.lanes:
            made.append([*each.jobs()])
            made.append([*each.copies()])
            made.append([job.key for job in made[-2]])
            made.append(each.asked())
            made.append(list(each.numbers))
    return plan.problems, plan.warnings, plan.bad_sources, plan.inputs, counts, made


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """The parts of a manifest."""
    prompts = st.lists(
        st.sampled_from(PROMPTS), min_size=1, max_size=3, unique_by=lambda each: each["id"]
    )
    parts: dict[str, Any] = {
        "prompts": draw(prompts),
        "models": [{"model": name} for name in draw(st.sampled_from(MODELS))],
        "run": {"repeat": draw(st.sampled_from([1, 2])), "on_bad_source": "skip"},
    }
    path = draw(st.sampled_from(PATHS))
    return parts if path is None else parts | {"output": {"path": path}}


@settings(deadline=None)
@given(
    files=st.dictionaries(
        st.sampled_from(FILES), st.sampled_from([*PICTURES, "plain", "larger"]), min_size=1
    ),
    is_linked=st.booleans(),
    parts=manifests(),
)
def test_a_quick_look_changes_nothing(
    files: dict[str, str], is_linked: bool, parts: dict[str, Any]
) -> None:
    """Problems, warnings, bad sources, counts, Jobs with their Keys and paths: as without it."""
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        for name, kind in files.items():
            studio.make(f"data/{name}", PICTURES[kind])
        if is_linked:
            (studio.folder / "data/linked.png").symlink_to(studio.folder / "data" / min(files))
        studio.plan(**parts)  # from now on known
        quick = _told(studio.plan(**parts))
        with _close_looks_alone():
            assert quick == _told(studio.plan(**parts))
