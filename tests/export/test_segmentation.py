"""Label pictures: named beside the sources, never sent, following each edit pixel by pixel."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retouch.cli import main
from retouch.export.segmentation import fitted
from retouch.pictures.geometry import Affine
from tests.export.test_moved import red_of
from tests.support.studio import Studio, jobs
from tests.support.studio_out import SIZE, photograph

GROWN = (1248, 832)  # x6.5
RED = (80, 50, 140, 90)
PALETTE = [0, 0, 0, 250, 0, 0, 0, 250, 0]
MANIFEST = """
version: 1
name: segments
provider: {{dialect: rehearsal, faults: [{faults}]}}
inputs: [{{imagefolder: {data}, segmentation: "{{mask_file_name}}"}}]
splits: {{from: path, augment: [train]}}
prompts: [{{id: bright, template: "Make it brighter"}}]
models: [{{model: {model}, limits: {{concurrency: 4}}}}]
labels: {{geometry: {geometry}}}
"""


def labels_of(number: int) -> Image.Image:
    """Classes by palette: 1 where the source is red, 2 at the upper edge."""
    image = Image.new("P", SIZE, 0)
    image.putpalette(PALETTE)
    image.paste(2, (0, 0, 40 + number, 20))
    image.paste(1, RED)
    return image


def ran(folder: Path, *, faults: str = "", geometry: str = "scale", model: str) -> list[str]:
    """A finished run over three labelled pictures, the last of them in test."""
    data = folder / "data"
    for number in range(3):
        split = data / ("test" if number == 2 else "train")
        photograph(split / f"{number}.png", number)
        with Image.open(split / f"{number}.png") as image:
            image.paste((250, 0, 0), RED)
            image.save(split / f"{number}.png")
        (split / "masks").mkdir(exist_ok=True)
        labels_of(number).save(split / f"masks/{number}.png")
        row = {"file_name": f"{number}.png", "mask_file_name": f"masks/{number}.png"}
        with (split / "metadata.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    text = MANIFEST.format(data=data, faults=faults, geometry=geometry, model=model)
    (folder / "segments.yaml").write_text(text)
    words = [str(folder / "segments.yaml"), "--outputs", str(folder / "outputs")]
    assert main(["run", *words, "--yes"]) == 0
    return words


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return ran(tmp_path_factory.mktemp("segments"), model="gemini-2.5-flash-image")


def exported(words: list[str], folder: Path, name: str, *flags: str) -> Path:
    out = folder / name
    assert main(["export", *words, "--to", str(out), "--format", name, *flags]) == 0
    return out


def nearest(number: int, size: tuple[int, int] = GROWN) -> Any:
    return np.asarray(labels_of(number).resize(size, Image.Resampling.NEAREST))


def test_hugging_face_loads_them_beside_the_pictures(
    done: list[str], tmp_path: Path, loaded: Any
) -> None:
    """As large as each edit (x6.5), by nearest neighbour, the palette kept; an original's is its
    own, byte by byte."""
    folder = exported(done, tmp_path, "imagefolder")
    sets = loaded("imagefolder", data_dir=str(folder))
    assert {name: len(each) for name, each in sets.items()} == {"train": 2, "test": 1}
    for row in sets["train"]:
        number = int(Path(row["source"]).stem)
        assert row["image"].size == row["segmentation"].size == GROWN
        assert (np.asarray(row["segmentation"]) == nearest(number)).all()
        assert row["segmentation"].getpalette()[: len(PALETTE)] == PALETTE
        assert row["mask_file_name_"] == f"masks/{number}.png"  # theirs; nothing lies there now
    (original,) = (folder / "test/segmentations").iterdir()
    source = Path(done[0]).parent / "data/test/masks/2.png"
    assert original.read_bytes() == source.read_bytes()


def test_parquet_tars_and_voc_have_a_place_for_them(
    done: list[str], tmp_path: Path, loaded: Any
) -> None:
    sets = loaded(str(exported(done, tmp_path, "parquet")))
    (first, second) = sets["train"]
    for number, row in enumerate((first, second)):
        assert (np.asarray(row["segmentation"]) == nearest(number)).all()
    with tarfile.open(exported(done, tmp_path, "webdataset") / "train-000000.tar") as tar:
        names = [name for name in tar.getnames() if name.endswith(".seg.png")]
        assert len(names) == 2
        assert {f"{name.partition('.')[0]}.png" for name in names} <= set(tar.getnames())
    voc = exported(done, tmp_path, "voc")
    listed = (voc / "ImageSets/Segmentation/train.txt").read_text().split()
    assert len(listed) == 2
    for name in listed:
        with (
            Image.open(voc / f"JPEGImages/{name}.png") as picture,
            Image.open(voc / f"SegmentationClass/{name}.png") as labels,
        ):
            assert picture.size == labels.size == GROWN
            assert set(np.unique(np.asarray(labels))) == {0, 1, 2}
        assert "<segmented>1</segmented>" in (voc / f"Annotations/{name}.xml").read_text()


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_a_format_without_a_place_for_them_says_so(
    done: list[str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(done, tmp_path, name)
    assert f"{name} has no place for segmentations" in capsys.readouterr().err


def test_at_the_sources_size_they_are_what_they_were(done: list[str], tmp_path: Path) -> None:
    folder = exported(done, tmp_path, "imagefolder", "--size", "source")
    for path in (folder / "train/segmentations").iterdir():
        number = int(path.name[0])
        with Image.open(path) as image:
            assert (np.asarray(image) == np.asarray(labels_of(number))).all()


def test_they_follow_an_edit_that_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`register`: what is labelled as red lies where the red is, to three pixels of 1536."""
    words = ran(tmp_path, faults="{kind: moved}", geometry="register", model="gpt-image-1")
    capsys.readouterr()
    folder = exported(words, tmp_path, "imagefolder")
    rows = (folder / "train/metadata.jsonl").read_text().splitlines()
    assert len(rows) == 2
    for row in map(json.loads, rows):
        assert row["geometry"] == "registered"
        with Image.open(folder / "train" / row["segmentation_file_name"]) as image:
            assert image.size == (1536, 1024)
            places = np.argwhere(np.asarray(image) == 1)
        (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0) + 1
        found = [left, top, right - left, bottom - top]
        assert found == pytest.approx(red_of(folder / "train" / row["file_name"]), abs=3)


def test_another_label_picture_is_another_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is in the digest, and in no Key: nothing is paid again; `labels: drop` leaves it out."""
    words = ran(tmp_path, model="gemini-2.5-flash-image")
    digests = []
    for change in range(2):
        labels_of(9 * change).save(tmp_path / "data/train/masks/0.png")
        capsys.readouterr()
        exported(words, tmp_path, "imagefolder", "--replace")
        digests.append(capsys.readouterr().out.split()[-1])
        assert main(["verify", *words, "--dataset", digests[-1]]) == 0
    assert len(set(digests)) == 2
    assert main(["run", *words, "--yes"]) == 0
    assert "nothing to send" in capsys.readouterr().err
    manifest = Path(words[0])
    manifest.write_text(re.sub(r"geometry: \w+", "geometry: drop", manifest.read_text()))
    folder = exported(words, tmp_path, "imagefolder", "--replace")
    assert not (folder / "train/segmentations").exists()


def test_what_does_not_fit_or_is_not_there_is_told(tmp_path: Path) -> None:
    """By name and size, before anything is paid for."""
    studio = Studio(tmp_path)
    studio.make("data/a.png", _png(Image.new("RGB", (40, 30))))
    studio.make("data/b.png", _png(Image.new("RGB", (40, 30), "red")))
    studio.make("masks/a.png", _png(Image.new("L", (20, 30))))
    given = {"glob": "data/*.png", "segmentation": "masks/{stem}.png"}
    bad = [each.reason for each in studio.plan(inputs=[given]).bad_sources]
    assert bad[0] == ("its segmentation masks/a.png is 20x30, the picture 40x30: make them equal")
    assert bad[1].startswith("its segmentation masks/b.png is not there")
    studio.make("masks/a.png", _png(Image.new("L", (40, 30))))
    studio.make("masks/b.png", _png(Image.new("L", (40, 30), 3)))
    plan = studio.plan(inputs=[given])
    bare = studio.plan(inputs=[{"glob": "data/*.png"}])
    assert [job.key for job in jobs(plan)] == [job.key for job in jobs(bare)]


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA"])
def test_no_value_is_made_up(mode: str) -> None:
    """Whatever the depth: scaled or moved, a pixel has a value that was there, or 0."""
    numbers = np.random.default_rng(3)
    if mode == "I;16":
        image = Image.fromarray(numbers.choice(np.array([0, 300, 40_000], np.uint16), (30, 40)))
    else:
        image = Image.fromarray(numbers.integers(0, 256, (30, 40, 3), np.uint8)).convert(mode)
    data = _png(image)
    before = np.asarray(image).reshape(30, 40, -1)
    assert fitted(data, None, (80, 60), (40, 30)) == data
    for affine in (None, Affine(2, 0, 10, 0, 2, -6)):
        with Image.open(io.BytesIO(fitted(data, affine, (80, 60), (80, 60)))) as found:
            assert found.mode == image.mode
            after = np.asarray(found).reshape(60, 80, -1)
        kept = after[0:40, 10:80] if affine else after
        expected = before.repeat(2, axis=0).repeat(2, axis=1)
        wanted = expected[6:46, 0:70] if affine else expected
        assert (kept == wanted).all()
        if affine:
            assert not after[:, :10].any()
