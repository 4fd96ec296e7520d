"""What a data set says of a source besides its picture: classes, instances, carried cells.

Readers of labelled sets make these values, `export` scales and writes them; nothing here is part
of a Key. Coordinates are pixels of the source as floats: x to the right, y downwards, the origin
at the picture's upper left corner (as COCO has them; YOLO's shares and VOC's corners are turned
into these where they are read). Pure, frozen, hashable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil

import orjson

Cell = tuple[str, str]
"""A carried cell: its column's name, and its value as JSON text (`"tabby"`, `3`, `{"a": [1]}`)."""


MoveBox = Callable[["Box"], "Box"]
MovePoint = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle: upper left corner, width and height."""

    x: float
    y: float
    width: float
    height: float

    def scale(self, fx: float, fy: float) -> Box:
        """The same rectangle in a picture `fx` times as wide and `fy` times as high."""
        return Box(self.x * fx, self.y * fy, self.width * fx, self.height * fy)


@dataclass(frozen=True, slots=True)
class Polygon:
    """One closed outline: `points` are x, y pairs, the first not repeated at the end."""

    points: tuple[tuple[float, float], ...]

    def scale(self, fx: float, fy: float) -> Polygon:
        return Polygon(tuple((x * fx, y * fy) for x, y in self.points))

    @property
    def box(self) -> Box:
        """The upright rectangle around it."""
        left, right = min(x for x, _ in self.points), max(x for x, _ in self.points)
        top, bottom = min(y for _, y in self.points), max(y for _, y in self.points)
        return Box(left, top, right - left, bottom - top)


@dataclass(frozen=True, slots=True)
class Keypoint:
    """A place of its own name: `visibility` 0 not labelled (x and y are 0), 1 hidden, 2 seen, as
    in COCO. Unnamed ones are told apart by their order."""

    x: float
    y: float
    visibility: int = 2
    name: str = ""

    def scale(self, fx: float, fy: float) -> Keypoint:
        return replace(self, x=self.x * fx, y=self.y * fy)


@dataclass(frozen=True, slots=True)
class Mask:
    """Pixels as COCO's uncompressed run lengths: column by column from the left, each from its
    top, the first run outside. `width` and `height` are the picture's, in pixels."""

    width: int
    height: int
    counts: tuple[int, ...]

    def scale(self, fx: float, fy: float) -> Mask:
        """Nearest neighbour, at the size that the factors give, rounded."""
        width, height = max(1, round(self.width * fx)), max(1, round(self.height * fy))
        columns = list(self._columns())
        counts: list[int] = [0]
        is_inside = False
        for column in range(width):
            runs = columns[min(self.width - 1, int((column + 0.5) * self.width / width))]
            ends = [min(height, max(0, ceil(end * height / self.height - 0.5))) for end in runs]
            for place, (begin, end) in enumerate(pairwise((0, *ends))):
                if end == begin:
                    continue
                if bool(place % 2) != is_inside:
                    is_inside = not is_inside
                    counts.append(0)
                counts[-1] += end - begin
        return Mask(width, height, tuple(counts))

    def _columns(self) -> Iterator[tuple[int, ...]]:
        """For each column the rows at which its runs end, outside and inside by turns."""
        ends: list[int] = []
        row = column = 0
        for place, count in enumerate(self.counts):
            left = count
            while left:
                taken = min(left, self.height - row)
                row, left = row + taken, left - taken
                if len(ends) % 2 != place % 2:
                    ends.append(row - taken)
                ends.append(row)
                if row == self.height:
                    yield tuple(ends)
                    ends, row, column = [], 0, column + 1
        for _ in range(column, self.width):  # counts that end early: the rest is outside
            yield (*ends, self.height) if len(ends) % 2 == 0 else (*ends, self.height, self.height)
            ends = []


@dataclass(frozen=True, slots=True)
class Instance:
    """One object in the picture: its class and where it is.

    `polygons` are its parts; `mask` where the set has run lengths instead. A reader that is given
    an outline alone takes the outline's own rectangle as `box`.
    """

    label: str
    box: Box
    polygons: tuple[Polygon, ...] = ()
    keypoints: tuple[Keypoint, ...] = ()
    mask: Mask | None = None
    is_crowd: bool = False

    def scale(self, fx: float, fy: float) -> Instance:
        return replace(
            self,
            box=self.box.scale(fx, fy),
            polygons=tuple(each.scale(fx, fy) for each in self.polygons),
            keypoints=tuple(each.scale(fx, fy) for each in self.keypoints),
            mask=self.mask and self.mask.scale(fx, fy),
        )


@dataclass(frozen=True, slots=True)
class Annotations:
    """All that is known of one source.

    `label` is its class where it has one, `labels` all its classes, sorted and distinct (those of
    its instances too). `columns` are the carried cells in the set's order, without the file's
    name and without what became label or instances; a nested `objects` (Hugging Face: `bbox` as
    COCO's x, y, width, height in pixels, `keypoints`) stays among them and is scaled too.
    """

    label: str | None = None
    labels: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    columns: tuple[Cell, ...] = ()

    def scale(self, fx: float, fy: float) -> Annotations:
        """The same for a picture `fx` times as wide and `fy` times as high."""
        carried = self.move_columns(lambda box: box.scale(fx, fy), lambda x, y: (x * fx, y * fy))
        return replace(carried, instances=tuple(each.scale(fx, fy) for each in self.instances))

    def move_columns(self, box: MoveBox, point: MovePoint) -> Annotations:
        """The same with the places in its carried cells moved, and every other value as it is."""
        return replace(
            self,
            columns=tuple((name, _moved(name, text, box, point)) for name, text in self.columns),
        )

    @property
    def has_places(self) -> bool:
        """Whether anything in it lies somewhere in the picture, and so moves with it."""
        return bool(self.instances) or any(name in PLACED_COLUMNS for name, _ in self.columns)


NOTHING_KNOWN = Annotations()

PLACED_COLUMNS = ("objects", "bbox", "keypoints")
"""Carried cells that hold places."""


def _moved(name: str, text: str, box: MoveBox, point: MovePoint) -> str:
    if name not in PLACED_COLUMNS:
        return text
    value = orjson.loads(text)
    moved = _objects(value, box, point) if name == "objects" else _cell(name, value, box, point)
    return orjson.dumps(moved).decode()


def _objects(value: object, box: MoveBox, point: MovePoint) -> object:
    """A list for each property, or an object for each thing: sets have both."""
    if isinstance(value, list):
        return [_objects(each, box, point) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _cell(name, each, box, point) for name, each in value.items()}


def _cell(name: str, value: object, box: MoveBox, point: MovePoint) -> object:
    if name not in ("bbox", "keypoints") or not isinstance(value, list):
        return value
    if not all(isinstance(each, int | float) for each in value):
        return [_cell(name, each, box, point) for each in value]
    return list(_boxes(value, box) if name == "bbox" else _points(value, point))


def _boxes(numbers: list[float], box: MoveBox) -> Iterator[float]:
    """x, y, width, height, x, …"""
    for x, y, width, height in zip(*[iter(numbers)] * 4, strict=False):
        moved = box(Box(x, y, width, height))
        yield from (moved.x, moved.y, moved.width, moved.height)


def _points(numbers: list[float], point: MovePoint) -> Iterator[float]:
    """x, y, visibility, x, …; or x, y, x, … where the list's length says so."""
    step = 3 if len(numbers) % 3 == 0 else 2
    for place in range(0, len(numbers) - 1, step):
        x, y, *visibility = numbers[place : place + step]
        yield from (*(point(x, y) if visibility != [0] else (x, y)), *visibility)
