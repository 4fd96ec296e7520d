"""What a set says of its sources in cells alone is understood by every format."""

from __future__ import annotations

import orjson

from retouch.export.labelled import with_instances
from retouch.plan.annotations import Annotations, Box, Instance


def carrying(objects: object) -> Annotations:
    return Annotations(columns=(("objects", orjson.dumps(objects).decode()),))


def test_boxes_in_a_carried_cell_are_instances_too() -> None:
    """As Hugging Face's sets for detection have them, by the names or the numbers of classes."""
    known = with_instances(carrying({"bbox": [[1, 2, 3, 4], [5, 6, 7, 8]], "category": ["b", "a"]}))
    assert known.instances == (Instance("b", Box(1, 2, 3, 4)), Instance("a", Box(5, 6, 7, 8)))
    assert known.labels == ("a", "b")
    assert with_instances(carrying({"bbox": [[1, 2, 3, 4]], "categories": [7]})).labels == ("7",)


def test_objects_of_another_shape_are_carried_as_they_are() -> None:
    for objects in (
        {"bbox": [[1, 2, 3]], "category": ["a"]},
        {"bbox": [[1, 2, 3, 4]], "category": []},
        {"bbox": [[1, 2, 3, 4]]},
        [{"bbox": [1, 2, 3, 4]}],
        "text",
        None,
    ):
        assert with_instances(carrying(objects)) == carrying(objects)
