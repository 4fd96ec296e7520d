"""A labelled set from elsewhere on the disk, edited, and out in each format: splits, classes and
boxes as readers of those formats see them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labelformat.formats.yolov8 import YOLOv8ObjectDetectionInput
from labelformat.model.bounding_box import BoundingBoxFormat

from retouch.cli import main
from tests.support.studio_out import photograph

BOX = [10.0, 20.0, 30.0, 40.0]
GROWN = [65.0, 130.0, 195.0, 260.0]  # x6.5: 192x128 became 1248x832
TRAIN, VALIDATION = 3, 2
MANIFEST = """
version: 1
name: boxes
provider: {{dialect: rehearsal}}
inputs: [{given}]
splits: {{from: path, augment: [train]}}
prompts: [{{id: bright, template: "Make it brighter"}}]
models: [{{model: gemini-2.5-flash-image, limits: {{concurrency: 4}}}}]
"""


def name_of(number: int) -> str:
    return f"{'train' if number < TRAIN else 'val'}/{number}.jpg"


def as_coco(data: Path) -> str:
    """The set in COCO's form; returns the manifest's input."""
    images, annotations = [], []
    for number in range(TRAIN + VALIDATION):
        photograph(data / "images" / name_of(number), number)
        images.append({"id": number, "file_name": name_of(number), "width": 192, "height": 128})
        annotations.append(
            {"id": number, "image_id": number, "category_id": 3 + 4 * (number % 2), "bbox": BOX,
             "area": 1200, "iscrowd": 0, "segmentation": []}
        )  # fmt: skip
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    (data / "instances.json").write_text(json.dumps(document))
    return f"{{coco: {data}/instances.json, root: {data}/images}}"


def as_yolo(data: Path) -> str:
    for number in range(TRAIN + VALIDATION):
        photograph(data / "images" / name_of(number), number)
        label = (data / "labels" / name_of(number)).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        x, y, width, height = BOX
        shares = ((x + width / 2) / 192, (y + height / 2) / 128, width / 192, height / 128)
        label.write_text(f"{number % 2} {' '.join(map(str, shares))}\n")
    (data / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"
    )
    return f"{{yolo: {data}/data.yaml}}"


def as_imagefolder(data: Path) -> str:
    for number in range(TRAIN + VALIDATION):
        path = data / name_of(number)
        photograph(path, number)
        row = {
            "file_name": path.name,
            "objects": {"bbox": [BOX], "categories": [["cat", "dog"][number % 2]]},
        }
        with (path.parent / "metadata.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    return f"{{imagefolder: {data}}}"


@pytest.fixture(
    scope="module", params=[as_coco, as_yolo, as_imagefolder], ids=lambda way: way.__name__
)
def words(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A finished manifest over a set that lies elsewhere."""
    given = request.param(tmp_path_factory.mktemp("elsewhere"))
    folder = tmp_path_factory.mktemp("project")
    (folder / "boxes.yaml").write_text(MANIFEST.format(given=given))
    words = [str(folder / "boxes.yaml"), "--outputs", str(folder / "outputs")]
    assert main(["run", *words, "--yes"]) == 0
    return words


def exported(words: list[str], folder: Path, name: str) -> Path:
    out = folder / name
    assert main(["export", *words, "--to", str(out), "--format", name]) == 0
    return out


def test_boxes_come_out_where_the_edits_have_them(words: list[str], tmp_path: Path) -> None:
    """Edits grown by 6.5 in train, the untouched originals' own in val; classes by name."""
    folder = exported(words, tmp_path, "yolo")
    for split, count, box in (("train", TRAIN, GROWN), ("val", VALIDATION, BOX)):
        pictures = list(YOLOv8ObjectDetectionInput(folder / "data.yaml", split).get_labels())
        assert len(pictures) == count
        for picture in pictures:
            (thing,) = picture.objects
            number = int(Path(picture.image.filename).name.split("-")[0])
            assert thing.category.name == ("cat", "dog")[number % 2]
            assert thing.box.to_format(BoundingBoxFormat.XYWH) == pytest.approx(box, abs=0.01)


def test_hugging_face_loads_splits_classes_and_boxes(
    words: list[str], tmp_path: Path, loaded: Any
) -> None:
    sets = loaded(str(exported(words, tmp_path, "parquet")))
    assert {name: len(each) for name, each in sets.items()} == {
        "train": TRAIN, "validation": VALIDATION,
    }  # fmt: skip
    for row in sets["train"]:
        assert row["image"].size == (1248, 832)
        assert row["objects"]["bbox"] == [GROWN]
        assert row["prompt_text"] == "Make it brighter"
    assert sets["validation"][0]["objects"]["bbox"] == [BOX]
    assert sets["validation"]["original"] == [True] * VALIDATION


def test_every_format_names_the_same_data_set(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One digest, whatever the format; proved from the folder and from the manifest."""
    digests = set()
    for name in ("imagefolder", "webdataset", "coco", "voc"):
        exported(words, tmp_path, name)
        digests.add(capsys.readouterr().out.splitlines()[-1].removeprefix("dataset digest "))
    (digest,) = digests
    assert main(["verify", *words, "--dataset", digest]) == 0
    assert main(["verify", str(tmp_path / "voc"), "--dataset", digest]) == 0
