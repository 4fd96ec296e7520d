"""What is known of a source besides its picture: what the plan knows, and what lies in cells."""

from __future__ import annotations

from dataclasses import replace

import orjson

from retouch.job import Source
from retouch.plan.annotations import Annotations, Box, Instance
from retouch.plan.known import Known, known_of

_CLASSES = ("category", "categories", "label", "labels", "name", "names")


def labelled(source: Source) -> Known:
    """A source's split, whether it is edited, and its annotations, as every format writes them."""
    known = known_of(source)
    return replace(known, annotations=with_instances(known.annotations))


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
