"""The first pass: what all pictures have in common, from names and labels alone."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from retouch.export.pictures import Json, Shape
from retouch.plan.annotations import Annotations, Instance

Seen = tuple[str, bool, Annotations] | tuple[str, bool, Annotations, bool]
"""A picture's split, whether it is an edit, its annotations, and whether it has a segmentation."""


class _Gathering:
    """What was seen so far."""

    def __init__(self) -> None:
        self.splits: dict[str, None] = {}
        self.edited: set[str] = set()
        self.classes: set[str] = set()
        self.columns: dict[str, dict[object, Json]] = {}
        self.keypoint_names: dict[str, tuple[str, ...]] = {}
        self.has_labels = self.has_several_labels = self.has_places = False
        self.has_segmentations = False
        self.instances = self.outlined = 0

    def take(
        self, split: str, is_edit: bool, annotations: Annotations, is_segmented: bool = False
    ) -> None:
        self.splits[split] = None
        self.has_segmentations |= is_segmented
        if is_edit:
            self.edited.add(split)
        if annotations.label is not None:
            self.classes.add(annotations.label)
            self.has_labels = True
        self.classes.update(annotations.labels)
        self.has_several_labels |= len(annotations.labels) > (annotations.label is not None)
        self.has_places |= annotations.has_places or is_segmented
        for name, text in annotations.columns:
            value = orjson.loads(text)
            self.columns.setdefault(name, {}).setdefault(_kind(value), value)
        for instance in annotations.instances:
            self._instance(instance)

    def _instance(self, instance: Instance) -> None:
        self.classes.add(instance.label)
        if not instance.is_crowd:
            self.instances += 1
            self.outlined += bool(instance.polygons)
        known = self.keypoint_names.get(instance.label, ())
        if len(instance.keypoints) > len(known):
            self.keypoint_names[instance.label] = tuple(
                point.name or str(number)
                for number, point in enumerate(instance.keypoints, start=1)
            )


def shape_of(pictures: Iterable[Seen], *, has_pairs: bool) -> Shape:
    """What occurs in a data set."""
    found = _Gathering()
    for picture in pictures:
        found.take(*picture)
    return Shape(
        splits=tuple(sorted(found.splits)),
        classes=tuple(sorted(found.classes)),
        edited_splits=frozenset(found.edited),
        columns=tuple((name, tuple(kinds.values())) for name, kinds in found.columns.items()),
        keypoint_names=tuple(sorted(found.keypoint_names.items())),
        has_labels=found.has_labels,
        has_several_labels=found.has_several_labels and not found.instances,
        has_instances=bool(found.instances),
        has_polygons=bool(found.outlined),
        all_have_polygons=bool(found.instances) and found.outlined == found.instances,
        has_keypoints=bool(found.keypoint_names),
        has_places=found.has_places,
        has_pairs=has_pairs,
        has_segmentations=found.has_segmentations,
    )


def _kind(value: Json) -> object:
    """What tells the types of two cells apart."""
    if isinstance(value, list):
        return "list", frozenset(map(_kind, value))
    if isinstance(value, dict):
        return "dict", tuple((name, _kind(each)) for name, each in value.items())
    return type(value).__name__
