"""Labelled sets as people have them: what public reports of other readers tell of.

Each docstring names the report: huggingface/datasets, webdataset, ultralytics, diffusers, cvat.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from retouch.plan import known_of
from tests.support.datasets import Made, write_coco, write_imagefolder, write_yolo
from tests.support.studio import Studio, jobs, said

COUNT = 10


def a_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_dots_in_a_tars_names_lose_no_labels(studio: Studio, tmp_path: Path) -> None:
    """datasets #6880, #7144, #7150, webdataset #237: `22.05.png` and `22.06.png` have one key, and
    each keeps what is beside itself; a folder's dots mean nothing."""
    files: dict[str, bytes] = {}
    for number, name in enumerate(("22.05", "22.06", "v1.0/a", "v1.0/b.x")):
        label = ("cat", "dog")[number % 2]
        files[f"{name}.png"] = Made(number).data
        files[f"{name}.json"] = json.dumps({"label": label, "n": number}).encode()
    files["33.left.png"], files["33.right.png"] = Made(8).data, Made(9).data
    files["33.cls"] = b"cat"  # of both
    a_tar(tmp_path / "train-0.tar", files)
    plan = studio.plan(inputs=[{"webdataset": f"{tmp_path}/*.tar"}], prompts="{label}")
    found = {job.source.name: job.prompt.text for job in jobs(plan)}
    assert found == {
        "train-0/22.05.png": "cat", "train-0/22.06.png": "dog", "train-0/v1.0/a.png": "cat",
        "train-0/v1.0/b.x.png": "dog", "train-0/33.left.png": "cat", "train-0/33.right.png": "cat",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["", "path: ../datasets/pets\n", "path: /content/datasets/pets\n"])
def test_a_yolo_file_written_elsewhere_is_read_beside_its_splits(
    studio: Studio, tmp_path: Path, path: str
) -> None:
    """ultralytics #1027, #16718, #22101: `train: ../train/images`, and a `path` of another
    machine."""
    write_yolo(tmp_path, COUNT)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / split).mkdir(exist_ok=True)
            (tmp_path / kind / split).rename(tmp_path / split / kind)
    names = "names: [cat, cup, dog]\n"
    text = f"{path}train: ../train/images\nval: ../val/images\n{names}"
    (tmp_path / "data.yaml").write_text(text)
    plan = studio.plan(inputs=[{"yolo": f"{tmp_path}/data.yaml"}], prompts="x")
    assert len(jobs(plan)) == COUNT
    assert sum(len(known_of(each).annotations.instances) for each in plan.inputs) == 12
    assert ("write `path: .`" in said(plan.warnings)) == bool(path)


def test_labels_are_found_whichever_images_folder_has_its_labels_beside_it(
    studio: Studio, tmp_path: Path
) -> None:
    """ultralytics #21224: a folder `images` below the set's `images` hid every label."""
    write_yolo(tmp_path, COUNT)
    for kind in ("images", "labels"):
        folder = tmp_path / kind / "train"
        (tmp_path / "moved").mkdir()
        folder.rename(tmp_path / "moved" / "images")
        (tmp_path / "moved").rename(folder)
    plan = studio.plan(inputs=[{"yolo": f"{tmp_path}/data.yaml"}], prompts="x")
    assert len(jobs(plan)) == COUNT
    assert all(known_of(each).annotations.instances for each in plan.inputs)


def test_a_split_without_any_label_is_told(studio: Studio, tmp_path: Path) -> None:
    """ultralytics #16845, yolov5 #11131: labels that lie elsewhere are not "nothing is there"."""
    write_yolo(tmp_path, COUNT)
    (tmp_path / "labels/val").rename(tmp_path / "labels/valid")
    plan = studio.plan(inputs=[{"yolo": f"{tmp_path}/data.yaml"}], prompts="x")
    told = said(plan.warnings)
    assert "no picture of the split `validation` has labels" in told
    assert f"{tmp_path}/labels/val/0000.txt" in told
    assert "split `train`" not in told


def test_metadata_that_name_files_from_the_folder_above_are_told_once(
    studio: Studio, tmp_path: Path
) -> None:
    """diffusers #3674: train/metadata.jsonl names train/a.jpg."""
    write_imagefolder(tmp_path, COUNT)
    table = tmp_path / "train/metadata.jsonl"
    table.write_text(table.read_text().replace('"file_name": "', '"file_name": "train/'))
    plan = studio.plan(inputs=[{"imagefolder": str(tmp_path)}], prompts="x")
    (problem,) = plan.problems
    assert "names train/0001.png, which lies below" in str(problem)
    assert "metadata.jsonl:1:" in str(problem)


def test_a_table_that_is_no_metadata_by_its_name_is_not_passed_over_in_silence(
    studio: Studio, tmp_path: Path
) -> None:
    """datasets #6777: metadata1000.jsonl beside the pictures."""
    write_imagefolder(tmp_path, COUNT)
    (tmp_path / "train/metadata.jsonl").rename(tmp_path / "metadata1000.jsonl")
    (tmp_path / "val/metadata.jsonl").unlink()
    plan = studio.plan(inputs=[{"imagefolder": str(tmp_path)}], prompts="x")
    told = said(plan.warnings)
    assert "metadata1000.jsonl" in told
    assert "call it metadata.jsonl, or name it by `table:`" in told


def test_ids_of_annotations_that_are_all_alike_lose_none(studio: Studio, tmp_path: Path) -> None:
    """cvat #2155, mmdetection #4897, Yolo-to-COCO-format-converter #23: `id` 0 throughout."""
    given = write_coco(tmp_path, COUNT)
    for path in (tmp_path / "annotations").iterdir():
        document = json.loads(path.read_text())
        for annotation in document["annotations"]:
            annotation["id"] = 0
        path.write_text(json.dumps(document))
    plan = studio.plan(inputs=[given], prompts="x")
    found = Counter(
        each.label for source in plan.inputs for each in known_of(source).annotations.instances
    )
    assert found.total() == 12
