"""YOLO: `data.yaml`, `images/<split>/` and a text file a picture in `labels/<split>/`.

Numbers are shares of the width and height. Where every instance of the data set has an outline,
a line is the class and its outline (segments), else the class and its box; with keypoints, the
box and then x, y, visibility of each. The split `validation` is `val` here, as trainers call it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import yaml

from retouch.export.pictures import Exported, Json
from retouch.export.streams import Streaming
from retouch.plan.annotations import Box, Instance, Polygon

_NAMES = {"validation": "val"}
Point = tuple[float, float]


class Yolo(Streaming):
    """A picture a file, its instances in a file of the same stem."""

    def add(self, picture: Exported) -> str:
        """Write one picture and its labels; an empty file says that nothing is in it."""
        split = _NAMES.get(picture.split, picture.split)
        path = f"images/{split}/{picture.file.name}"
        self.folder.add(path, picture.file.data)
        lines = "".join(f"{line}\n" for line in self._lines(picture))
        self.folder.add(f"labels/{split}/{picture.file.stem}.txt", lines.encode())
        return path

    def _lines(self, picture: Exported) -> Iterator[str]:
        width, height = picture.file.width, picture.file.height
        for instance in picture.annotations.instances:
            if instance.is_crowd:  # YOLO has no mark for it, and would train on it as one object
                continue
            numbers = self._numbers(instance, width, height)
            if numbers is not None:
                shares = " ".join(f"{number:.6g}" for number in numbers)
                yield f"{self.shape.number(instance.label)} {shares}"

    def _numbers(self, instance: Instance, width: int, height: int) -> list[float] | None:
        box = _inside(instance.box, width, height)
        if box is None:
            return None
        if self.shape.has_keypoints:
            return [*_centred(box, width, height), *self._keypoints(instance, width, height)]
        if self.shape.all_have_polygons:
            outline = _one_outline(instance.polygons)
            shares = ((_share(x, width), _share(y, height)) for x, y in outline)
            return [number for point in shares for number in point]
        return _centred(box, width, height)

    def _keypoints(self, instance: Instance, width: int, height: int) -> Iterator[float]:
        for place in range(self._keypoint_count):
            if place < len(instance.keypoints):
                point = instance.keypoints[place]
                yield from (_share(point.x, width), _share(point.y, height), point.visibility)
            else:
                yield from (0, 0, 0)

    @property
    def _keypoint_count(self) -> int:
        return max((len(names) for _, names in self.shape.keypoint_names), default=0)

    def finish(self) -> None:
        """Write data.yaml."""
        about: dict[str, Json] = {"path": "."}
        for split in self.shape.splits:
            name = _NAMES.get(split, split)
            about[name] = f"images/{name}"
        if self.shape.has_keypoints:
            about["kpt_shape"] = [self._keypoint_count, 3]
        names = dict(enumerate(self.shape.classes))
        text = yaml.safe_dump({**about, "names": names}, allow_unicode=True, sort_keys=False)
        self.folder.add("data.yaml", text.encode())


def _share(number: float, size: int) -> float:
    return min(max(number / size, 0.0), 1.0)


def _inside(box: Box, width: int, height: int) -> Box | None:
    """The part of a box that lies in the picture; None if none does."""
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
    return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None


def _centred(box: Box, width: int, height: int) -> list[float]:
    return [
        (box.x + box.width / 2) / width,
        (box.y + box.height / 2) / height,
        box.width / width,
        box.height / height,
    ]


def _one_outline(polygons: tuple[Polygon, ...]) -> list[Point]:
    """The parts of an instance as one outline, for YOLO has one a line: each further part is
    visited from the nearest place of what is there, and left again by the same way."""
    outline = list(polygons[0].points)
    for polygon in polygons[1:]:
        here, there = min(
            ((i, j) for i in range(len(outline)) for j in range(len(polygon.points))),
            key=lambda pair: math.dist(outline[pair[0]], polygon.points[pair[1]]),
        )
        part = [*polygon.points[there:], *polygon.points[: there + 1]]
        outline[here + 1 : here + 1] = [*part, outline[here]]
    return outline
