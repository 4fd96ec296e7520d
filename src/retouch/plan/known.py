"""What is known of a source besides its picture: its labels, its split, whether it is edited."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from retouch.job import Picture, Source
from retouch.plan.annotations import Annotations
from retouch.plan.columns import Columns

TRAIN, VALIDATION = "train", "validation"
_ONE_SPLIT = {"val": VALIDATION, "valid": VALIDATION, "dev": VALIDATION}
_NOT_CARRIED = ("image", "file_name", "label")


@dataclass(frozen=True, slots=True)
class Known:
    """A source's split, whether its pictures are edited at all, and what its set says of it, also
    by a picture whose pixels are labels."""

    split: str
    is_augmented: bool
    annotations: Annotations
    segmentation: Picture | None = None


def split_name(written: str) -> str:
    """One name for the splits that have several: val, valid and dev are `validation`."""
    return _ONE_SPLIT.get(written.lower(), written)


def known_of(source: Source) -> Known:
    """What a plan knows of a source: `train` and edited where the manifest has no splits."""
    columns = source.columns
    if not isinstance(columns, Columns):
        annotations = Annotations(columns.get("label") or None)
        return Known(TRAIN, True, annotations, source.segmentation)
    annotations = columns.annotations or annotations_of(columns)
    split = columns.split or TRAIN
    return Known(split, columns.is_augmented, annotations, source.segmentation)


def annotations_of(columns: Columns) -> Annotations:
    """What a table or a path says: the class is the column `label`, which is the folder's name
    where no table has one; a table's other columns are carried."""
    label = columns.get("label") or None
    carried = tuple(
        (name, orjson.dumps(columns[name]).decode())
        for name in columns.header
        if name not in _NOT_CARRIED
    )
    return Annotations(label, (label,) if label else (), columns=carried)
