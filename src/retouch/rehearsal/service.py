"""The service itself, without HTTP: takes Orders, makes pictures, keeps tasks and the book.

Everything here is synchronous and safe to call from worker threads; a charge is on the book
before the caller gets its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from . import catalogue
from .book import Book, Charge
from .edits.engine import Work, edit
from .files import Link, LinkBroken, Signer, Spool
from .orders import Order
from .pictures import Picture, Pixels, encode, open_mask, open_picture
from .refusal import bad_request, not_found
from .sizes import Size, bucket_for, openai_size_for, size_of_ratio
from .sources import Sources
from .tasks import Fate, Task, Tasks
from .understanding import EditPlan, understand
from .usage import Usage, usage_of

SECONDS_VALID = 15 * 24 * 3600
RESULT_PIXELS_MAX = 40_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which an order is carried out: whose key, what a fault changes.

    `images`: how many pictures to make (None: as ordered); `charged`: whether it is charged;
    `fate`: what becomes of a task.
    """

    key: str
    images: int | None = None
    charged: bool = True
    fate: Fate = "succeeds"


@dataclass(frozen=True, slots=True)
class Edited:
    """The result of a synchronous Order."""

    pictures: tuple[bytes, ...]
    usage: Usage
    plan: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Inputs:
    pictures: tuple[Picture, ...]
    raw: tuple[bytes, ...]
    mask: Pixels | None
    mask_raw: bytes


class Service:
    """Orders in, pictures and tasks out. `root` is the base URL without /v1; `clock` Unix s."""

    def __init__(
        self,
        *,
        root: str,
        book: Book,
        url_map: Mapping[str, Path],
        seconds_per_task: float,
        clock: Callable[[], float],
        seconds_valid: float = SECONDS_VALID,
        folder: Path | None = None,
    ) -> None:
        self.book = book
        self.clock = clock
        self.tasks = Tasks(folder)
        self.signer = Signer(root, seconds_valid)
        self._inputs_spool = Spool(folder)
        self._made_spool = Spool()
        self._seconds_per_task = seconds_per_task
        self._sources = Sources(url_map, self._own_file)

    def carry_out(self, order: Order, terms: Terms) -> Edited:
        """Edit now, charge, and return the pictures."""
        inputs = self._inputs(order)
        plan = _plan(order, len(inputs.pictures))
        images = order.n if terms.images is None else terms.images
        _check_result_pixels(images, _result_size(order, inputs))
        pictures = tuple(_make(order, inputs, plan, index) for index in range(images))
        usage = usage_of(order.prompt, [picture.size for picture in inputs.pictures], images)
        if terms.charged:
            self._charge(order, terms.key, images, usage, None)
        return Edited(pictures, usage, str(plan), (*order.warnings, *plan.warnings))

    def accept(self, order: Order, terms: Terms) -> Task:
        """Check the pictures, charge, and keep a task for them."""
        inputs = self._inputs(order)
        plan = _plan(order, len(inputs.pictures))
        now = self.clock()
        task = Task(
            id=self.tasks.new_id(now),
            order=_without_pictures(order),
            inputs=tuple(map(self._inputs_spool.put, inputs.raw)),
            plan=str(plan),
            warnings=(*order.warnings, *plan.warnings),
            created=now,
            seconds=self._seconds_per_task,
            fate=terms.fate,
        )
        self.tasks.add(task)
        if terms.charged and task.fate in ("succeeds", "task_vanished"):
            self._charge(order, terms.key, order.n, Usage(), task.id)
        return task

    def file_of(self, link: Link) -> bytes:
        """The bytes of a finished task's picture; made now if nobody asked before."""
        task = self.tasks.get(link.task_id, self.clock())
        if not 0 <= link.index < task.images:
            raise not_found("file")
        known = task.made.get(link.index)
        if known is not None:
            return known.read_bytes()
        raw = tuple(path.read_bytes() for path in task.inputs)
        pictures = tuple(
            open_picture(data, reference.name)
            for data, reference in zip(raw, task.order.references, strict=True)
        )
        plan = _plan(task.order, len(pictures))
        data = _make(task.order, _Inputs(pictures, raw, None, b""), plan, link.index)
        task.made[link.index] = self._made_spool.put(data)
        return data

    def _own_file(self, url: str) -> bytes | None:
        if not self.signer.owns(url):
            return None
        try:
            return self.file_of(self.signer.read(url, self.clock()))
        except LinkBroken as error:
            raise bad_request(f"the URL of this service's own file: {error}") from error

    def _inputs(self, order: Order) -> _Inputs:
        raw_base64 = order.endpoint != "edits"
        raw = tuple(
            self._sources.read(reference, raw_base64=raw_base64) for reference in order.references
        )
        pictures = tuple(
            open_picture(data, reference.name)
            for data, reference in zip(raw, order.references, strict=True)
        )
        if order.model.is_task:
            for picture, reference in zip(pictures, order.references, strict=True):
                _check_kling_picture(picture, reference.name)
        if order.mask is None:
            return _Inputs(pictures, raw, None, b"")
        mask_raw = self._sources.read(order.mask)
        mask = open_mask(mask_raw, order.mask.name, order.polarity, pictures[0].size)
        return _Inputs(pictures, raw, mask, mask_raw)

    def _charge(
        self, order: Order, key: str, images: int, usage: Usage, task_id: str | None
    ) -> None:
        self.book.record(
            Charge(
                at=self.clock(),
                key=key,
                endpoint=order.endpoint,
                model=order.model.name,
                images=images,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                total_tokens=usage.total_tokens,
                task_id=task_id,
                request=order.digest,
            )
        )


def _plan(order: Order, images: int) -> EditPlan:
    return understand(order.prompt, images=images, is_masked=order.mask is not None)


def _make(order: Order, inputs: _Inputs, plan: EditPlan, index: int) -> bytes:
    work = Work(
        pictures=inputs.pictures,
        roles=tuple(reference.role for reference in order.references),
        mask=inputs.mask,
        mask_digest=inputs.mask_raw,
        prompt=order.prompt,
        model=order.model.name,
        plan=plan,
        size=_result_size(order, inputs),
        transparent=order.background == "transparent",
    )
    return encode(edit(work, index), order.output_format, order.output_compression, str(plan))


def _result_size(order: Order, inputs: _Inputs) -> Size:
    """A masked edit keeps the picture's own size, so that what is kept is kept exactly."""
    own = inputs.pictures[0].size
    if order.size is not None:
        return order.size
    if order.aspect_ratio is not None:
        return size_of_ratio(order.aspect_ratio)
    if inputs.mask is not None:
        return own
    return openai_size_for(own) if order.model.family == "openai" else bucket_for(own)


def _without_pictures(order: Order) -> Order:
    """The order with its data URIs dropped: the bytes are on disk, memory is for others."""
    lean = tuple(replace(reference, value="") for reference in order.references)
    return replace(order, references=lean)


def _check_result_pixels(images: int, size: Size) -> None:
    pixels = images * size[0] * size[1]
    if pixels > RESULT_PIXELS_MAX:
        raise bad_request(
            f"n: {images} results of {size[0]}x{size[1]} hold {pixels:,} pixels; "
            f"at most {RESULT_PIXELS_MAX:,} in one request",
            param="n",
        )


def _check_kling_picture(picture: Picture, name: str) -> None:
    """Kling's limits on reference pictures; source: the page, on subject_image_list."""
    width, height = picture.size
    ratio = max(width, height) / min(width, height)
    if picture.media_type not in ("image/png", "image/jpeg"):
        raise bad_request(f"{name}: is {picture.media_type}; .jpg or .png is needed", param=name)
    if picture.bytes > catalogue.KLING_PICTURE_BYTES:
        raise bad_request(f"{name}: {picture.bytes:,} bytes; at most 10 MB", param=name)
    if min(width, height) < catalogue.KLING_SIDE_PIXELS:
        raise bad_request(f"{name}: {width}x{height}; each side needs 300 pixels", param=name)
    if ratio > catalogue.KLING_SIDE_RATIO:
        raise bad_request(
            f"{name}: {width}x{height}; the shape must lie between 1:2.5 and 2.5:1", param=name
        )


def fate_of(kind: str | None) -> Fate:
    """The fate a fault's kind gives a task."""
    is_fate = kind in ("task_failed", "task_stuck", "task_unknown_status", "task_vanished")
    return cast("Fate", kind) if is_fate else "succeeds"
