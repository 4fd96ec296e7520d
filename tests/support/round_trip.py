"""A labelled set in, edited by the rehearsal service, out in a format, and read by others.

What readers find is compared with what the set was made of: how many pictures a split has, their
sizes, classes, boxes (grown with the edit), keypoints and captions.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from labelformat.formats.pascalvoc import PascalVOCObjectDetectionInput
from labelformat.formats.yolov8 import (
    YOLOv8InstanceSegmentationInput,
    YOLOv8ObjectDetectionInput,
)
from labelformat.model.bounding_box import BoundingBoxFormat
from PIL import Image

from retouch.cli import main
from tests.support.datasets import CLASSES, FURTHER_WRITERS, Made, made

SCALE = 4  # 192x128, which becomes 1248x832 (x6.5) or 1536x1024 (x8)
GROWTH = {"gemini-2.5-flash-image": 6.5, "gpt-image-1": 8.0}
FORMATS = ("imagefolder", "webdataset", "coco", "yolo", "voc", "parquet")
WHOLE_LABELS = ("imagefolder", "imagefolder csv", "imagefolder parquet", "label folders",
                "webdataset", "table")  # fmt: skip
BOXED = ("imagefolder", "imagefolder parquet", "coco", "yolo", "coco keypoints")

Load = Callable[..., Any]
"""`datasets.load_dataset`."""


@dataclass(frozen=True)
class Found:
    """One picture as a reader has it; None where the format has no place for that."""

    split: str
    number: int
    size: tuple[int, int] | None = None
    label: str | None = None
    boxes: tuple[tuple[str, tuple[float, ...]], ...] | None = None
    points: tuple[float, ...] | None = None
    captions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Set:
    """A set of one kind, in a folder of its own, and a finished manifest over it."""

    kind: str
    count: int
    model: str
    words: list[str]

    def expected(self, name: str) -> Counter[Found]:
        """What a format's reader must find, edits in train, the originals in validation."""
        return Counter(self._picture(each, name) for each in made(self.count, SCALE))

    def _picture(self, each: Made, name: str) -> Found:
        is_edit = each.split == "train"
        growth = GROWTH[self.model] if is_edit else 1.0
        found = Found("train" if is_edit else "validation", each.number)
        if name not in ("yolo", "voc"):
            found = replace(found, label=self._label(each))
        if name != "voc":
            found = replace(
                found, size=(round(each.size[0] * growth), round(each.size[1] * growth))
            )
        if self.kind in BOXED:
            given = each.boxes[:1] if self.kind == "coco keypoints" else each.boxes
            digits = 0 if name == "voc" else 1
            boxes = (
                (self._class(label, name), _rounded(box, growth, digits)) for label, box in given
            )
            found = replace(found, boxes=tuple(sorted(boxes)))
        if self.kind == "coco keypoints" and name != "voc":
            points = [
                number if at % 3 == 2 else round(number * growth, 1)
                for at, number in enumerate(each.points)
            ]
            found = replace(found, points=tuple(points))
        if self.kind == "coco captions" and name not in ("yolo", "voc"):
            found = replace(found, captions=(each.caption, "again"))
        return found

    def _label(self, each: Made) -> str | None:
        if self.kind == "coco captions":
            return None
        is_one = self.kind in (*WHOLE_LABELS, "coco keypoints") or len(each.boxes) == 1
        return each.label if is_one else None

    def _class(self, label: str, name: str) -> str:
        """Hugging Face's metadata number the classes of boxes, and the names are not in it."""
        return str(CLASSES.index(label)) if self.kind.startswith("imagefolder") else label


def _rounded(box: tuple[float, ...], growth: float, digits: int) -> tuple[float, ...]:
    if digits:
        return tuple(round(number * growth, digits) for number in box)
    x, y, width, height = (number * growth for number in box)  # corners in whole pixels
    left, top, right, bottom = map(round, (x, y, x + width, y + height))
    return tuple(map(float, (left, top, right - left, bottom - top)))


def finished(
    folder: Path, data: Path, kind: str, count: int, *, model: str, reuse: tuple[str, ...] = ()
) -> Set:
    """The set made below `data`, a manifest over it in `folder`, run to its end. `reuse` names
    ledgers whose work is taken over: the same pictures have the same Keys in each kind."""
    given = FURTHER_WRITERS[kind](data / kind.replace(" ", "-"), count, SCALE)
    name = f"{kind.replace(' ', '-')}-{GROWTH[model]:g}"
    manifest = {
        "version": 1,
        "name": name,
        "provider": {"dialect": "rehearsal"},
        "inputs": [given],
        "splits": {
            **({"column": "split"} if kind == "table" else {"from": "path"}),
            "augment": ["train"],
        },
        "prompts": [{"id": "bright", "template": "Make it brighter"}],
        "models": [{"model": model, "limits": {"concurrency": 4, "requests_per_minute": 60_000}}],
        "reuse": list(reuse),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(manifest, sort_keys=False), "utf-8")
    words = [str(path), "--outputs", str(folder / "outputs")]
    assert main(["run", *words, "--yes", "--no-report"]) == 0
    return Set(kind, count, model, words)


def exported(whole: Set, to: Path, name: str) -> Path:
    assert main(["export", *whole.words, "--to", str(to), "--format", name]) == 0
    return to


def read(folder: Path, name: str, load: Load) -> Counter[Found]:
    """What the format's reader finds."""
    readers: dict[str, Callable[[Path, Load], Iterator[Found]]] = {
        "imagefolder": _imagefolder,
        "webdataset": _webdataset,
        "coco": _coco,
        "yolo": _yolo,
        "voc": _voc,
        "parquet": _parquet,
    }
    return Counter(readers[name](folder, load))


def _of_row(row: dict[str, Any], split: str, size: tuple[int, int] | None) -> Found:
    """A picture by the named cells that four formats share."""
    objects = row.get("objects")
    boxes = points = None
    if objects is not None:
        classes = objects.get("category") or objects.get("categories")
        boxes = _sorted(zip(map(str, classes), objects["bbox"], strict=True))
        if objects.get("keypoints"):
            points = tuple(objects["keypoints"][0])
    captions = tuple(row["captions"]) if row.get("captions") is not None else None
    return Found(split, _number(row["source"]), size, row.get("label") or None, boxes, points,
                 captions)  # fmt: skip


def _sorted(boxes: Any) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple(sorted((name, tuple(round(each, 1) for each in box)) for name, box in boxes))


def _number(source: str) -> int:
    return int(Path(source).stem)


def _imagefolder(folder: Path, load: Load) -> Iterator[Found]:
    _follows_the_folders_rules(folder)
    for split, rows in load("imagefolder", data_dir=str(folder)).items():
        for row in _undecoded(rows):
            yield _of_row(row, split, _size(row["image"]))


def _undecoded(rows: Any) -> Any:
    """The rows after the first was decoded whole: a header says the size of the rest."""
    library: Any = importlib.import_module("datasets")
    assert _size(rows.cast_column("image", library.Image(decode=False))[0]["image"]) == (
        rows[0]["image"].size
    )
    return rows.cast_column("image", library.Image(decode=False))


def _size(image: dict[str, Any]) -> tuple[int, int]:
    with Image.open(BytesIO(image["bytes"]) if image["bytes"] else image["path"]) as opened:
        return opened.size


def _follows_the_folders_rules(folder: Path) -> None:
    """torchvision's ImageFolder: classes are the sorted names of a split's folders, a picture's
    class is the first folder of its path. They must be those of the metadata."""
    for split in filter(Path.is_dir, folder.iterdir()):
        classes = sorted(each.name for each in split.iterdir() if each.is_dir())
        lines = map(json.loads, (split / "metadata.jsonl").read_text().splitlines())
        labels = {row["file_name"]: row.get("label") or "" for row in lines}
        for name in classes:
            found = [path for path in (split / name).rglob("*") if path.is_file()]
            assert found
            assert {labels.pop(path.relative_to(split).as_posix()) for path in found} == {name}
        assert set(labels.values()) <= {""}


def _parquet(folder: Path, load: Load) -> Iterator[Found]:
    for split, rows in load(str(folder)).items():
        features = rows.features
        for row in _undecoded(rows):
            if row.get("label") is not None:
                row["label"] = features["label"].int2str(row["label"])
            objects = row.get("objects")
            if objects is not None and "category" in objects:
                names = features["objects"]["category"].feature.names
                objects["category"] = [names[number] for number in objects["category"]]
            yield _of_row(row, split, _size(row["image"]))


def _webdataset(folder: Path, _: Load) -> Iterator[Found]:
    library: Any = importlib.import_module("webdataset")
    names = folder / "classes.txt"
    classes = names.read_text().splitlines() if names.is_file() else []
    for tar in sorted(folder.glob("*.tar")):
        samples = library.WebDataset(str(tar), shardshuffle=False).decode()
        for sample in samples:
            size = _size({"bytes": sample["png"]})
            found = _of_row(sample["json"], tar.stem.rpartition("-")[0], size)
            assert (classes[sample["cls"]] if "cls" in sample else None) == found.label
            yield found


def _coco(folder: Path, _: Load) -> Iterator[Found]:
    library: Any = importlib.import_module("pycocotools.coco")
    for path in sorted((folder / "annotations").iterdir()):
        split = path.stem.removeprefix("instances_")
        document = library.COCO(str(path))
        for number, image in document.imgs.items():
            assert (folder / "images" / split / image["file_name"]).is_file()
            found = document.loadAnns(document.getAnnIds(imgIds=number))
            boxes = _sorted(
                (document.cats[each["category_id"]]["name"], each["bbox"]) for each in found
            )
            points = tuple(found[0]["keypoints"]) if found and "keypoints" in found[0] else None
            captions = image.get("captions")
            yield Found(
                split, _number(image["source"]), (image["width"], image["height"]),
                image.get("label"), boxes if document.anns else None, points,
                tuple(captions) if captions is not None else None,
            )  # fmt: skip


def _yolo(folder: Path, _: Load) -> Iterator[Found]:
    about = yaml.safe_load((folder / "data.yaml").read_text())
    for split in ("train", "val"):
        rows = _rows(folder, split)
        has_rows = any(rows.values())
        is_posed = "kpt_shape" in about
        is_outlined = has_rows and not is_posed and len(next(filter(None, rows.values()))[0]) > 5
        reader: Any = YOLOv8ObjectDetectionInput
        if is_outlined:
            reader = YOLOv8InstanceSegmentationInput
        for each in reader(folder / "data.yaml", split).get_labels():
            stem = Path(each.image.filename).stem
            found = Found(
                "validation" if split == "val" else split,
                int(stem.partition("-")[0]),
                (each.image.width, each.image.height),
            )
            if is_posed:  # labelformat reads none
                yield _posed(found, rows[stem][0], about["names"])
                continue
            boxes = _sorted(
                (
                    thing.category.name,
                    _around(thing.segmentation)
                    if is_outlined
                    else thing.box.to_format(BoundingBoxFormat.XYWH),
                )
                for thing in each.objects
            )
            yield replace(found, boxes=boxes if has_rows else None)


def _rows(folder: Path, split: str) -> dict[str, list[list[str]]]:
    """The words of each picture's rows."""
    return {
        path.stem: [line.split() for line in path.read_text().splitlines()]
        for path in (folder / "labels" / split).iterdir()
    }


def _posed(found: Found, row: list[str], names: dict[int, str]) -> Found:
    """A picture with what its one row says: class, box by its middle, then x, y, visibility."""
    width, height = found.size or (0, 0)
    x, y, across, down, *points = map(float, row[1:])
    box = ((x - across / 2) * width, (y - down / 2) * height, across * width, down * height)
    return replace(
        found,
        boxes=_sorted([(names[int(row[0])], box)]),
        points=tuple(
            number if at % 3 == 2 else round(number * (width, height)[at % 3], 1)
            for at, number in enumerate(points)
        ),
    )


def _around(outline: Any) -> tuple[float, float, float, float]:
    xs, ys = zip(*(point for part in outline.polygons for point in part), strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _voc(folder: Path, _: Load) -> Iterator[Found]:
    for path in sorted((folder / "ImageSets/Main").iterdir()):
        names = path.read_text().split()
        boxes: dict[str, Any] = dict.fromkeys(names)
        documents = [folder / f"Annotations/{name}.xml" for name in names]
        if any("<object>" in each.read_text() for each in documents):
            boxes.update(_voc_boxes(folder, set(names)))
        for name in names:
            assert list((folder / "JPEGImages").glob(f"{name}.*"))
            yield Found(path.stem, int(name.partition("-")[0]), boxes=boxes[name])


def _voc_boxes(folder: Path, names: set[str]) -> Iterator[tuple[str, Any]]:
    reader = PascalVOCObjectDetectionInput(folder / "Annotations", ",".join(CLASSES))
    if any(each.isdigit() for each in _named(folder)):
        reader = PascalVOCObjectDetectionInput(folder / "Annotations", "0,1,2")
    for each in reader.get_labels():
        stem = Path(each.image.filename).stem
        if stem in names:
            yield (
                stem,
                _sorted(
                    (thing.category.name, thing.box.to_format(BoundingBoxFormat.XYWH))
                    for thing in each.objects
                ),
            )


def _named(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "dataset.json").read_text())["classes"]
    return found


def round_trips(folder: Path, count: int, load: Load) -> Counter[str]:
    """Each kind of set with `count` pictures, through each format: every difference raises. The
    edits are made once, and taken over where the same picture is in a set of another kind."""
    first = finished(folder, folder / "data", "table", count, model=next(iter(GROWTH)))
    reuse = (str(folder / "outputs/table-6.5/ledger.jsonl"),)
    figures = Counter({"edits paid for": sum(each.split == "train" for each in made(count))})
    for kind in FURTHER_WRITERS:
        whole = first
        if kind != "table":
            data = folder / "data"
            whole = finished(folder, data, kind, count, model=first.model, reuse=reuse)
        for name in FORMATS:
            out = exported(whole, folder / "out", name)
            found, expected = read(out, name, load), whole.expected(name)
            assert found == expected, (kind, name, (found - expected).most_common(3))
            figures["round trips"] += 1
            figures["pictures read back"] += found.total()
            shutil.rmtree(out)
        if kind != "table":
            shutil.rmtree(Path(whole.words[-1]) / Path(whole.words[0]).stem)
            shutil.rmtree(folder / "data" / kind.replace(" ", "-"))
    return figures
