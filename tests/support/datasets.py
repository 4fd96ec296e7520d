"""Made data sets, one content in each input format: what is counted must come out the same.

Picture `number` is of class `number % 3`, in train but for every fifth (val), and holds one object
of its class; every seventh holds a second one, of the next class. A set's `scale` is how many times
larger than SIZE its pictures are, boxes and points with them.
"""

from __future__ import annotations

import csv
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

CLASSES = ("cat", "cup", "dog")
SIZE = (48, 32)


@dataclass(frozen=True)
class Made:
    """One picture of the set; boxes are x, y, width, height in pixels, by class."""

    number: int
    scale: int = 1

    @property
    def name(self) -> str:
        return f"{self.number:04}.png"

    @property
    def split(self) -> str:
        return "val" if self.number % 5 == 0 else "train"

    @property
    def label(self) -> str:
        return CLASSES[self.number % 3]

    @property
    def boxes(self) -> list[tuple[str, tuple[float, float, float, float]]]:
        x, y = float(self.number % 20), float(self.number % 10)
        found = [(self.label, (x, y, 12.0, 8.0))]
        if self.number % 7 == 0:
            found.append((CLASSES[(self.number + 1) % 3], (y, x / 2, 6.0, 6.0)))
        return [
            (label, (x * self.scale, y * self.scale, width * self.scale, height * self.scale))
            for label, (x, y, width, height) in found
        ]

    @property
    def points(self) -> list[float]:
        """Two keypoints in the first box, x, y, visibility by turns; the second is hidden."""
        _, (x, y, width, height) = self.boxes[0]
        return [x + width / 2, y + height / 2, 2, x + width, y + height, 1]

    @property
    def caption(self) -> str:
        return f"number {self.number}, a {self.label}"

    @property
    def size(self) -> tuple[int, int]:
        return SIZE[0] * self.scale, SIZE[1] * self.scale

    @property
    def data(self) -> bytes:
        """A picture that looks like no other: noise from the number."""
        noise = random.Random(self.number).randbytes(12 * 8 * 3)
        image = Image.frombytes("RGB", (12, 8), noise).resize(self.size, Image.Resampling.NEAREST)
        written = io.BytesIO()
        image.save(written, "PNG")
        return written.getvalue()


def made(count: int, scale: int = 1) -> Iterator[Made]:
    return (Made(number, scale) for number in range(count))


def write_imagefolder(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """metadata.jsonl in each split, with nested objects."""
    for split, rows in _metadata(folder, count, scale).items():
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / split / "metadata.jsonl").write_text(lines, "utf-8")
    return {"imagefolder": str(folder)}


def write_imagefolder_csv(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """metadata.csv in each split: classes and plain columns, for it has no nested ones."""
    for split, rows in _metadata(folder, count, scale).items():
        with (folder / split / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            written = csv.DictWriter(file, ["file_name", "label", "patient"], extrasaction="ignore")
            written.writeheader()
            written.writerows(rows)
    return {"imagefolder": str(folder)}


def write_imagefolder_parquet(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """metadata.parquet in each split, with nested objects."""
    for split, rows in _metadata(folder, count, scale).items():
        parquet.write_table(pa.Table.from_pylist(rows), folder / split / "metadata.parquet")
    return {"imagefolder": str(folder)}


def _metadata(folder: Path, count: int, scale: int) -> dict[str, list[dict[str, object]]]:
    """The rows of each split, whose pictures are written."""
    rows: dict[str, list[dict[str, object]]] = {}
    for each in made(count, scale):
        _write(folder / each.split / each.name, each.data)
        objects = {
            "bbox": [box for _, box in each.boxes],
            "categories": [CLASSES.index(label) for label, _ in each.boxes],
        }
        row: dict[str, object] = {"file_name": each.name, "label": each.label}
        row |= {"objects": objects, "patient": "x"}
        rows.setdefault(each.split, []).append(row)
    return rows


def write_label_folders(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """No metadata: split/label/picture."""
    for each in made(count, scale):
        _write(folder / each.split / each.label / each.name, each.data)
    return {"imagefolder": str(folder)}


def write_coco(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """annotations/instances_<split>.json beside images/<split>/."""
    for split in ("train", "val"):
        images: list[object] = []
        annotations: list[object] = []
        for each in made(count, scale):
            if each.split != split:
                continue
            _write(folder / "images" / split / each.name, each.data)
            images.append({"id": each.number, "file_name": f"{split}/{each.name}",
                           "width": each.size[0], "height": each.size[1]})  # fmt: skip
            for label, (x, y, width, height) in each.boxes:
                outline = [x, y, x + width, y, x + width, y + height]
                annotations.append(
                    {"id": len(annotations), "image_id": each.number, "bbox": [x, y, width, height],
                     "category_id": CLASSES.index(label) + 1, "segmentation": [outline],
                     "iscrowd": 0, "area": width * height}
                )  # fmt: skip
        categories = [{"id": at + 1, "name": name} for at, name in enumerate(CLASSES)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        _write(folder / f"annotations/instances_{split}.json", json.dumps(document).encode())
    pattern = f"{folder}/annotations/instances_*.json"
    return {"coco": pattern, "root": str(folder / "images")}


def write_coco_captions(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """annotations/captions_<split>.json: two captions a picture, no categories."""
    return _written_coco(
        folder,
        "captions",
        list(made(count, scale)),
        lambda each: [{"caption": each.caption}, {"caption": "again"}],
    )


def write_coco_keypoints(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """annotations/person_keypoints_<split>.json: one object a picture, with two keypoints."""
    return _written_coco(
        folder,
        "person_keypoints",
        list(made(count, scale)),
        lambda each: [
            {"category_id": CLASSES.index(each.label) + 1, "bbox": list(each.boxes[0][1]),
             "keypoints": each.points, "num_keypoints": 2, "iscrowd": 0,
             "area": each.boxes[0][1][2] * each.boxes[0][1][3]}
        ],
        keypoints=["nose", "tail"],
    )  # fmt: skip


def _written_coco(
    folder: Path,
    kind: str,
    pictures: list[Made],
    said: Callable[[Made], list[dict[str, object]]],
    **of_categories: object,
) -> dict[str, object]:
    for split in ("train", "val"):
        images: list[object] = []
        annotations: list[object] = []
        for each in pictures:
            if each.split != split:
                continue
            _write(folder / "images" / split / each.name, each.data)
            images.append({"id": each.number, "file_name": f"{split}/{each.name}",
                           "width": each.size[0], "height": each.size[1]})  # fmt: skip
            for annotation in said(each):
                number = {"id": len(annotations) + 1, "image_id": each.number}
                annotations.append(number | annotation)
        document: dict[str, object] = {"images": images, "annotations": annotations}
        if kind != "captions":
            document["categories"] = [
                {"id": at + 1, "name": name, **of_categories} for at, name in enumerate(CLASSES)
            ]
        _write(folder / f"annotations/{kind}_{split}.json", json.dumps(document).encode())
    return {"coco": f"{folder}/annotations/{kind}_*.json", "root": str(folder / "images")}


def write_yolo(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """data.yaml, images/<split>/, labels/<split>/."""
    for each in made(count, scale):
        _write(folder / "images" / each.split / each.name, each.data)
        rows = []
        for label, (x, y, width, height) in each.boxes:
            across, down = each.size
            shares = ((x + width / 2) / across, (y + height / 2) / down,
                      width / across, height / down)  # fmt: skip
            rows.append(" ".join(map(str, (CLASSES.index(label), *shares))))
        labels = folder / "labels" / each.split / each.name
        _write(labels.with_suffix(".txt"), ("\n".join(rows) + "\n").encode())
    names = "\n".join(f"  {at}: {name}" for at, name in enumerate(CLASSES))
    text = f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}\n"
    _write(folder / "data.yaml", text.encode())
    return {"yolo": str(folder / "data.yaml")}


def write_webdataset(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """<split>-000000.tar with .png, .cls and .json."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        with tarfile.open(folder / f"{split}-000000.tar", "w") as tar:
            for each in made(count, scale):
                if each.split == split:
                    stem = each.name.removesuffix(".png")
                    number = str(CLASSES.index(each.label)).encode()
                    _add(tar, f"{stem}.png", each.data)
                    _add(tar, f"{stem}.cls", number)
                    _add(tar, f"{stem}.json", json.dumps({"patient": "x"}).encode())
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", "utf-8")
    return {"webdataset": f"{folder}/{{train,val}}-*.tar"}


def write_table(folder: Path, count: int, scale: int = 1) -> dict[str, object]:
    """A CSV beside its pictures, with columns `file_name`, `label` and `split`."""
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(["file_name", "label", "split"])
    for each in made(count, scale):
        _write(folder / "pics" / each.name, each.data)
        rows.writerow([f"pics/{each.name}", each.label, each.split])
    _write(folder / "list.csv", written.getvalue().encode())
    return {"table": str(folder / "list.csv"), "image_column": "file_name"}


WRITERS: dict[str, Callable[..., dict[str, object]]] = {
    "imagefolder": write_imagefolder,
    "label folders": write_label_folders,
    "coco": write_coco,
    "yolo": write_yolo,
    "webdataset": write_webdataset,
    "table": write_table,
}
FURTHER_WRITERS = WRITERS | {
    "imagefolder csv": write_imagefolder_csv,
    "imagefolder parquet": write_imagefolder_parquet,
    "coco captions": write_coco_captions,
    "coco keypoints": write_coco_keypoints,
}
"""More ways to say the same, or more of it."""


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
