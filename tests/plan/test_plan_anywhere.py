"""Data from anywhere: names below a root, prefixes, links; no path of the machine goes out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from retouch.plan import Plan
from tests.support.datasets import Made
from tests.support.hostile_pictures import encoded, picture
from tests.support.studio import Studio, jobs, names, said


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """cat/0.png, cat/1.JPG, cup/2.png in a folder that is not below the manifest's."""
    folder = tmp_path / "far away" / "set"
    for number, name in enumerate(("cat/0.png", "cat/1.JPG", "cup/2.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(Made(number).data)
    return folder


def planned(studio: Studio, **given: Any) -> Plan:
    return studio.plan(inputs=[given], prompts="{label} {parent}")


def test_names_are_relative_to_the_pattern_or_the_root(
    studio: Studio, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute, above, at home, linked: the same names, keys and paths."""
    monkeypatch.setenv("HOME", str(elsewhere.parent))
    (studio.folder / "link").symlink_to(elsewhere)
    up = os.path.relpath(elsewhere, studio.folder)
    pattern = "**/*.{png,jpg}"
    expected = ["cat/0.png", "cup/2.png", "cat/1.JPG"]
    first = jobs(planned(studio, glob=f"{elsewhere}/{pattern}"))
    assert [job.source.name for job in first] == expected
    assert [job.prompt.text for job in first] == ["cat cat", "cup cup", "cat cat"]
    for text in (f"{up}/{pattern}", f"~/set/{pattern}"):
        assert [(job.key, job.output) for job in jobs(planned(studio, glob=text))] == [
            (job.key, job.output) for job in first
        ]
    assert names(planned(studio, glob=f"link/{pattern}"))[0] == "link/cat/0.png"
    by_root = jobs(planned(studio, glob=f"{elsewhere}/{pattern}", root=str(elsewhere.parent)))
    assert [job.source.name for job in by_root] == [f"set/{name}" for name in expected]
    prefixed = planned(studio, glob=f"{elsewhere}/cat/*.png", **{"as": "far/a"})
    (job,) = jobs(prefixed)
    assert (job.source.name, job.prompt.text) == ("far/a/0.png", "cat far/a")
    assert job.output == "images/gemini-2.5-flash-image/p/far/a/0-{index}"


def test_moving_the_root_pays_for_nothing(studio: Studio, elsewhere: Path, tmp_path: Path) -> None:
    """Keys and paths are those of before."""
    before = jobs(planned(studio, glob=f"{elsewhere}/**/*.png"))
    elsewhere.rename(tmp_path / "moved")
    after = jobs(planned(studio, glob=f"{tmp_path}/moved/**/*.png"))
    assert [(job.key, job.output) for job in after] == [(job.key, job.output) for job in before]


def test_two_inputs_with_one_name_are_told_apart_by_as(studio: Studio, elsewhere: Path) -> None:
    """Told by name; with `as` both are there."""
    other = elsewhere.parent / "other"
    other.mkdir()
    (other / "0.png").write_bytes(Made(9).data)
    first: dict[str, Any] = {"glob": f"{elsewhere}/cat/*.png"}
    second: dict[str, Any] = {"glob": f"{other}/*.png"}
    told = said(studio.plan(inputs=[first, second]).problems)
    assert "inputs 1 and 2 both have sources named 0.png (1 in all)" in told
    assert "write `as: ...`" in told
    second["as"] = "b"
    assert names(studio.plan(inputs=[first, second])) == ["0.png", "b/0.png"]


def test_a_file_is_one_source_however_it_is_reached(studio: Studio, elsewhere: Path) -> None:
    """Two patterns, a link beside it, a linked folder: once, and said; another label is another."""
    (elsewhere / "cat/link.png").symlink_to("0.png")
    (elsewhere / "linked").symlink_to("cat")
    (elsewhere / "cup/same.png").symlink_to("../cat/0.png")
    inputs = [{"glob": f"{elsewhere}/*/*.png"}, {"glob": f"{elsewhere}/linked/*.png", "as": "b"}]
    plan = studio.plan(inputs=inputs, prompts="x {label}")
    found = [job.source.name for lane in plan.lanes for job in lane.jobs()]
    assert (
        found
        == ["cat/0.png", "cup/2.png", "cup/same.png", "linked/0.png", "linked/link.png"][
            : len(found)
        ]
    )
    assert found[:3] == ["cat/0.png", "cup/2.png", "cup/same.png"]
    assert "a file is named twice, and is taken once" in said(plan.warnings)


def test_a_table_elsewhere_names_pictures_beside_it_or_absolutely(
    studio: Studio, elsewhere: Path
) -> None:
    """Relative cells start from the table's folder; outside ones are told how to be named."""
    (elsewhere / "list.csv").write_text(f"image,note\ncat/0.png,a\n{elsewhere}/cup/2.png,b\n")
    assert names(planned(studio, table=f"{elsewhere}/list.csv")) == ["cat/0.png", "cup/2.png"]
    listed = studio.make("list.csv", f"image\n{elsewhere}/cat/0.png\n{elsewhere}/cup/2.png\n")
    plan = planned(studio, table=str(listed))
    assert names(plan) == ["cat/0.png", "cup/2.png"]
    assert f"write `root: {elsewhere}`" in said(plan.warnings)
    rooted = planned(studio, table=str(listed), root=str(elsewhere.parent))
    assert names(rooted) == ["set/cat/0.png", "set/cup/2.png"]
    wrong = planned(studio, table=str(listed), root=str(elsewhere / "cup"))
    assert "1 of its pictures lie outside `root`" in said(wrong.problems)


def test_a_table_below_the_manifest_is_read_from_where_it_says(studio: Studio) -> None:
    """Named relatively, its cells start from the manifest's folder, and pictures beside it are told
    once, with the line to write; named absolutely, from its own."""
    for name in ("set/pics/a.png", "set/pics/b.png"):
        studio.make(name)
    studio.make("set/list.csv", "image\npics/a.png\npics/b.png\n")
    plan = planned(studio, table="set/list.csv")
    assert plan.bad_sources == ()
    (problem,) = plan.problems
    assert "lie beside the table; write `root: set`" in str(problem)
    assert names(planned(studio, table="set/list.csv", root="set")) == ["pics/a.png", "pics/b.png"]
    whole = planned(studio, table=f"{studio.folder}/set/list.csv")
    assert names(whole) == ["pics/a.png", "pics/b.png"]
    studio.make("set/list.csv", "image\nset/pics/a.png\nset/pics/b.png\n")
    assert names(planned(studio, table="set/list.csv")) == ["set/pics/a.png", "set/pics/b.png"]


def test_masks_and_prompts_come_from_anywhere(studio: Studio, elsewhere: Path) -> None:
    """A mask's path may be absolute, a prompt's file too."""
    (elsewhere.parent / "m.png").write_bytes(picture(48, 32, "L"))
    (elsewhere.parent / "p.txt").write_text("paint it {label}\n")
    studio.make("data/cat/a.png", Made(1).data)
    plan = studio.plan(
        inputs=[{"glob": "data/**/*.png", "mask": f"{elsewhere.parent}/m.png"}],
        prompts=[{"file": f"{elsewhere.parent}/p.txt"}],
        models="gpt-image-1",
    )
    (job,) = jobs(plan)
    assert (job.prompt.id, job.prompt.text) == ("p", "paint it cat")
    assert job.source.mask is not None


def test_results_stay_refused_from_wherever(studio: Studio) -> None:
    """The outputs folder by a link or an absolute pattern is still one's own results."""
    studio.make("outputs/m/images/x.png", Made(1).data)
    (studio.folder / "back").symlink_to("outputs/m")
    for text in (f"{studio.folder}/**/*.png", "back/images/*.png", "./outputs/*/images/*.png"):
        told = said(planned(studio, glob=text).problems)
        assert "feed on its own results" in told, text
    studio.make("outputs/other/images/y.png", Made(2).data)
    assert names(planned(studio, glob="outputs/other/images/*.png")) == [
        "outputs/other/images/y.png"
    ]


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "AVIF", "HEIF"])
def test_foreign_pictures_are_taken_if_converted(studio: Studio, kind: str) -> None:
    """Said, deterministically, and refused by name without `convert: true`."""
    from PIL import Image, features  # noqa: PLC0415

    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    studio.make("data/a.x", encoded(image, kind))
    refused = studio.plan(inputs=[{"glob": "data/*"}])
    assert "write `convert: true`" in refused.bad_sources[0].reason
    plan = studio.plan(inputs=[{"glob": "data/*", "convert": True}])
    (job,) = jobs(plan)
    assert job.source.picture.transforms == ("convert",)
    assert "is converted to PNG before it is sent" in said(plan.warnings)
    from retouch.pictures import payload  # noqa: PLC0415

    sent = payload(job.source.picture)
    assert sent[:4] == b"\x89PNG"
    assert sent == payload(job.source.picture)


def test_the_first_frame_of_an_animation_is_taken_if_converted(studio: Studio) -> None:
    """GIF and WEBP alike; how many frames there were is said."""
    from PIL import Image  # noqa: PLC0415

    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP"):
        more = {"save_all": True, "append_images": frames[1:]}
        studio.make(f"data/{kind}.{kind.lower()}", encoded(frames[0], kind, **more))
    plan = studio.plan(inputs=[{"glob": "data/*", "convert": True}], prompts="x")
    assert [job.source.picture.transforms for job in jobs(plan)] == [("convert",)] * 2
    assert "the first of 3 frames of a GIF picture is converted" in said(plan.warnings)


def test_heic_names_its_extra_where_it_is_missing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line to type."""
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    studio.make("data/a.heic", b"\0\0\0\x18ftypheic" + bytes(40))
    plan = studio.plan(inputs=[{"glob": "data/*", "convert": True}])
    assert "make setup EXTRAS=convert" in plan.bad_sources[0].reason
