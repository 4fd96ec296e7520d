"""Every format is read back by readers that nobody here wrote."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import random
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import globox
import pytest
import webdataset
from labelformat.formats.pascalvoc import PascalVOCObjectDetectionInput
from labelformat.formats.yolov8 import (
    YOLOv8InstanceSegmentationInput,
    YOLOv8ObjectDetectionInput,
)
from labelformat.model.bounding_box import BoundingBoxFormat
from labelformat.model.multipolygon import MultiPolygon
from pycocotools.coco import COCO

from retouch.export.folder import new_folder
from retouch.export.formats import FORMATS
from retouch.export.pictures import Exported, Json
from retouch.export.shape import shape_of
from retouch.plan.annotations import Box, Instance, Keypoint, Mask, Polygon
from tests.support.exported import HEIGHT, WIDTH, exported, written

CAT = Instance("cat", Box(10, 20, 30.5, 40))
DOG = Instance("dog", Box(0, 0, WIDTH, HEIGHT))
leaves_files_open = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
TRIANGLE = Polygon(((10, 20), (40, 20), (40, 60)))


@pytest.fixture
def classed() -> list[Exported]:
    """Eight edits in two splits, two classes, with a caption; originals alone in a third."""
    train = [
        exported(n, label="cat" if n % 3 else "dog & co", columns={"caption": f"no {n}"})
        for n in range(6)
    ]
    validation = [
        exported(n, split="validation", label="cat", columns={"caption": ""}) for n in (6, 7)
    ]
    test = [
        exported(8, split="test", label="cat", is_original=True),
        exported(9, split="test", label="dog & co", is_original=True),
    ]
    return [*train, *validation, *test]


def test_imagefolder_is_loaded_with_its_metadata(
    tmp_path: Path, classed: list[Exported], loaded: Any
) -> None:
    """Splits, labels and carried columns arrive, also where a split holds originals alone."""
    folder = written(tmp_path / "out", "imagefolder", classed)
    sets = loaded("imagefolder", data_dir=str(folder))
    assert {name: len(each) for name, each in sets.items()} == {
        "train": 6, "validation": 2, "test": 2,
    }  # fmt: skip
    assert Counter(sets["train"]["label"]) == {"cat": 4, "dog & co": 2}
    assert sets["train"][1]["caption"] == "no 1"
    assert sets["train"][1]["key"] == classed[1].provenance.key
    assert sets["train"][0]["image"].size == (WIDTH, HEIGHT)
    assert sets["test"]["original"] == [True, True]
    assert sets["test"]["key"] == ["", ""]


def test_imagefolder_keeps_the_rules_of_folders_named_by_class(
    tmp_path: Path, classed: list[Exported], loaded: Any
) -> None:
    """Read by its folders alone, as torchvision does, each picture has its class."""
    folder = written(tmp_path / "out", "imagefolder", classed)
    files = sorted(str(path) for path in (folder / "train").rglob("*.png"))
    by_folder = loaded("imagefolder", data_files={"train": files}, drop_labels=False)["train"]
    names = by_folder.features["label"].names
    assert Counter(names[number] for number in by_folder["label"]) == {"cat": 4, "dog & co": 2}


def test_an_original_among_edits_has_no_key(tmp_path: Path) -> None:
    pictures = [exported(0, label="cat"), exported(1, label="cat", is_original=True)]
    folder = written(tmp_path / "out", "imagefolder", pictures)
    lines = (folder / "train" / "metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [pictures[0].provenance.key, None]


def test_imagefolder_pairs_are_loaded_side_by_side(tmp_path: Path, loaded: Any) -> None:
    """An edit and its source, under the names that instruct-pix2pix's training takes."""
    pictures = [exported(n, before=True, suffix=".png") for n in range(3)]
    folder = written(tmp_path / "out", "imagefolder", pictures, pairs=True)
    rows = loaded("imagefolder", data_dir=str(folder))["train"]
    assert rows[2]["input_image"].getpixel((0, 0)) != rows[2]["image"].getpixel((0, 0))
    assert rows[2]["edit_prompt"] == "snow on it"


def test_parquet_is_loaded_with_classes_and_nested_cells(tmp_path: Path, loaded: Any) -> None:
    """Labels are ClassLabels; boxes, numbers and nested cells keep their types."""
    nested: dict[str, Json] = {"scores": [1.5, 2.0], "taken": {"by": "me", "year": 2026}}
    pictures = [
        exported(0, label="cat", instances=(CAT, DOG), columns={**nested, "count": 3}),
        exported(1, label="dog", split="validation", columns={"count": 4}),
        exported(2, label="dog", split="validation", is_original=True),
    ]
    folder = written(tmp_path / "out", "parquet", pictures)
    sets = loaded(str(folder))
    row = sets["train"][0]
    features = sets["train"].features
    assert features["label"].int2str(row["label"]) == "cat"
    assert (row["count"], row["scores"], row["taken"]["year"]) == (3, [1.5, 2.0], 2026)
    assert sets["validation"]["count"] == [4, None]
    assert row["image"].size == (WIDTH, HEIGHT)
    assert sets["validation"]["key"][1] is None


def test_parquet_boxes_are_loaded_with_their_classes(tmp_path: Path, loaded: Any) -> None:
    pictures = [exported(0, instances=(CAT, DOG)), exported(1)]
    rows = loaded(str(written(tmp_path / "out", "parquet", pictures)))["train"]
    objects = rows[0]["objects"]
    assert objects["bbox"] == [[10, 20, 30.5, 40], [0, 0, WIDTH, HEIGHT]]
    names = rows.features["objects"]["category"].feature.names
    assert [names[number] for number in objects["category"]] == ["cat", "dog"]
    assert rows[1]["objects"]["bbox"] == []


@leaves_files_open
def test_webdataset_is_read_by_its_own_library(tmp_path: Path, classed: list[Exported]) -> None:
    """Picture, metadata and class number of each sample; class names in classes.txt."""
    folder = written(tmp_path / "out", "webdataset", classed)
    names = (folder / "classes.txt").read_text().splitlines()
    samples = list(
        webdataset.WebDataset(str(folder / "train-000000.tar"), shardshuffle=False)
        .decode("pil")
        .to_tuple("png", "json", "cls")
    )
    assert Counter(names[number] for _, _, number in samples) == {"cat": 4, "dog & co": 2}
    image, about, _ = samples[1]
    assert image.size == (WIDTH, HEIGHT)
    assert about["caption"] == "no 1"
    gc.collect()


def test_webdataset_is_loaded_by_hugging_face(
    tmp_path: Path, classed: list[Exported], loaded: Any
) -> None:
    folder = written(tmp_path / "out", "webdataset", classed)
    sets = loaded("webdataset", data_dir=str(folder))
    assert {name: len(each) for name, each in sets.items()} == {
        "train": 6, "validation": 2, "test": 2,
    }  # fmt: skip
    assert sets["train"][0]["json"]["label"] == "dog & co"


@leaves_files_open
def test_webdataset_begins_another_shard_when_one_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retouch.export.webdataset.SHARD_BYTES", 20_000)
    folder = written(tmp_path / "out", "webdataset", [exported(n) for n in range(12)])
    shards = sorted(path.name for path in folder.glob("*.tar"))
    assert shards[:2] == ["train-000000.tar", "train-000001.tar"]
    source = str(folder / f"train-{{000000..{len(shards) - 1:06}}}.tar")
    samples = webdataset.WebDataset(source, shardshuffle=False)
    assert len({sample["__key__"] for sample in samples}) == 12
    gc.collect()


def coco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools is older than numpy 2
def test_coco_is_read_by_pycocotools(tmp_path: Path) -> None:
    """Boxes, outlines, run lengths and keypoints of each split, with one numbering of classes."""
    square = Mask(WIDTH, HEIGHT, (10 * HEIGHT, 5 * HEIGHT, (WIDTH - 15) * HEIGHT))
    nose = (Keypoint(12, 22, 2, "nose"), Keypoint(0, 0, 0, "tail"))
    pictures = [
        exported(0, instances=(CAT, Instance("dog", TRIANGLE.box, (TRIANGLE,)))),
        exported(
            1, instances=(Instance("dog", Box(10, 0, 5, HEIGHT), mask=square, is_crowd=True),)
        ),
        exported(2, split="validation", instances=(Instance("dog", DOG.box, keypoints=nose),)),
    ]
    folder = written(tmp_path / "out", "coco", pictures)
    train = coco(folder / "annotations" / "instances_train.json")
    validation = coco(folder / "annotations" / "instances_validation.json")
    names = {each["id"]: each["name"] for each in train.loadCats(train.getCatIds())}
    assert names == {1: "cat", 2: "dog"}
    assert [each["bbox"] for each in train.anns.values()][:2] == [
        [10, 20, 30.5, 40],
        [10, 20, 30, 40],
    ]
    cat, dog, crowd = train.anns.values()
    assert abs(int(train.annToMask(dog).sum()) - dog["area"]) < 60  # pixels on the outline
    assert dog["area"] == 600
    assert int(train.annToMask(crowd).sum()) == 5 * HEIGHT == crowd["area"]
    assert (cat["iscrowd"], crowd["iscrowd"]) == (0, 1)
    (placed,) = validation.anns.values()
    assert (placed["keypoints"], placed["num_keypoints"]) == ([12, 22, 2, 0, 0, 0], 1)
    assert validation.loadCats(2)[0]["keypoints"] == ["nose", "tail"]
    for each in train.imgs.values():
        assert (folder / "images" / "train" / each["file_name"]).is_file()


def yolo_boxes(reader: YOLOv8ObjectDetectionInput) -> dict[str, list[tuple[str, list[float]]]]:
    return {
        Path(each.image.filename).name: [
            (
                thing.category.name,
                [round(n, 1) for n in thing.box.to_format(BoundingBoxFormat.XYWH)],
            )
            for thing in each.objects
        ]
        for each in reader.get_labels()
    }


def test_yolo_boxes_are_read_by_labelformat_and_globox(tmp_path: Path) -> None:
    """data.yaml, splits under trainers' names, boxes in pixels again; no instances, an empty
    file; a box that leaves the picture is cut."""
    beyond = Instance("dog", Box(WIDTH - 10, HEIGHT - 10, 50, 50))
    pictures = [
        exported(0, instances=(CAT, DOG)),
        exported(1),
        exported(2, split="validation", instances=(beyond,)),
    ]
    folder = written(tmp_path / "out", "yolo", pictures)
    train = YOLOv8ObjectDetectionInput(folder / "data.yaml", "train")
    assert yolo_boxes(train) == {
        "00000-0.png": [("cat", [10, 20, 30.5, 40]), ("dog", [0, 0, WIDTH, HEIGHT])],
        "00001-0.png": [],
    }
    val = YOLOv8ObjectDetectionInput(folder / "data.yaml", "val")
    assert yolo_boxes(val)["00002-0.png"] == [("dog", [WIDTH - 10, HEIGHT - 10, 10, 10])]
    again = globox.AnnotationSet.from_yolo_v5(
        folder / "labels" / "train",
        image_folder=folder / "images" / "train",
        image_extension=".png",
    )
    assert {each.image_id: len(each.boxes) for each in again} == {
        "00000-0.png": 2,
        "00001-0.png": 0,
    }


def test_yolo_writes_segments_where_every_instance_has_an_outline(tmp_path: Path) -> None:
    parts = (TRIANGLE, Polygon(((50, 20), (60, 20), (60, 30), (50, 30))))
    folder = written(
        tmp_path / "out", "yolo", [exported(0, instances=(Instance("cat", TRIANGLE.box, parts),))]
    )
    reader = YOLOv8InstanceSegmentationInput(folder / "data.yaml", "train")
    (picture,) = reader.get_labels()
    (thing,) = picture.objects
    assert isinstance(thing.segmentation, MultiPolygon)
    (outline,) = thing.segmentation.polygons
    corners = {(round(x), round(y)) for x, y in outline}
    assert corners == {(10, 20), (40, 20), (40, 60), (50, 20), (60, 20), (60, 30), (50, 30)}


def test_voc_is_read_by_labelformat_and_globox(tmp_path: Path) -> None:
    """Corners in whole pixels, one document a picture, the splits' lists of names."""
    pictures = [
        exported(0, instances=(CAT, Instance("dog & <co>", DOG.box))),
        exported(1, split="validation", instances=(DOG,)),
    ]
    folder = written(tmp_path / "out", "voc", pictures)
    reader = PascalVOCObjectDetectionInput(folder / "Annotations", "cat,dog,dog & <co>")
    found = {
        each.image.filename: [
            (thing.category.name, thing.box.to_format(BoundingBoxFormat.XYXY))
            for thing in each.objects
        ]
        for each in reader.get_labels()
    }
    assert found["00000-0.png"] == [
        ("cat", [10, 20, 40, 60]),
        ("dog & <co>", [0, 0, WIDTH, HEIGHT]),
    ]
    again = globox.AnnotationSet.from_pascal_voc(folder / "Annotations")
    assert len(again) == 2
    names = (folder / "ImageSets" / "Main" / "validation.txt").read_text().split()
    assert names == ["00001-0"]
    assert (folder / "JPEGImages" / "00001-0.png").is_file()


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "coco", "yolo", "voc", "parquet"])
def test_the_same_pictures_have_the_same_bytes_twice(
    tmp_path: Path, classed: list[Exported], name: str
) -> None:
    one = written(tmp_path / "one", name, classed)
    other = written(tmp_path / "other", name, classed)
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in files)


def test_a_carried_column_never_hides_one_of_the_sets_own(tmp_path: Path, loaded: Any) -> None:
    pictures = [exported(0, label="cat", columns={"prompt": "theirs", "file_name": "x/y.jpg"})]
    folder = written(tmp_path / "out", "imagefolder", pictures)
    row = loaded("imagefolder", data_dir=str(folder))["train"][0]
    assert (row["prompt"], row["prompt_"]) == ("snow", "theirs")


def test_classes_alike_but_for_case_get_folders_of_their_own(tmp_path: Path) -> None:
    """On a file system that ignores case they would be one class; none is the sources' folder."""
    pictures = [exported(n, label=label) for n, label in enumerate(("Cat", "cat", "inputs"))]
    folder = written(tmp_path / "out", "imagefolder", pictures)
    names = {path.name.casefold() for path in (folder / "train").iterdir() if path.is_dir()}
    assert len(names) == 3
    assert "inputs" not in names


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "coco", "yolo", "voc", "parquet"])
def test_memory_does_not_grow_with_the_pictures(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 MB of pictures go through in 12 MB."""
    monkeypatch.setattr("retouch.export.parquet.GROUP_BYTES", 2 << 20)
    monkeypatch.setattr("retouch.export.webdataset.SHARD_BYTES", 40 << 20)
    one = exported(0, label="cat", instances=(CAT,))
    written(tmp_path / "first", name, [one])  # libraries are loaded when they are first used
    seen = [(one.split, True, one.annotations)]
    shape = shape_of(seen, has_pairs=False)
    tracemalloc.start()
    with new_folder(tmp_path / "out", replace=False) as folder, FORMATS[name](folder, shape) as out:
        for number in range(240):
            data = random.Random(number).randbytes(500_000)
            out.add(replace(one, file=replace(one.file, name=f"{number}.png", data=data)))
        out.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000
