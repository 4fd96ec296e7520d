"""From what is there to what goes out: one picture read, checked, measured, rendered, its labels
placed. Runs in threads, for decoding and hashing let others run; everything it needs comes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Literal

import orjson
from msgspec import structs

from retouch.engine.outputs import Outputs
from retouch.export.arrow import AMOUNT_UNIT
from retouch.export.pictures import Exported, File, Placing, Provenance
from retouch.export.placing import Mode, place, unplaced
from retouch.export.present import Edit, Item
from retouch.export.rendering import SUFFIXES, ImageFormat, Rendered, Unrenderable, rendered
from retouch.export.segmentation import fitted
from retouch.job import Picture, Source
from retouch.money import EXACT
from retouch.pictures import SourceChanged, payload
from retouch.pictures.geometry import (
    Affine,
    Geometry,
    Size,
    changes_aspect,
    measure_geometry,
    size_of,
)
from retouch.plan.annotations import Annotations
from retouch.plan.known import Known


@dataclass(frozen=True, slots=True)
class Rules:
    """How pictures and labels go out: `size` of the output or of its source, `carry` of what lies
    somewhere in the picture, `geometry` of how it follows."""

    size: Literal["output", "source"] = "output"
    image_format: ImageFormat | None = None
    carry: Literal["auto", "drop"] = "auto"
    geometry: Mode | Literal["drop"] = "scale"
    pairs: bool = False

    def carried(self, annotations: Annotations) -> Annotations:
        """What of a source's annotations goes out at all."""
        is_dropped = "drop" in (self.carry, self.geometry)
        return unplaced(annotations) if is_dropped else annotations

    def segmentation(self, known: Known) -> Picture | None:
        """The picture of labels that goes out with a source's pictures."""
        return None if "drop" in (self.carry, self.geometry) else known.segmentation

    def has_places(self, known: Known) -> bool:
        """Whether something lies somewhere in the picture, and must follow an edit."""
        return self.carried(known.annotations).has_places or self.segmentation(known) is not None


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to be made: its name without suffix, and what was measured of it before."""

    item: Item
    name: str
    before_name: str = ""
    measured: Geometry | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A picture as it goes out, or why it does not.

    `is_misplaced`: it is there, but its labels could not follow it. `geometry` was measured, now
    or before; `is_resized` is None where the source's size is not known.
    """

    exported: Exported | None = None
    reason: str = ""
    is_misplaced: bool = False
    geometry: Geometry | None = None
    is_resized: bool | None = None


class Maker:
    """Makes pictures by the rules; safe to use from several threads."""

    def __init__(self, outputs: Outputs, rules: Rules) -> None:
        self._outputs = outputs
        self._rules = rules

    def make(self, order: Order) -> Made:
        """One picture; nothing is raised for what is wrong with it."""
        try:
            edit = order.item.edit
            return self._original(order) if edit is None else self._edited(order, edit)
        except Unrenderable as error:
            return Made(reason=str(error))
        except SourceChanged:
            return Made(reason="has another source now than was planned")

    def needs_measuring(self, item: Item) -> bool:
        """Whether labels of an edit hang on its geometry."""
        return (
            item.edit is not None
            and item.source.picture.path is not None
            and self._rules.has_places(item.known)
        )

    def is_as_recorded(self, edit: Edit) -> bool:
        """Whether an edit's bytes are those that were paid for."""
        return self._outputs.read(edit.file) is not None

    def is_misplaced(self, item: Item, measured: Geometry | None) -> bool:
        """Whether an edit is left out because its labels cannot follow it. Only a change of aspect
        makes that possible, so few pictures are measured."""
        edit, size = item.edit, size_of(item.source.columns)
        if edit is None or not self._rules.has_places(item.known):
            return False
        output = (edit.file.width, edit.file.height)
        if size is not None and measured is None and changes_aspect(size, output):
            data = self._outputs.read(edit.file)
            if data is not None and item.source.picture.path is not None:
                measured = measure_geometry(payload(item.source.picture), data)
        return isinstance(self._placed(item, size, output, measured), str)

    def _original(self, order: Order) -> Made:
        source = order.item.source
        picture = source.picture
        is_readable = picture.media_type in SUFFIXES
        sent = structs.replace(picture, transforms=() if is_readable else ("convert",))
        media_type = picture.media_type if is_readable and picture.media_type else "image/png"
        size = (picture.width or 0, picture.height or 0)
        whole = rendered(payload(sent), media_type, size, None, self._rules.image_format)
        facts = original_provenance(source)
        annotations = self._rules.carried(order.item.known.annotations)
        exported = Exported(
            _file(order.name, whole),
            order.item.known.split,
            annotations,
            facts,
            segmentation=self._segmentation(order, None, size, whole.size),
        )
        return Made(exported)

    def _edited(self, order: Order, edit: Edit) -> Made:
        data = self._outputs.read(edit.file)
        if data is None:
            return Made(reason="has lost its picture, or another one lies there")
        source, output = order.item.source, (edit.file.width, edit.file.height)
        size = size_of(source.columns)
        geometry = order.measured
        if geometry is None and self.needs_measuring(order.item):
            geometry = measure_geometry(payload(source.picture), data)
        placed = self._placed(order.item, size, output, geometry)
        if isinstance(placed, str):
            return Made(reason=placed, is_misplaced=True, geometry=geometry)
        annotations, placing = placed
        wanted = size if self._rules.size == "source" else None
        if self._rules.size == "source" and size is None:
            return Made(reason="is a URL: its source's size is not known")
        whole = rendered(data, edit.file.media_type, output, wanted, self._rules.image_format)
        if whole.size != output:
            annotations = annotations.scale(whole.size[0] / output[0], whole.size[1] / output[1])
        exported = Exported(
            _file(order.name, whole),
            order.item.known.split,
            annotations,
            provenance_of(source, edit),
            placing,
            self._before(order) if self._rules.pairs else None,
            self._segmentation(
                order,
                geometry.affine if placing == "registered" and geometry else None,
                output,
                whole.size,
            ),
        )
        return Made(
            exported, geometry=geometry, is_resized=None if size is None else size != output
        )

    def _placed(
        self, item: Item, size: Size | None, output: Size, geometry: Geometry | None
    ) -> tuple[Annotations, Placing] | str:
        annotations = self._rules.carried(item.known.annotations)
        if not self._rules.has_places(item.known):
            return annotations, ""
        if size is None:
            return "its source is a URL of a size that is not known: its labels cannot follow"
        mode: Mode = "register" if self._rules.geometry == "register" else "scale"
        placed = place(annotations, size, output, geometry, mode)
        return placed if isinstance(placed, str) else (placed.annotations, placed.placing)

    def _segmentation(
        self, order: Order, affine: Affine | None, output: Size, wanted: Size
    ) -> File | None:
        """The picture of labels, where the exported picture has what it says."""
        picture = self._rules.segmentation(order.item.known)
        if picture is None:
            return None
        return File(f"{order.name}.png", fitted(payload(picture), affine, output, wanted), *wanted)

    def _before(self, order: Order) -> File:
        """The source as it was sent."""
        picture = order.item.source.picture
        media_type = "image/png" if picture.transforms else picture.media_type or ""
        size = size_of(order.item.source.columns) or (0, 0)
        whole = rendered(payload(picture), media_type, size, None, self._rules.image_format)
        return _file(order.before_name, whole)


def original_provenance(source: Source) -> Provenance:
    """A source as it stands: `payload` has seen that its digest is the planned one."""
    picture = source.picture
    return Provenance(
        source=source.name,
        source_sha256=_sha256(picture),
        source_bytes=picture.bytes,
        sha256=_sha256(picture) or "",
        bytes=picture.bytes or 0,
        width=picture.width or 0,
        height=picture.height or 0,
    )


def provenance_of(source: Source, edit: Edit) -> Provenance:
    """Where an edit comes from; its share of the job's cost, the first picture taking the rest. A
    copy at a further place cost nothing, so that the costs of a data set add up to its charges."""
    job, file, done = edit.job, edit.file, edit.done
    cost = done.cost if done else None
    return Provenance(
        source=source.name,
        source_sha256=_sha256(source.picture),
        source_bytes=source.picture.bytes,
        sha256=file.sha256,
        bytes=file.bytes,
        width=file.width,
        height=file.height,
        key=job.key,
        prompt=job.prompt.id,
        prompt_text=job.prompt.text,
        model=job.model,
        options=orjson.dumps(dict(job.options)).decode(),
        cost=_share(Decimal(cost.amount), edit) if cost else None,
        currency=cost.currency if cost else None,
        run=done.run if done else None,
    )


def _share(amount: Decimal, edit: Edit) -> Decimal:
    if edit.is_copy:
        return Decimal(0).quantize(AMOUNT_UNIT)
    share = EXACT.divide(amount, Decimal(edit.of)).quantize(AMOUNT_UNIT, ROUND_FLOOR, EXACT)
    if edit.index:
        return share
    rest = EXACT.multiply(share, Decimal(edit.of - 1))
    return EXACT.subtract(amount, rest).quantize(AMOUNT_UNIT)


def _sha256(picture: Picture) -> str | None:
    kind, _, digest = picture.digest.partition(":")
    return digest if kind == "sha256" else None


def _file(name: str, whole: Rendered) -> File:
    return File(f"{name}{whole.suffix}", whole.data, *whole.size)
