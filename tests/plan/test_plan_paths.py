"""Output paths: safe whatever a file is named, and never shared."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.manifest.names import same_path, unfit_for_a_path
from retouch.plan.columns import Columns
from retouch.plan.paths import PART_BYTES, Collisions, fit_part, output_paths
from tests.support.studio import GEMINI, Studio, jobs, said

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NASTY = st.one_of(
    TEXT,
    st.sampled_from(["..", ".", "", " ", "CON", "nul.txt", "a/b", "a\\b", "{index}", "x" * 999]),
    st.sampled_from(["长" * 300, "\u202egnp", "a\0b", "~", "COM1", "a.", "-rf", "a\nb"]),
)
DEFAULT = "{model}/{prompt}/{parent}/{stem}-{index}"


@steady
@given(NASTY)
def test_a_part_is_fit_for_every_system(text: str) -> None:
    """One name, not hidden from anyone, of at most 200 bytes; the same every time."""
    fit = fit_part(text)
    assert unfit_for_a_path(fit) == ""
    assert fit not in ("", ".", "..")
    assert len(fit.encode()) <= PART_BYTES
    assert fit_part(fit) == fit


@steady
@given(
    NASTY, NASTY, NASTY, st.sampled_from([DEFAULT, "{label}{index}", "{index}", "a/{stem}.{index}"])
)
def test_a_path_stays_below_images(model: str, prompt: str, name: str, template: str) -> None:
    """Whatever goes in: relative, no empty part, no `..`, each part fit, the index left whole."""
    columns = Columns(name.strip("/") or "x")
    path = output_paths(template).of(columns).render(model, prompt)
    first, *parts = path.split("/")
    assert first == "images"
    assert all(unfit_for_a_path(part.replace("{index}", "0")) == "" for part in parts)
    assert path.count("{index}") == 1
    assert "{" not in path.replace("{index}", "")


def test_the_default_path_is_as_designed() -> None:
    """images/<model>/<prompt id>/<source path without suffix>-<i>; a model is one part."""
    columns = Columns("data/cats/猫 1.jpg")
    path = output_paths(DEFAULT).of(columns).render("openai/gpt-image-2", "white.蓝天")
    assert path == "images/openai_gpt-image-2/white.蓝天/data/cats/猫 1-{index}"


def test_no_folder_can_stand_in_a_pictures_place() -> None:
    """A folder `a.png` beside a picture `a` would take its name."""
    columns = Columns("data/a.PNG/b.webp/c.jpg")
    path = output_paths(DEFAULT).of(columns).render("m", "p.png")
    assert path == "images/m/p.png_/data/a.PNG_/b.webp_/c-{index}"


def test_long_names_are_cut_and_stay_different() -> None:
    """What is cut off is told apart by its digest."""
    paths = output_paths("{stem}-{index}")
    first, second = (paths.of(Columns("长" * 200 + end)).render("m", "p") for end in "ab")
    assert first != second
    assert len(first.encode()) < 255
    assert first.endswith("-{index}") is False or "~" in first


@pytest.mark.parametrize(
    ("template", "told_apart"),
    [
        (DEFAULT, True), ("{stem}/{index}", True), ("{index}", True), ("{index}-{stem}", True),
        ("{stem}{index}", False), ("{stem}1{index}", False), ("{stem}-{index}-{label}", False),
        ("{index}{index}", False), ("x{index}y", True), ("{index}2{stem}", False),
    ],
)  # fmt: skip
def test_templates_that_mix_indexes_are_known(template: str, told_apart: bool) -> None:
    """Where they might, every picture's path is compared; elsewhere every job's."""
    assert output_paths(template).index_is_told_apart is told_apart


@steady
@given(
    st.sampled_from(
        [DEFAULT, "{stem}-{index}", "{index}-{stem}", "x/{stem}/{index}", "{stem}_{index}.v"]
    ),
    st.lists(st.text("ab1-_", min_size=1, max_size=3), min_size=2, max_size=2, unique=True),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_told_apart_means_that_equal_paths_have_equal_jobs(
    template: str, stems: list[str], indexes: tuple[int, int]
) -> None:
    """The shortcut loses no collision: different stems differ for all indexes."""
    paths = output_paths(template)
    assert paths.index_is_told_apart
    rendered = [paths.of(Columns(stem)).render("m", "p") for stem in stems]
    shown = [path.replace("{index}", str(at)) for path, at in zip(rendered, indexes, strict=True)]
    if same_path(rendered[0]) != same_path(rendered[1]):
        assert same_path(shown[0]) != same_path(shown[1])


@steady
@given(st.lists(st.text("abAB.png/éÉ\u0301", min_size=1, max_size=6), max_size=12))
def test_collisions_are_exactly_those_of_a_folding_file_system(paths: list[str]) -> None:
    """Found if, and only if, a later path is an earlier one but for case or Unicode form."""
    collisions = Collisions()
    for path in paths:
        collisions.suspect(path)
    found = list(collisions.pairs((path, number) for number, path in enumerate(paths)))
    first: dict[str, int] = {}
    expected = []
    for number, path in enumerate(paths):
        known = first.setdefault(same_path(path), number)
        if known != number:
            expected.append((known, number))
    assert found == expected


def test_the_default_path_tells_suffixes_apart(studio: Studio) -> None:
    """Under the default template, sources that differ in their suffix alone keep it, and what
    would meet them then does too; every other path is as ever."""
    for name in ("x/a.png", "x/a.jpg", "x/a.jpg.png", "y/a.png", "x/b.png"):
        studio.make(f"data/{name}")
    paths = {job.source.name: job.output_path(0) for job in jobs(studio.plan())}
    folder = f"images/{GEMINI}/p/data"
    assert paths == {
        "data/x/a.png": f"{folder}/x/a.png-0",
        "data/x/a.jpg": f"{folder}/x/a.jpg-0",
        "data/x/a.jpg.png": f"{folder}/x/a.jpg.png-0",
        "data/y/a.png": f"{folder}/y/a-0",
        "data/x/b.png": f"{folder}/x/b-0",
    }
    own = {"path": "{model}/{prompt}/{parent}/{stem}-{index}"}
    assert "would go to one path" in said(studio.plan(output=own).problems)
