"""`export`: the pictures that are there, their labels placed, written in one format, summed up.

Two passes over the plan: the first looks at names and labels alone and learns what all pictures
have in common, the second reads each picture once, a few at a time. Memory does not grow with the
pictures' bytes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from retouch.engine.outputs import Outputs
from retouch.errors import RetouchError
from retouch.export.digest import DatasetDigest
from retouch.export.folder import ABOUT, NewFolder, new_folder
from retouch.export.formats import FORMATS
from retouch.export.left_out import LeftOut
from retouch.export.making import Made, Maker, Order, Rules
from retouch.export.pictures import Exported, Json, Shape
from retouch.export.present import Item, Present
from retouch.export.provenance import NAME as PROVENANCE
from retouch.export.provenance import ProvenanceTable
from retouch.export.shape import Seen, shape_of
from retouch.pictures.measured import GeometryCache, Pair
from retouch.plan.paths import fit_part

THREADS = max(2, min(8, os.cpu_count() or 1))
_CHUNK = 4 * THREADS
_STEM_BYTES = 80
_KEY_DIGITS = 12

Progress = Callable[[int], object]
"""Told how many more pictures were looked at."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, and how."""

    folder: Path
    format: str
    replace: bool = False
    is_rehearsal: bool = False


@dataclass(slots=True)
class Geometries:
    """How edits lie over their sources, counted."""

    compared: int = 0
    resized: int = 0
    measured: int = 0
    moved: int = 0
    unmeasured: int = 0

    def count(self, made: Made) -> None:
        """Take in one edit."""
        if made.is_resized is not None:
            self.compared += 1
            self.resized += made.is_resized
        if made.geometry is not None:
            self.measured += 1
            self.moved += made.geometry.has_moved
            self.unmeasured += made.geometry.affine is None


@dataclass(slots=True)
class Result:
    """What was exported, and what was left out."""

    digest: str = ""
    pictures: int = 0
    originals: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    shape: Shape = field(default_factory=Shape)
    geometry: Geometries = field(default_factory=Geometries)
    left_out: LeftOut = field(default_factory=LeftOut)


def export(
    present: Present,
    outputs: Outputs,
    rules: Rules,
    target: Target,
    *,
    cache: GeometryCache,
    on_progress: Progress | None = None,
) -> Result:
    """Write the data set; returns what is in it. `target` is untouched if anything is raised:
    InputRefused where it is taken, StorageFailed, RetouchError where there is nothing to export.
    """
    first_look = LeftOut()
    shape = shape_of(_seen(present.items(first_look), rules), has_pairs=rules.pairs)
    if not shape.splits:
        raise RetouchError(
            "there is no picture to export", hint="\n".join(first_look.told()) or "run first"
        )
    with new_folder(target.folder, replace=target.replace) as folder:
        return _Export(present, Maker(outputs, rules), target, cache, shape).write(
            folder, on_progress
        )


def _seen(items: Iterable[Item], rules: Rules) -> Iterator[Seen]:
    for item in items:
        known = item.known
        is_segmented = rules.segmentation(known) is not None
        yield known.split, item.edit is not None, rules.carried(known.annotations), is_segmented


class _Export:
    """One data set being written."""

    def __init__(
        self, present: Present, maker: Maker, target: Target, cache: GeometryCache, shape: Shape
    ) -> None:
        self._present = present
        self._maker = maker
        self._target = target
        self._cache = cache
        self._names = _Names(is_short=target.format == "webdataset")
        self._digest = DatasetDigest()
        self.result = Result(shape=shape)

    def write(self, folder: NewFolder, on_progress: Progress | None) -> Result:
        result = self.result
        with (
            FORMATS[self._target.format](folder, result.shape) as writer,
            folder.opened(PROVENANCE) as file,
        ):
            table = ProvenanceTable(file)
            for item, made in self._made():
                if made.exported is not None:
                    path = writer.add(made.exported)
                    self._count(item, made.exported, path, table)
                if on_progress:
                    on_progress(1)
            writer.finish()
            table.finish()
        if not result.pictures:
            raise RetouchError(
                "there is no picture to export", hint="\n".join(result.left_out.told())
            )
        result.digest = self._digest.hexdigest()
        document = orjson.dumps(self._about(), option=orjson.OPT_INDENT_2)
        folder.add(ABOUT, document + b"\n")
        return result

    def _count(self, item: Item, exported: Exported, path: str, table: ProvenanceTable) -> None:
        facts, known = exported.provenance, item.known
        self._digest.add(facts, known)
        table.add(path, known.split, facts, known.annotations)
        self.result.pictures += 1
        self.result.originals += facts.is_original
        self.result.splits[known.split] += 1
        self.result.suffixes[exported.file.suffix] += 1

    def _about(self) -> dict[str, Json]:
        result, counted = self.result, self.result.geometry
        return {
            "digest": result.digest,
            "format": self._target.format,
            "pictures": result.pictures,
            "originals": result.originals,
            "splits": dict(sorted(result.splits.items())),
            "classes": list(result.shape.classes),
            "annotations": self._digest.annotations(),
            "geometry": {
                "compared": counted.compared,
                "resized": counted.resized,
                "measured": counted.measured,
                "moved": counted.moved,
                "unmeasured": counted.unmeasured,
            },
            "rehearsal": self._target.is_rehearsal,
        }

    def _made(self) -> Iterator[tuple[Item, Made]]:
        """Every picture in order, a few of them made at once."""
        left_out = self.result.left_out
        orders = map(self._order, self._present.items(left_out))
        with ThreadPoolExecutor(THREADS, thread_name_prefix="export") as pool:
            while chunk := list(islice(orders, _CHUNK)):
                for order, made in zip(chunk, pool.map(self._maker.make, chunk), strict=True):
                    self._note(order, made)
                    yield order.item, made

    def _order(self, item: Item) -> Order:
        needs = self._maker.needs_measuring(item)
        return Order(
            item,
            self._names.of(item),
            self._names.of_source(item),
            self._cache.get(_pair(item)) if needs else None,
        )

    def _note(self, order: Order, made: Made) -> None:
        item = order.item
        job = item.edit.job if item.edit else None
        if made.geometry is not None and order.measured is None:
            self._cache.put(_pair(item), made.geometry)
        if item.edit is not None:
            self.result.geometry.count(made)
        if made.exported is None and made.is_misplaced:
            self.result.left_out.misplace(made.reason, item.source.name, job)
        elif made.exported is None:
            self.result.left_out.add(made.reason, item.source.name, job)


def _pair(item: Item) -> Pair:
    return item.source.picture.identity, item.edit.file.sha256 if item.edit else ""


class _Names:
    """A name for each picture, without suffix, unique in the data set on every file system.

    The source's stem, the key's first digits, the picture's number; `is_short`: without the stem,
    for a format in which a dot ends a name.
    """

    def __init__(self, *, is_short: bool) -> None:
        self._is_short = is_short
        self._taken: Counter[str] = Counter()

    def of(self, item: Item) -> str:
        """The picture's name; a second place of the same work is numbered."""
        if item.edit is None:
            name = f"{_digits(item)}-source" if self._is_short else self.of_source(item)
        else:
            name = f"{item.edit.job.key[:_KEY_DIGITS]}-{item.edit.index}"
            name = name if self._is_short else f"{_stem(item)}-{name}"
        folded = name.casefold()
        self._taken[folded] += 1
        times = self._taken[folded]
        return name if times == 1 else f"{name}~{times}"

    def of_source(self, item: Item) -> str:
        """The name of the source's own picture, the same for all its edits."""
        return f"{_stem(item)}-{_digits(item)}"


def _digits(item: Item) -> str:
    return item.source.picture.digest.partition(":")[2][:_KEY_DIGITS]


def _stem(item: Item) -> str:
    stem = item.source.columns.get("stem", "")
    cut = stem.encode()[:_STEM_BYTES].decode("utf-8", "ignore")
    return fit_part(cut) if cut else "picture"
