"""Labelled sets from elsewhere on the disk: the same content comes out of every format."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import orjson
import pytest

from retouch.plan import Plan, known_of
from retouch.plan.sets.coco import _uncompressed
from tests.support.datasets import CLASSES, SIZE, WRITERS, made, write_coco, write_yolo
from tests.support.hostile_pictures import picture
from tests.support.studio import Studio, jobs, said

COUNT = 120
HAS_BOXES = ("imagefolder", "coco", "yolo")


def the_plan(studio: Studio, tmp_path: Path, kind: str, **parts: object) -> Plan:
    given = WRITERS[kind](tmp_path / "elsewhere", COUNT)
    key = "column" if kind == "table" else "from"
    splits = {key: "split" if kind == "table" else "path"}
    return studio.plan(inputs=[given], prompts="x", splits=splits, **parts)


@pytest.mark.parametrize("kind", WRITERS)
def test_labels_boxes_and_splits_are_those_of_the_set(
    studio: Studio, tmp_path: Path, kind: str
) -> None:
    """Counted: sources, classes, boxes by class, splits; and no name tells where the set lies."""
    plan = the_plan(studio, tmp_path, kind)
    assert len(jobs(plan)) == COUNT
    known = [known_of(source) for source in plan.inputs]
    assert Counter(each.split for each in known) == {"train": 96, "validation": 24}
    single = Counter(each.label for each in made(COUNT) if len(each.boxes) == 1)
    labels = Counter(each.annotations.label or "" for each in known)
    if kind in ("coco", "yolo"):  # a class of its own only where the objects share one
        assert labels == {**single, "": COUNT - single.total()}
    else:
        assert labels == Counter(each.label for each in made(COUNT))
    if kind in ("coco", "yolo"):
        found = sorted(
            (each.label, *(round(value, 6) for value in
             (each.box.x, each.box.y, each.box.width, each.box.height)))
            for source in known for each in source.annotations.instances
        )  # fmt: skip
        assert found == sorted((label, *box) for each in made(COUNT) for label, box in each.boxes)
    if kind == "imagefolder":
        cells = [dict(each.annotations.columns) for each in known]
        boxes = sum(len(orjson.loads(each["objects"])["bbox"]) for each in cells)
        assert boxes == sum(len(each.boxes) for each in made(COUNT))
    assert all(not source.name.startswith("/") for source in plan.inputs)
    assert not [job.output for job in jobs(plan) if str(tmp_path.name) in job.output]


def test_a_tars_pictures_are_read_in_place(studio: Studio, tmp_path: Path) -> None:
    """The Key is that of the same file outside; the name is the shard's and the member's."""
    plan = the_plan(studio, tmp_path, "webdataset")
    (first, *_) = jobs(plan)
    assert first.source.name == "train-000000/0001.png"
    studio.make("data/alone.png", next(each.data for each in made(9) if each.number == 1))
    (alone,) = jobs(studio.plan(inputs=[{"glob": "data/*"}], prompts="x"))
    assert alone.key == first.key
    again = the_plan(studio, tmp_path, "webdataset")
    assert [job.key for job in jobs(again)] == [job.key for job in jobs(plan)]


def test_the_label_and_all_labels_are_columns(studio: Studio, tmp_path: Path) -> None:
    """{label} is the one class, {labels} all, joined by +; `where` chooses by them."""
    given = write_coco(tmp_path / "set", 15) | {"where": {"labels": ["cat+cup", "cup"]}}
    found = {
        job.prompt.text for job in jobs(studio.plan(inputs=[given], prompts="{label}/{labels}"))
    }
    assert found == {"/cat+cup", "cup/cup"}


def test_moving_the_set_pays_for_nothing(studio: Studio, tmp_path: Path) -> None:
    """Keys and paths hang on names below the root alone."""
    before = jobs(the_plan(studio, tmp_path, "yolo"))
    (tmp_path / "elsewhere").rename(tmp_path / "moved")
    inputs = [{"yolo": str(tmp_path / "moved/data.yaml")}]
    after = jobs(studio.plan(inputs=inputs, prompts="x", splits={"from": "path"}))
    assert [(job.key, job.output) for job in after] == [(job.key, job.output) for job in before]


def test_yolo_segments_and_poses_become_pixels(studio: Studio, tmp_path: Path) -> None:
    """An outline's points and its rectangle; keypoints where `kpt_shape` says how many."""
    folder = tmp_path / "set"
    write_yolo(folder, 2)
    (folder / "labels/train/0001.txt").write_text("0 0.25 0.25 0.75 0.25 0.5 0.75\n")
    (source,) = [
        each
        for each in studio.plan(inputs=[{"yolo": f"{folder}/data.yaml"}], prompts="x").inputs
        if each.name.endswith("0001.png")
    ]
    (instance,) = known_of(source).annotations.instances
    assert instance.polygons[0].points == ((12.0, 8.0), (36.0, 8.0), (24.0, 24.0))
    assert (instance.box.x, instance.box.width) == (12.0, 24.0)
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(f"{text}kpt_shape: [2, 3]\n")
    (folder / "labels/train/0001.txt").write_text("1 0.5 0.5 0.5 0.5 0.25 0.25 2 0 0 0\n")
    plan = studio.plan(inputs=[{"yolo": f"{folder}/data.yaml"}], prompts="x")
    (source,) = [each for each in plan.inputs if each.name.endswith("0001.png")]
    (instance,) = known_of(source).annotations.instances
    assert [(each.x, each.y, each.visibility) for each in instance.keypoints] == [
        (12.0, 8.0, 2), (0.0, 0.0, 0),
    ]  # fmt: skip


def test_run_lengths_of_pycocotools_are_read() -> None:
    """Compressed counts as the library itself writes them."""
    mask = pytest.importorskip("pycocotools.mask")
    numpy = pytest.importorskip("numpy")
    pixels = numpy.zeros((32, 48), dtype=numpy.uint8, order="F")
    pixels[4:20, 7:30] = 1
    pixels[25, 47] = 1
    text = mask.encode(pixels)["counts"].decode()
    flat = pixels.flatten(order="F")
    expected: list[int] = []
    value, run = 0, 0
    for each in flat:
        if each == value:
            run += 1
        else:
            expected.append(run)
            value, run = each, 1
    assert _uncompressed(text) == (*expected, run)


def test_captions_and_keypoints_of_coco_are_known(studio: Studio, tmp_path: Path) -> None:
    """All captions are carried, the first is a column; keypoints have their category's names."""
    (tmp_path / "a.png").write_bytes(picture(*SIZE))
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 48, "height": 32}],
        "categories": [{"id": 7, "name": "person", "keypoints": ["nose", "ear"]}],
        "annotations": [
            {"image_id": 1, "caption": "a person"}, {"image_id": 1, "caption": "someone"},
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "num_keypoints": 1,
             "keypoints": [3, 4, 2, 0, 0, 0]},
        ],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(document))
    plan = studio.plan(inputs=[{"coco": f"{tmp_path}/c.json"}], prompts="{caption}: {label}")
    (job,) = jobs(plan)
    assert job.prompt.text == "a person: person"
    annotations = known_of(job.source).annotations
    assert dict(annotations.columns)["captions"] == '["a person","someone"]'
    assert [each.name for each in annotations.instances[0].keypoints] == ["nose", "ear"]


def test_further_files_of_a_row_are_found_beside_it(studio: Studio, tmp_path: Path) -> None:
    """`*_file_name` columns are relative to their metadata, as Hugging Face has them; a mask and a
    segmentation that such a column names are found."""
    for name in ("train/a.png", "train/masks/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(mode="L") if "masks" in name else picture())
    row = {"file_name": "a.png", "mask_file_name": "masks/a.png"}
    (tmp_path / "train/metadata.jsonl").write_text(json.dumps(row) + "\n")
    given = {
        "imagefolder": str(tmp_path), "mask": "{mask_file_name}",
        "segmentation": "{mask_file_name}",
    }  # fmt: skip
    plan = studio.plan(inputs=[given], prompts="x", models="gpt-image-1")
    (job,) = jobs(plan)
    assert "pictures are in no metadata" not in said(plan.warnings)
    assert job.source.mask is not None
    assert job.source.segmentation is not None
    assert job.source.mask.path == tmp_path / "train/masks/a.png"
    assert job.source.segmentation.path == job.source.mask.path


def test_shares_that_rounding_carried_past_the_edge_are_taken(
    studio: Studio, tmp_path: Path
) -> None:
    """Label Studio writes 1.0004 (its issue 5014); a row that is there twice is one object."""
    given = write_yolo(tmp_path / "set", 2)
    row = "0 0.304 0.5 0.608 1.0004"
    (tmp_path / "set/labels/train/0001.txt").write_text(f"{row}\n{row}\n")
    plan = studio.plan(inputs=[given], prompts="x")
    assert plan.problems == ()
    (source,) = [each for each in plan.inputs if each.name.endswith("0001.png")]
    (instance,) = known_of(source).annotations.instances
    assert (instance.box.height, instance.box.y) == (32.0, 0.0)


def test_one_metadata_file_above_the_splits_holds_for_all(studio: Studio, tmp_path: Path) -> None:
    """As asked of datasets (its issue 4548); names written with backslashes are found."""
    for number, name in enumerate(("train/a.png", "test/b.png", "test/c.png")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(next(made(9)).data + bytes([number]))
    rows = [{"file_name": "train\\a.png", "t": "x"}, {"file_name": "test/b.png", "t": "y"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "set/metadata.jsonl").write_text(text)
    given = {"imagefolder": str(tmp_path / "set")}
    plan = studio.plan(inputs=[given], prompts="{t}", splits={"from": "path"})
    assert [job.prompt.text for job in jobs(plan)] == ["x", "y"]
    assert [known_of(source).split for source in plan.inputs] == ["train", "test"]
    assert "pictures are in no metadata, and left out" in said(plan.warnings)


def test_coco_as_other_tools_write_it(studio: Studio, tmp_path: Path) -> None:
    """Backslashes (Label Studio's issue 7294), crowds as run lengths (X-AnyLabeling's 1032), no
    categories with captions (Label Studio's 8707)."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(picture(*SIZE))
    image = {"id": 1, "file_name": "images\\a.png", "width": 48, "height": 32}
    crowd = {"image_id": 1, "category_id": 0, "bbox": [0, 0, 48, 1], "iscrowd": 1,
             "segmentation": {"size": [32, 48], "counts": [0, 1, 1535]}}  # fmt: skip
    document: dict[str, object] = {
        "images": [image], "annotations": [crowd], "categories": [{"id": 0, "name": "cat"}],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(document))
    (job,) = jobs(studio.plan(inputs=[{"coco": f"{tmp_path}/c.json"}], prompts="{label}"))
    assert (job.source.name, job.prompt.text) == ("images/a.png", "cat")
    (instance,) = known_of(job.source).annotations.instances
    assert instance.is_crowd
    assert instance.mask is not None
    assert instance.mask.counts == (0, 1, 1535)
    captions = {"images": [image], "annotations": [{"image_id": 1, "caption": "a cat"}]}
    (tmp_path / "c.json").write_text(json.dumps(captions))
    (job,) = jobs(studio.plan(inputs=[{"coco": f"{tmp_path}/c.json"}], prompts="{caption}"))
    assert job.prompt.text == "a cat"


BAD = {
    "coco: run lengths beyond the picture": (
        "coco", "c.json",
        '{"images":[{"id":1,"file_name":"a.png"}],"categories":[{"id":1,"name":"c"}],"annotations":'
        '[{"image_id":1,"category_id":1,"segmentation":{"size":[2,2],"counts":[0,9]}}]}',
        "image 1 has run lengths beyond its picture",
    ),
    "coco: no JSON": ("coco", "c.json", "{", "c.json:1:1: is not JSON"),
    "coco: no images": ("coco", "c.json", "{}", "has no list `images`"),
    "coco: an unlisted category": (
        "coco", "c.json",
        '{"images":[{"id":1,"file_name":"a.png"}],"annotations":[{"image_id":1,"category_id":9}]}',
        "image 1 has an object of category 9, not listed",
    ),
    "coco: an id twice": (
        "coco", "c.json",
        '{"images":[{"id":1,"file_name":"a.png"},{"id":1,"file_name":"b.png"}]}',
        "image 2 has the id 1, as another one has",
    ),
    "coco: no file name": ("coco", "c.json", '{"images":[{"id":1}]}', "without `file_name`"),
    "yolo: no names": ("yolo", "data.yaml", "train: .\n", "has no `names`"),
    "yolo: no such folder": ("yolo", "data.yaml", "names: [a]\ntrain: none\n", "names none, which"),
    "yolo: path": ("yolo", "data.yaml", "path: gone\nnames: [a]\n", "`path` names gone"),
    "yolo: no YAML": ("yolo", "data.yaml", "a: [", "is not YAML"),
    "imagefolder: no folder": ("imagefolder", "c.json", "", "is no folder"),
    "webdataset: no tar": ("webdataset", "x.tar", "no tar at all", "is no tar that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_set_that_is_none_is_told(studio: Studio, tmp_path: Path, case: str) -> None:
    """With the file and what is wrong, and nothing raised."""
    kind, name, text, what = BAD[case]
    (tmp_path / name).write_text(text)
    plan = studio.plan(inputs=[{kind: str(tmp_path / name)}], prompts="x")
    assert what in said(plan.problems)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("9 0.5 0.5 0.1 0.1", "has class 9; data.yaml names 3"),
        ("0 24 16 12 8", "is no share from 0 to 1 (are these pixels?)"),
        ("0 0.5 0.5", "neither a box (5) nor an outline"),
        ("cat 0.5 0.5 0.1 0.1", "holds what is no number"),
        ("0 nan 0.5 0.1 0.1", "is no share"),
    ],
)
def test_a_yolo_row_that_is_none_is_told_with_its_line(
    studio: Studio, tmp_path: Path, row: str, what: str
) -> None:
    """The label's file and line."""
    given = write_yolo(tmp_path / "set", 2)
    (tmp_path / "set/labels/train/0001.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{row}\n")
    told = said(studio.plan(inputs=[given], prompts="x").problems)
    assert "labels/train/0001.txt:2:1" in told
    assert what in told


def test_a_compressed_tar_is_told(studio: Studio, tmp_path: Path) -> None:
    """It cannot be read in place; the remedy is named."""
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.add(__file__, "a.png")
    plan = studio.plan(inputs=[{"webdataset": f"{tmp_path}/x.tar"}], prompts="x")
    assert "unpack it if it is compressed" in said(plan.problems)


def test_classes_are_three() -> None:
    """What the counts above rest on."""
    assert {each.label for each in made(COUNT)} == set(CLASSES)
