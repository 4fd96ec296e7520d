"""The service itself, without HTTP: takes Orders, makes pictures, keeps tasks and the book.

Everything here is synchronous and safe to call from worker threads; a charge is on the book
before the caller gets its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from .bench import BENCH
from .book import Book, Charge
from .edits.arrays import cover
from .edits.compose import moved
from .edits.engine import Work, edit
from .files import Link, LinkBroken, Signer, Spool
from .inputs import Inputs, check_kling_picture, read_inputs
from .orders import Order, Reference
from .pictures import open_picture
from .refusal import bad_request, not_found
from .results import check_results, drawn, moving, written
from .sizes import Size, bucket_for, openai_size_for, size_of_ratio
from .sources import Sources
from .tasks import Fate, Task, Tasks
from .understanding import EditPlan, understand
from .usage import Usage, usage_of

MOST_PICTURES = 10  # of one order
SECONDS_VALID = 15 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which an order is carried out: whose key, what a fault changes.

    `images`: how many pictures to make (None: as ordered); `charged`: whether it is charged;
    `fate`: what becomes of a task; `noise`: shares by which input and output tokens vary;
    `moves`: whether the edit does not stay where its source was.
    """

    key: str
    images: int | None = None
    charged: bool = True
    fate: Fate = "succeeds"
    noise: tuple[float, float] = (0.0, 0.0)
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """The result of a synchronous Order; whoever gets it closes the pictures' files."""

    pictures: tuple[IO[bytes], ...]
    usage: Usage
    plan: str
    warnings: tuple[str, ...]


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
        fetches_loopback: bool = False,
    ) -> None:
        self.book = book
        self.clock = clock
        self.tasks = Tasks(folder)
        self.signer = Signer(root, seconds_valid)
        self._inputs_spool = Spool(folder)
        self._made_spool = Spool()
        self._seconds_per_task = seconds_per_task
        self._sources = Sources(url_map, self._own_file, fetches_loopback=fetches_loopback)

    def carry_out(self, order: Order, terms: Terms) -> Edited:
        """Edit now, charge, and return the pictures."""
        inputs = read_inputs(order, self._sources.read)
        plan = _plan(order)
        images = order.n if terms.images is None else terms.images
        check_results(images, _result_size(inputs), order.output_format)
        with ExitStack() as files:
            pictures = tuple(
                files.enter_context(_make(inputs, plan, index, moves=terms.moves))
                for index in range(images)
            )
            sizes = [picture.size for picture in inputs.pictures]
            is_drawn = order.output_format == "svg"
            usage = usage_of(order.prompt, sizes, images, is_drawn=is_drawn).varied(*terms.noise)
            if terms.charged:
                self._charge(order, terms.key, images, usage, None)
            files.pop_all()
        return Edited(pictures, usage, str(plan), (*order.warnings, *plan.warnings))

    def accept(self, order: Order, terms: Terms) -> Task:
        """Check the pictures, charge, and keep a task for them."""
        plan = _plan(order)
        aside = replace(order, references=tuple(map(self._put_aside, order.references)))
        now = self.clock()
        task = Task(
            id=self.tasks.new_id(now),
            order=aside,
            plan=str(plan),
            warnings=(*order.warnings, *plan.warnings),
            created=now,
            seconds=self._seconds_per_task,
            fate=terms.fate,
            moves=terms.moves,
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
        inputs = read_inputs(task.order, self._sources.read)
        with _make(inputs, _plan(task.order), link.index, moves=task.moves) as picture:
            data = picture.read()
        task.made[link.index] = self._made_spool.put(data)
        return data

    def _own_file(self, url: str) -> bytes | None:
        if not self.signer.owns(url):
            return None
        try:
            return self.file_of(self.signer.read(url, self.clock()))
        except LinkBroken as error:
            raise bad_request(f"the URL of this service's own file: {error}") from error

    def _put_aside(self, reference: Reference) -> Reference:
        """A task's picture, checked and moved to disk: thousands of tasks must not fill memory."""
        data = self._sources.read(reference)
        check_kling_picture(open_picture(data, reference.name), reference.name)
        return replace(reference, value="", path=self._inputs_spool.put(data))

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
                svg_input_tokens=usage.svg_input_tokens,
                svg_output_tokens=usage.svg_output_tokens,
            )
        )


def _plan(order: Order) -> EditPlan:
    images = len(order.references)
    return understand(order.prompt, images=images, is_masked=order.mask is not None)


def _make(inputs: Inputs, plan: EditPlan, index: int, *, moves: bool = False) -> IO[bytes]:
    """The file of one result; `moves`: zoomed and shifted, as real models do."""
    order, size = inputs.order, _result_size(inputs)
    work = Work(
        pictures=inputs.pictures,
        roles=tuple(reference.role for reference in order.references),
        mask=inputs.mask.plane if inputs.mask else None,
        mask_digest=inputs.mask.digest if inputs.mask else "",
        prompt=order.prompt,
        model=order.model.name,
        plan=plan,
        size=size,
        transparent=order.background == "transparent",
    )
    edited = edit(work, index + order.variant * MOST_PICTURES)
    with BENCH.room_for(inputs.first.size if inputs.mask else size):
        result = cover(inputs.kept(edited), size)
        result = moved(result, f"{order.digest}|{index}") if moves else result
        if order.output_format == "gif":
            return moving(result, order.frames, str(plan))
        if order.output_format == "svg":
            return drawn(result, str(plan))
        return written(result, order.output_format, order.output_compression, str(plan))


def _result_size(inputs: Inputs) -> Size:
    """A masked edit keeps the picture's own size, so that what is kept is kept exactly."""
    own, order = inputs.first.size, inputs.order
    if order.size is not None:
        return order.size
    if order.aspect_ratio is not None:
        return size_of_ratio(order.aspect_ratio)
    if inputs.mask is not None:
        return own
    return openai_size_for(own) if order.model.family == "openai" else bucket_for(own)


def fate_of(kind: str | None) -> Fate:
    """The fate a fault's kind gives a task."""
    is_fate = kind in ("task_failed", "task_stuck", "task_unknown_status", "task_vanished")
    return cast("Fate", kind) if is_fate else "succeeds"
