"""What is known of a source besides its picture: its split, its classes, its carried cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from retouch.job import Source
from retouch.plan.annotations import Annotations, Box, Instance
from retouch.plan.columns import Columns

TRAIN = "train"
_ONE_SPLIT = {"val": "validation", "valid": "validation", "dev": "validation"}
_NOT_CARRIED = ("image", "label")
_CLASSES = ("category", "categories", "label", "labels", "name", "names")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A source's split, whether its pictures are edited at all, and what its set says of it."""

    split: str
    is_augmented: bool
    annotations: Annotations


def split_name(written: str) -> str:
    """One name for the splits that have several: val, valid and dev are `validation`."""
    return _ONE_SPLIT.get(written.lower(), written)


def labelled(source: Source) -> Labelled:
    """Without splits everything is `train`; the class is the column `label`, which is the folder's
    name where no table has one; a table's other columns are carried."""
    columns = source.columns
    header = columns.header if isinstance(columns, Columns) else ()
    label = columns.get("label") or None
    carried = tuple(
        (name, orjson.dumps(columns[name]).decode()) for name in header if name not in _NOT_CARRIED
    )
    labels = (label,) if label else ()
    return Labelled(TRAIN, True, with_instances(Annotations(label, labels, columns=carried)))


def with_instances(annotations: Annotations) -> Annotations:
    """The same; where a set has its instances in a carried cell `objects` alone (Hugging Face:
    `bbox` and the names or numbers of classes, a list each), as instances too."""
    text = dict(annotations.columns).get("objects")
    if annotations.instances or text is None:
        return annotations
    objects = orjson.loads(text)
    boxes = objects.get("bbox") if isinstance(objects, dict) else None
    if not isinstance(boxes, list) or not all(map(_is_box, boxes)):
        return annotations
    names = next((objects[key] for key in _CLASSES if isinstance(objects.get(key), list)), None)
    if names is None or len(names) != len(boxes):
        return annotations
    instances = tuple(
        Instance(str(name), Box(*map(float, box))) for name, box in zip(names, boxes, strict=True)
    )
    labels = {*annotations.labels, *(each.label for each in instances)}
    return replace(annotations, instances=instances, labels=tuple(sorted(labels)))


def _is_box(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(each, int | float) for each in value)
    )
