"""Where labels lie in an edited picture: scaled with it, fitted to it, or refused.

Rules (DETAILS, "Scale against aspect" and "Measured geometry on flat pictures"):
- `scale` multiplies x by W/w and y by H/h. An aspect that changed by more than 2 % is a stretch:
  scaled by both factors where features show that the picture was stretched, refused where it was
  cropped or padded, or where nothing can be measured.
- `register` moves everything by the map that was fitted to the features.
- Where nothing can be measured and the aspect stayed, both scale, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from retouch.export.pictures import Placing
from retouch.pictures.geometry import Affine, Geometry, Size, changes_aspect
from retouch.plan.annotations import PLACED_COLUMNS, Annotations, Box, Instance, Keypoint, Polygon
from retouch.plan.annotations import Mask as RunLengths

Mode = Literal["scale", "register"]


@dataclass(frozen=True, slots=True)
class Placed:
    """Annotations as they lie in the output, and how they came there."""

    annotations: Annotations
    placing: Placing


def unplaced(annotations: Annotations) -> Annotations:
    """Classes and carried cells alone: nothing that lies anywhere in the picture."""
    columns = tuple(cell for cell in annotations.columns if cell[0] not in PLACED_COLUMNS)
    return replace(annotations, instances=(), columns=columns)


def place(
    annotations: Annotations, source: Size, output: Size, geometry: Geometry | None, mode: Mode
) -> Placed | str:
    """The annotations in the output's pixels; or why they cannot be there, as a clause.

    `geometry` None: nothing was measured.
    """
    measured = geometry is not None and geometry.affine is not None
    if mode == "register" and geometry is not None and geometry.affine is not None:
        return Placed(_registered(annotations, geometry.affine, output), "registered")
    scaled = annotations.scale(output[0] / source[0], output[1] / source[1])
    if not changes_aspect(source, output):
        return Placed(scaled, "scaled" if measured else "unmeasured")
    sizes = f"{source[0]}x{source[1]} became {output[0]}x{output[1]}"
    if not measured or geometry is None:
        return f"its aspect has changed ({sizes}) and what became of it cannot be measured"
    if geometry.has_moved:
        return f"it was cropped or padded ({sizes})"
    return Placed(scaled, "scaled")


def _registered(annotations: Annotations, affine: Affine, output: Size) -> Annotations:
    """Everything moved by the map; what leaves the picture is cut, or dropped if nothing stays."""
    moved = (_moved(each, affine, output) for each in annotations.instances)
    carried = annotations.move_columns(lambda box: _box_moved(box, affine), affine.of)
    return replace(carried, instances=tuple(each for each in moved if each is not None))


def _moved(instance: Instance, affine: Affine, output: Size) -> Instance | None:
    polygons = tuple(
        Polygon(tuple(affine.of(x, y) for x, y in each.points)) for each in instance.polygons
    )
    box = _within(_box_moved(instance.box, affine), output)
    if box is None:
        return None
    keypoints = tuple(_keypoint_moved(each, affine, output) for each in instance.keypoints)
    mask = instance.mask and _mask_moved(instance.mask, affine, output)
    return replace(instance, box=box, polygons=polygons, keypoints=keypoints, mask=mask)


def _box_moved(box: Box, affine: Affine) -> Box:
    """The upright rectangle around the moved corners."""
    corners = [(x, y) for x in (box.x, box.x + box.width) for y in (box.y, box.y + box.height)]
    return Polygon(tuple(affine.of(x, y) for x, y in corners)).box


def _within(box: Box, output: Size) -> Box | None:
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.width, output[0]), min(box.y + box.height, output[1])
    return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None


def _keypoint_moved(point: Keypoint, affine: Affine, output: Size) -> Keypoint:
    x, y = affine.of(point.x, point.y)
    is_inside = 0 <= x <= output[0] and 0 <= y <= output[1]
    if not point.visibility or not is_inside:
        return replace(point, x=0.0, y=0.0, visibility=0)
    return replace(point, x=x, y=y)


def _mask_moved(mask: RunLengths, affine: Affine, output: Size) -> RunLengths:
    """Nearest neighbour. OpenCV is there: the map was measured with it."""
    import cv2  # noqa: PLC0415  an extra: not there for everybody
    import numpy as np  # noqa: PLC0415

    values = np.arange(len(mask.counts), dtype=np.uint8) % 2
    flat = np.zeros(mask.width * mask.height, np.uint8)
    runs = np.repeat(values, mask.counts)[: flat.size]
    flat[: runs.size] = runs
    # Labels are measured from the picture's edge, OpenCV's pixels from their middle.
    c = affine.c + (affine.a + affine.b - 1) / 2
    f = affine.f + (affine.d + affine.e - 1) / 2
    matrix = np.array([[affine.a, affine.b, c], [affine.d, affine.e, f]])
    grid = np.ascontiguousarray(flat.reshape(mask.width, mask.height).T)
    moved = np.asarray(cv2.warpAffine(grid, matrix, output, flags=cv2.INTER_NEAREST))
    pixels = moved.T.ravel()
    ends = np.flatnonzero(np.diff(pixels)) + 1
    counts = np.diff(np.concatenate(([0], ends, [pixels.size]))).tolist()
    return RunLengths(*output, tuple([0, *counts] if pixels[0] else counts))
