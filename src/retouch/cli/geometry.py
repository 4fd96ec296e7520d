"""How a run's edits lie over their sources: said at its end, before anybody trains on old labels.

Sizes are on record and cost nothing. What has moved must be measured (some 20 ms a pair, by two
threads), so of many edits some are looked at: those with the smallest keys, which is a fair draw.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from retouch.engine.context import JobEnd
from retouch.engine.outputs import Outputs
from retouch.job import Job
from retouch.ledger.records import FileRecord
from retouch.pictures import SourceChanged, payload
from retouch.pictures.geometry import Geometry, measure_geometry, size_of
from retouch.pictures.measured import GeometryCache

LOOKED_AT = 100
SECONDS = 5.0
_THREADS = 2
_LARGEST_BYTES = 32_000_000  # of a file that is looked at: it is held whole, and unpacked


@dataclass(frozen=True, slots=True, order=True)
class _Pair:
    """A source and one of its edits, ordered so that a heap gives up the largest key first."""

    rank: int
    job: Job = field(compare=False)
    file: FileRecord = field(compare=False)


class GeometryLook:
    """Counts the edits of a run, and keeps some to be measured."""

    def __init__(self) -> None:
        self._compared = 0
        self._resized = 0
        self._kept: list[_Pair] = []
        self._pairs = 0

    def note(self, end: JobEnd) -> None:
        """One more Job has ended."""
        size = size_of(end.job.source.columns) if end.files else None
        if size is None:
            return
        for file in end.files:
            self._compared += 1
            self._resized += (file.width, file.height) != size
            if end.job.source.picture.path is not None:
                self._pairs += 1
                if file.bytes > _LARGEST_BYTES:
                    continue
                pair = _Pair(-int(end.job.key[:15], 16), end.job, file)
                if len(self._kept) < LOOKED_AT:
                    heapq.heappush(self._kept, pair)
                else:
                    heapq.heappushpop(self._kept, pair)

    def line(self, folder: Path, root: Path) -> str:
        """What is to be said; "" where nothing can be compared. Measures for SECONDS at most."""
        if not self._compared:
            return ""
        found = list(self._measured(Outputs(folder), root)) if find_spec("cv2") else []
        moved = sum(each.has_moved for each in found)
        unmeasured = sum(each.affine is None for each in found)
        looked_at = len(found) if len(found) < self._pairs else None
        return geometry_line(self._compared, self._resized, moved, unmeasured, looked_at)

    def _measured(self, outputs: Outputs, root: Path) -> Iterator[Geometry]:
        """What the pairs are like, remembered for an export."""
        deadline = time.monotonic() + SECONDS
        waiting = iter(sorted(self._kept, reverse=True))
        with (
            GeometryCache.open(root) as cache,
            ThreadPoolExecutor(_THREADS, thread_name_prefix="geometry") as pool,
        ):
            while time.monotonic() < deadline and (some := list(islice(waiting, 2 * _THREADS))):
                for pair, found in zip(
                    some, pool.map(lambda each: _measure(outputs, each), some), strict=True
                ):
                    if found is not None:
                        cache.put((pair.job.source.picture.identity, pair.file.sha256), found)
                        yield found


def _measure(outputs: Outputs, pair: _Pair) -> Geometry | None:
    data = outputs.read(pair.file)
    if data is None:
        return None
    try:
        return measure_geometry(payload(pair.job.source.picture), data)
    except SourceChanged:
        return None


def geometry_line(
    compared: int, resized: int, moved: int, unmeasured: int, looked_at: int | None = None
) -> str:
    """`20 of 20 differ in size from their source, 3 have moved by more than 2 %`.

    `looked_at`: how many were measured, where that is not all of them.
    """
    said = [f"{resized:,} of {compared:,} differ in size from their source"]
    among = f" of {looked_at:,} looked at" if looked_at else ""
    if moved:
        said.append(f"{moved:,}{among} {'has' if moved == 1 else 'have'} moved by more than 2 %")
    if unmeasured:
        said.append(f"{unmeasured:,}{among} could not be measured")
    return ", ".join(said)
