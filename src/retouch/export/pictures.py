"""What goes out: one picture with all that is said of it, as a value; and the words for it.

A format writes these and knows nothing of plans, ledgers or prices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import orjson

from retouch.plan.annotations import Annotations, Instance

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

Placing = Literal["scaled", "registered", "unmeasured", ""]
"""How labels followed the edit: by both sizes, by a fitted map, by both sizes though nothing could
be measured; "" where nothing in the labels lies anywhere in the picture."""

OWN_COLUMNS = (
    "file_name", "image", "label", "labels", "prompt", "prompt_text", "source", "key", "model",
    "original", "geometry", "input_image", "input_image_file_name", "edit_prompt", "segmentation",
)  # fmt: skip

NAMES_A_FILE = "_file_name"
"""How the name of a column of paths ends (Hugging Face): such a column is read as pictures."""

_OF_EDITS = ("prompt", "prompt_text", "key", "model", "edit_prompt")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a picture comes from, free of what the export made of it.

    `key`, the prompt, the model, `options` (JSON), the cost and `run` are None for an original.
    `sha256`, `bytes`, `width` and `height` are those of the picture as it was paid for (of an
    original: the source's); `source_sha256` and `source_bytes` are None for a source given by URL.
    The cost is this picture's share of its job's.
    """

    source: str
    source_sha256: str | None
    source_bytes: int | None
    sha256: str
    bytes: int
    width: int
    height: int
    key: str | None = None
    prompt: str | None = None
    prompt_text: str | None = None
    model: str | None = None
    options: str | None = None
    cost: Decimal | None = None
    currency: str | None = None
    run: str | None = None

    @property
    def is_original(self) -> bool:
        return self.key is None


@dataclass(frozen=True, slots=True)
class File:
    """Bytes to be stored: `name` without folder, unique in its split; sizes in pixels."""

    name: str
    data: bytes
    width: int
    height: int

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def suffix(self) -> str:
        """With its dot."""
        return "." + self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Exported:
    """One picture of the data set; `before` is its source where pairs are exported, `segmentation`
    its label picture where it has one.

    `annotations` lie where the exported file has them.
    """

    file: File
    split: str
    annotations: Annotations
    provenance: Provenance
    placing: Placing = ""
    before: File | None = None
    segmentation: File | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What all pictures of the data set have in common, known before the first is written.

    `classes` are sorted; `edited_splits` are those that hold more than originals; `columns` are the
    carried ones, each with a value of every kind that occurs (enough to know the column's type).
    The rest says what occurs at all.
    """

    splits: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    edited_splits: frozenset[str] = frozenset()
    columns: tuple[tuple[str, tuple[Json, ...]], ...] = ()
    keypoint_names: tuple[tuple[str, tuple[str, ...]], ...] = ()
    has_labels: bool = False
    has_several_labels: bool = False
    has_instances: bool = False
    has_polygons: bool = False
    all_have_polygons: bool = False
    has_keypoints: bool = False
    has_places: bool = False
    has_pairs: bool = False
    has_segmentations: bool = False

    def number(self, label: str) -> int:
        """A class's number, from 0."""
        return self.classes.index(label)


def cells(picture: Exported, shape: Shape) -> dict[str, Json]:
    """What is said of a picture in formats that have named cells, in their order; the same names
    for each picture of a data set."""
    facts, annotations = picture.provenance, picture.annotations
    named: dict[str, Json] = {}
    if shape.has_labels:
        named["label"] = annotations.label
    if shape.has_several_labels:
        named["labels"] = list(annotations.labels)
    named["prompt"] = facts.prompt
    named["prompt_text"] = facts.prompt_text
    named["source"] = facts.source
    named["key"] = facts.key
    named["model"] = facts.model
    named["original"] = facts.is_original
    if shape.has_pairs:
        named["edit_prompt"] = facts.prompt_text
    if shape.has_places:
        named["geometry"] = picture.placing
    carried = dict(annotations.columns)
    for name, _ in shape.columns:
        named[free_name(name)] = orjson.loads(carried[name]) if name in carried else None
    if shape.has_instances and "objects" not in named:
        named["objects"] = objects(annotations.instances, shape)
    return named


def without_nulls(named: dict[str, Json], picture: Exported, shape: Shape) -> dict[str, Json]:
    """The same cells for readers that take a column's type from the first rows they meet: they
    refuse a split in which every row of a text column is null."""
    texts = [name for name, kinds in shape.columns if all(isinstance(each, str) for each in kinds)]
    empty = {"label", *map(free_name, texts)}
    if picture.split not in shape.edited_splits:
        empty.update(_OF_EDITS)
    return {name: "" if value is None and name in empty else value for name, value in named.items()}


def free_name(name: str) -> str:
    """A carried column's name where it is not one of the data set's own, nor one that readers
    take for the path of a further picture, which does not lie here."""
    return f"{name}_" if name in OWN_COLUMNS or name.endswith(NAMES_A_FILE) else name


def objects(instances: Iterable[Instance], shape: Shape) -> dict[str, Json]:
    """Instances as Hugging Face has them: a list for each property."""
    every = list(instances)
    found: dict[str, Json] = {
        "bbox": [list(box_numbers(each)) for each in every],
        "category": [each.label for each in every],
    }
    if shape.has_polygons:
        found["segmentation"] = [[list(part) for part in outlines(each)] for each in every]
    if shape.has_keypoints:
        found["keypoints"] = [list(keypoint_numbers(each)) for each in every]
    return found


def box_numbers(instance: Instance) -> tuple[float, float, float, float]:
    """x, y, width, height, to a hundredth of a pixel."""
    box = instance.box
    return tidy(box.x), tidy(box.y), tidy(box.width), tidy(box.height)


def outlines(instance: Instance) -> Iterator[list[float]]:
    """Each part's x, y, x, y, …"""
    for polygon in instance.polygons:
        yield [tidy(number) for point in polygon.points for number in point]


def keypoint_numbers(instance: Instance) -> Iterator[float]:
    """x, y, visibility, x, …"""
    for point in instance.keypoints:
        yield from (tidy(point.x), tidy(point.y), point.visibility)


def tidy(number: float) -> float:
    """A hundredth of a pixel is finer than any label; -0.0 and 3.0000000000000004 help nobody."""
    return round(number, 2) + 0.0
