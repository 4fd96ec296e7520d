"""How an edit lies over its source: what was measured before, by a run or an export, and what is
measured for a page.

Some 20 ms a pair, remembered in the outputs' cache by both digests. Where OpenCV is missing, or the
source is not on this machine, nothing is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from retouch.engine.outputs import Outputs
from retouch.ledger.records import FileRecord
from retouch.pictures.geometry import Geometry, measure_geometry
from retouch.pictures.measured import GeometryCache, Pair
from retouch.review.gallery import Known, Original

GeometryOf = Callable[[str, FileRecord], Geometry | None]
"""What was measured of an edit of a source (by its name); None: nothing yet."""

_THREADS = 2
_AT_ONCE = 8
Edit = tuple[str, FileRecord]


class Measuring:
    """The edits of one outputs folder; `root` is the folder that holds the cache (None: no cache),
    whose sources are `known`."""

    def __init__(self, root: Path | None, known: Known, outputs: Outputs) -> None:
        self._root = root
        self._known = known
        self._outputs = outputs
        self._can_measure = find_spec("cv2") is not None

    @contextmanager
    def looking_up(self) -> Iterator[GeometryOf]:
        """What was measured, for one thread."""
        with self._opened() as cache:
            yield lambda source, file: self._remembered(cache, source, file)

    def measure(self, source: str, file: FileRecord) -> Geometry | None:
        """One edit, now if it was not before; None where that cannot be."""
        with self._opened() as cache:
            known = self._remembered(cache, source, file)
            if known is not None or not self._can_measure:
                return known
            found = self._measured((source, file))
            self._remember(cache, (source, file), found)
            return found

    def measure_all(self, edits: Iterable[Edit], seconds: float) -> int:
        """Measure what was not, for so many seconds at most; returns how many are left over."""
        deadline, left = time.monotonic() + seconds, 0
        with (
            self._opened() as cache,
            ThreadPoolExecutor(_THREADS, thread_name_prefix="geometry") as pool,
        ):
            missing = self._missing(cache, edits)
            while some := list(islice(missing, _AT_ONCE)):
                if time.monotonic() >= deadline:
                    left += len(some)
                    continue
                for edit, found in zip(some, pool.map(self._measured, some), strict=True):
                    self._remember(cache, edit, found)
        return left

    def _missing(self, cache: GeometryCache, edits: Iterable[Edit]) -> Iterator[Edit]:
        """What can be measured and was not."""
        for source, file in edits:
            if (
                self._can_measure
                and self._pair(source, file) is not None
                and self._remembered(cache, source, file) is None
            ):
                yield source, file

    def _opened(self) -> GeometryCache:
        return GeometryCache(None) if self._root is None else GeometryCache.open(self._root)

    def _pair(self, source: str, file: FileRecord) -> Pair | None:
        picture = self._known.originals.get(source, Original()).picture
        return None if picture is None or picture.path is None else (picture.identity, file.sha256)

    def _remembered(self, cache: GeometryCache, source: str, file: FileRecord) -> Geometry | None:
        pair = self._pair(source, file)
        return None if pair is None else cache.get(pair)

    def _remember(self, cache: GeometryCache, edit: Edit, found: Geometry | None) -> None:
        pair = self._pair(*edit)
        if pair is not None and found is not None:
            cache.put(pair, found)

    def _measured(self, edit: Edit) -> Geometry | None:
        source, file = edit
        before = self._known.originals.get(source, Original()).as_sent()
        after = self._outputs.read(file) if before is not None else None
        return None if before is None or after is None else measure_geometry(before, after)
