"""COCO: `images/<split>/` and `annotations/instances_<split>.json`.

Images and annotations are written as they come, into files of their own that are joined at the
end: a document of 100,000 pictures is never whole in memory.
"""

from __future__ import annotations

import shutil
from typing import BinaryIO

import orjson

from retouch.export.folder import NewFolder
from retouch.export.pictures import (
    Exported,
    Json,
    Shape,
    box_numbers,
    cells,
    keypoint_numbers,
    outlines,
    tidy,
)
from retouch.export.streams import Streaming
from retouch.plan.annotations import Instance


class _Split:
    """One document in the making."""

    def __init__(self, images: BinaryIO, annotations: BinaryIO) -> None:
        self.images = images
        self.annotations = annotations
        self.image_id = 0
        self.annotation_id = 0

    def image(self, image: dict[str, Json]) -> int:
        self.image_id += 1
        _append(self.images, {"id": self.image_id, **image}, is_first=self.image_id == 1)
        return self.image_id

    def annotation(self, annotation: dict[str, Json]) -> None:
        self.annotation_id += 1
        numbered: dict[str, Json] = {"id": self.annotation_id, **annotation}
        _append(self.annotations, numbered, is_first=self.annotation_id == 1)


def _append(file: BinaryIO, value: dict[str, Json], *, is_first: bool) -> None:
    file.write((b"" if is_first else b",\n") + orjson.dumps(value))


class Coco(Streaming):
    """Classes are numbered from 1; a class of a whole picture is its image's `label`."""

    def __init__(self, folder: NewFolder, shape: Shape) -> None:
        super().__init__(folder, shape)
        self._splits: dict[str, _Split] = {}

    def add(self, picture: Exported) -> str:
        """Write one picture with its annotations."""
        path = f"images/{picture.split}/{picture.file.name}"
        self.folder.add(path, picture.file.data)
        split = self._split(picture.split)
        image: dict[str, Json] = {
            "file_name": picture.file.name,
            "width": picture.file.width,
            "height": picture.file.height,
        }
        said = cells(picture, self.shape)
        said.pop("objects", None)
        image_id = split.image(image | {k: v for k, v in said.items() if k not in ("id", *image)})
        for instance in picture.annotations.instances:
            split.annotation({"image_id": image_id, **self._annotation(instance)})
        return path

    def _annotation(self, instance: Instance) -> dict[str, Json]:
        found: dict[str, Json] = {
            "category_id": self.shape.number(instance.label) + 1,
            "bbox": list(box_numbers(instance)),
            "area": tidy(_area(instance)),
            "iscrowd": int(instance.is_crowd),
        }
        mask = instance.mask
        if mask is not None:
            found["segmentation"] = {"size": [mask.height, mask.width], "counts": list(mask.counts)}
        else:
            found["segmentation"] = [list(part) for part in outlines(instance)]
        if instance.keypoints:
            found["keypoints"] = list(keypoint_numbers(instance))
            found["num_keypoints"] = sum(point.visibility > 0 for point in instance.keypoints)
        return found

    def finish(self) -> None:
        """Join each split's parts."""
        names = dict(self.shape.keypoint_names)
        categories: list[Json] = []
        for number, label in enumerate(self.shape.classes, start=1):
            category: dict[str, Json] = {"id": number, "name": label, "supercategory": ""}
            if label in names:
                category |= {"keypoints": list(names[label]), "skeleton": []}
            categories.append(category)
        for name in self.shape.splits:
            split = self._split(name)
            with self.folder.opened(f"annotations/instances_{name}.json") as file:
                file.write(b'{"info": {},\n"licenses": [],\n"categories": ')
                file.write(orjson.dumps(categories))
                for word, part in (("images", split.images), ("annotations", split.annotations)):
                    file.write(f',\n"{word}": [\n'.encode())
                    part.seek(0)
                    shutil.copyfileobj(part, file, 1 << 20)
                    file.write(b"\n]")
                file.write(b"}\n")

    def _split(self, name: str) -> _Split:
        known = self._splits.get(name)
        if known is None:
            scratch = self.folder.scratch()
            parts = (
                self.open_files.enter_context((scratch / f"{name}.{what}").open("x+b"))
                for what in ("images", "annotations")
            )
            known = self._splits[name] = _Split(*parts)
        return known


def _area(instance: Instance) -> float:
    """Pixels: of the mask, else within the outlines, else of the box."""
    if instance.mask is not None:
        return float(sum(instance.mask.counts[1::2]))
    if instance.polygons:
        return sum(_shoelace(polygon.points) for polygon in instance.polygons)
    return instance.box.width * instance.box.height


def _shoelace(points: tuple[tuple[float, float], ...]) -> float:
    following = (*points[1:], *points[:1])
    twice = sum(x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))
    return abs(twice) / 2
