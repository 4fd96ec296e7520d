"""What is said of a source moves with its picture: boxes, outlines, keypoints, masks, cells."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as some

from retouch.plan.annotations import Annotations, Box, Instance, Keypoint, Mask, Polygon


def grid(mask: Mask) -> list[list[int]]:
    """Rows of 0 and 1, by COCO's own rule."""
    flat = [place % 2 for place, count in enumerate(mask.counts) for _ in range(count)]
    return [[flat[x * mask.height + y] for x in range(mask.width)] for y in range(mask.height)]


def runs(rows: list[list[int]]) -> Mask:
    flat = [row[x] for x in range(len(rows[0])) for row in rows]
    counts, value = [0], 0
    for each in flat:
        if each != value:
            counts, value = [*counts, 0], each
        counts[-1] += 1
    return Mask(len(rows[0]), len(rows), tuple(counts))


def test_an_instance_is_scaled_in_both_directions() -> None:
    instance = Instance(
        "cat",
        Box(10, 20, 30, 40),
        polygons=(Polygon(((10, 20), (40, 20), (40, 60))),),
        keypoints=(Keypoint(11, 21, 2), Keypoint(0, 0, 0)),
    )
    scaled = instance.scale(6.5, 2)
    assert scaled.box == Box(65, 40, 195, 80)
    assert scaled.polygons[0].points[2] == (260, 120)
    assert scaled.keypoints == (Keypoint(71.5, 42, 2), Keypoint(0, 0, 0))
    assert scaled.polygons[0].box == Box(65, 40, 195, 80)


def test_nested_objects_of_a_metadata_file_are_scaled_and_all_else_is_carried() -> None:
    cells = {
        "objects": {
            "bbox": [[1, 2, 3, 4], [5, 6, 7, 8]],
            "categories": [0, 1],
            "area": [12, 56],
            "keypoints": [[1, 1, 2, 3, 3, 1], [9, 9, 2]],
        },
        "bbox": [1, 2, 3, 4],
        "caption": "a cat",
    }
    carried = Annotations(columns=tuple((k, orjson.dumps(v).decode()) for k, v in cells.items()))
    scaled = {name: orjson.loads(text) for name, text in carried.scale(2, 10).columns}
    assert scaled["objects"]["bbox"] == [[2, 20, 6, 40], [10, 60, 14, 80]]
    assert scaled["objects"]["keypoints"] == [[2, 10, 2, 6, 30, 1], [18, 90, 2]]
    assert scaled["objects"]["area"] == [12, 56]
    assert scaled["bbox"] == [2, 20, 6, 40]
    assert scaled["caption"] == "a cat"


@given(
    some.integers(1, 9).flatmap(
        lambda width: some.lists(
            some.lists(some.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=9
        )
    ),
    some.integers(1, 4),
    some.integers(1, 4),
)
def test_a_mask_scaled_by_whole_factors_repeats_its_pixels(
    rows: list[list[int]], fx: int, fy: int
) -> None:
    scaled = runs(rows).scale(fx, fy)
    assert grid(scaled) == [
        [value for value in row for _ in range(fx)] for row in rows for _ in range(fy)
    ]
    assert sum(scaled.counts) == scaled.width * scaled.height


def test_a_mask_whose_runs_end_early_is_outside_there() -> None:
    assert Mask(3, 2, (1, 2)).scale(1, 1).counts == (1, 2, 3)
