"""Edits that moved: rehearsed by a fault of the service, counted at the end, followed by labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retouch.cli import main
from retouch.job import Source
from retouch.plan.annotations import Annotations, Box, Instance
from retouch.plan.known import Known
from tests.support.studio_out import photograph

RED = Box(80, 50, 60, 40)
PICTURES = 2
MANIFEST = """
version: 1
name: moved
provider: {{dialect: rehearsal, faults: [{faults}]}}
inputs: [{{glob: photos/*.png}}]
prompts: [{{id: bright, template: "Make it brighter"}}]
models: [{{model: gpt-image-1, options: {options}, limits: {{concurrency: 4}}}}]
labels: {{geometry: {geometry}}}
"""


@pytest.fixture
def boxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every source has one box, around its red rectangle."""
    annotations = Annotations(labels=("red",), instances=(Instance("red", RED),))

    def labelled(_: Source) -> Known:
        return Known("train", True, annotations)

    monkeypatch.setattr("retouch.export.present.labelled", labelled)


def ran(
    folder: Path, *, faults: str = "", geometry: str = "scale", options: str = "{}"
) -> list[str]:
    """A finished run over pictures with a red rectangle; the words that name it."""
    for number in range(PICTURES):
        path = folder / f"photos/{number}.png"
        photograph(path, number)
        with Image.open(path) as image:
            image.paste(
                (250, 0, 0),
                (int(RED.x), int(RED.y), int(RED.x + RED.width), int(RED.y + RED.height)),
            )
            image.save(path)
    text = MANIFEST.format(faults=faults, geometry=geometry, options=options)
    (folder / "moved.yaml").write_text(text)
    words = [str(folder / "moved.yaml"), "--outputs", str(folder / "outputs")]
    assert main(["run", *words, "--yes"]) == 0
    return words


def boxes(folder: Path, words: list[str]) -> list[tuple[list[float], list[float]]]:
    """Of each exported picture its box, and where the red really is."""
    out = folder / "out"
    main(["export", *words, "--to", str(out), "--format", "coco"])
    document = json.loads((out / "annotations/instances_train.json").read_text())
    names = {each["id"]: each["file_name"] for each in document["images"]}
    return [
        (each["bbox"], red_of(out / "images/train" / names[each["image_id"]]))
        for each in document["annotations"]
    ]


def red_of(path: Path) -> list[float]:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    is_red = (pixels[:, :, 0] > 200) & (pixels[:, :, 1] < 60) & (pixels[:, :, 2] < 60)
    rows, columns = (
        np.flatnonzero(is_red.sum(axis=1) > 100),
        np.flatnonzero(is_red.sum(axis=0) > 100),
    )
    left, top = float(columns.min()), float(rows.min())
    return [left, top, float(columns.max()) + 1 - left, float(rows.max()) + 1 - top]


def worst(found: list[tuple[list[float], list[float]]]) -> float:
    """Pixels between where a box is and where it should be, at most."""
    return max(
        abs(mine - truth) for box, real in found for mine, truth in zip(box, real, strict=True)
    )


@pytest.mark.usefixtures("boxed")
def test_boxes_are_scaled_with_the_edit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """192x128 became 1536x1024: x8, and the red lies in the box."""
    words = ran(tmp_path)
    said = capsys.readouterr().err
    assert f"{PICTURES} of {PICTURES} differ in size from their source\n" in said
    found = boxes(tmp_path, words)
    assert [box for box, _ in found] == [[640, 400, 480, 320]] * PICTURES
    assert worst(found) < 8


@pytest.mark.usefixtures("boxed")
def test_a_run_says_that_edits_moved_and_register_follows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zoomed and shifted by the service: counted at the run's end; boxes fitted to within 1 %."""
    words = ran(tmp_path, faults="{kind: moved}", geometry="register")
    assert (
        f"{PICTURES} of {PICTURES} differ in size from their source, "
        f"{PICTURES} have moved by more than 2 %" in capsys.readouterr().err
    )
    found = boxes(tmp_path, words)
    assert len(found) == PICTURES
    assert worst(found) < 15
    assert "follows them" not in capsys.readouterr().err


@pytest.mark.usefixtures("boxed")
def test_scaled_boxes_of_moved_edits_are_off_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ran(tmp_path, faults="{kind: moved}")
    capsys.readouterr()
    assert worst(boxes(tmp_path, words)) > 15
    assert "`labels: {geometry: register}` follows them" in capsys.readouterr().err


@pytest.mark.usefixtures("boxed")
def test_a_cropped_edit_is_left_out_with_its_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A square of a 3:2 picture is a crop: no box is invented, the export exits 1; registered, it
    is in."""
    words = ran(tmp_path, options="{size: 1024x1024}")
    capsys.readouterr()
    out = str(tmp_path / "none")
    assert main(["export", *words, "--to", out, "--format", "yolo"]) == 1
    said = capsys.readouterr().err
    assert f"{PICTURES} left out: it was cropped or padded (192x128 became 1024x1024)" in said
    assert not (tmp_path / "none").exists()
    text = (tmp_path / "moved.yaml").read_text().replace("geometry: scale", "geometry: register")
    (tmp_path / "moved.yaml").write_text(text)
    found = boxes(tmp_path, words)
    assert len(found) == PICTURES
    assert worst(found) < 15


@pytest.mark.usefixtures("boxed")
def test_a_digest_is_proved_with_what_was_refused_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest's digest leaves out what its export leaves out."""
    words = ran(tmp_path, options="{size: 1024x1024}")
    photograph(tmp_path / "photos/0.png", 99, (128, 128))
    assert main(["run", *words, "--yes"]) == 0
    capsys.readouterr()
    assert main(["export", *words, "--to", str(tmp_path / "out"), "--format", "coco"]) == 1
    digest = capsys.readouterr().out.splitlines()[-1].removeprefix("dataset digest ")
    assert main(["verify", *words, "--dataset", digest]) == 0
