"""Every file the sources refer to, looked at once: from the cache, or by two threads decoding."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from retouch.pictures import BadPicture, Facts, Role, inspect
from retouch.plan.digests import DigestCache
from retouch.storage.reading import UnreadableFile, resolved

THREADS = 2  # decoding lets other threads run; more would hold more decoded pictures at once
_CHUNK = 64

OnProgress = Callable[[int], object]
"""Told how many more files were looked at."""


class Album:
    """Facts by reference (a path relative to `folder`) and role; nothing leaves the folder."""

    def __init__(self, folder: Path, cache: DigestCache) -> None:
        self.folder = folder
        self._cache = cache
        self._found: dict[tuple[str, Role], Facts | BadPicture] = {}
        self._folders: dict[str, bool] = {}

    def facts(self, reference: str, role: Role = "picture") -> Facts | BadPicture:
        """What `look` found."""
        return self._found[reference, role]

    def look(
        self, wanted: Iterable[tuple[str, Role]], on_progress: OnProgress | None = None
    ) -> None:
        """Look at every file once, those that the cache does not know in parallel."""
        unknown: list[tuple[str, Role, os.stat_result | None]] = []
        distinct = dict.fromkeys(wanted)
        for reference, role in distinct:
            status = self._status(reference)
            known = None if status is None else self._cache.get(self._path(reference), status, role)
            if known is None:
                unknown.append((reference, role, status))
            else:
                self._found[reference, role] = known
        try:
            if on_progress and len(distinct) > len(unknown):
                on_progress(len(distinct) - len(unknown))
            self._inspect(unknown, on_progress)
        finally:
            self._cache.save()

    def _inspect(
        self,
        unknown: list[tuple[str, Role, os.stat_result | None]],
        on_progress: OnProgress | None,
    ) -> None:
        remaining = iter(unknown)
        look = partial(_inspected, self.folder)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="inspect") as pool:
            while chunk := list(islice(remaining, _CHUNK)):
                for (reference, role, status), facts in zip(
                    chunk, pool.map(look, chunk), strict=True
                ):
                    self._found[reference, role] = facts
                    if status is not None and isinstance(facts, Facts):
                        self._cache.put(self._path(reference), status, facts, role)
                    if on_progress:
                        on_progress(1)

    def _path(self, reference: str) -> Path:
        return self.folder / reference

    def _status(self, reference: str) -> os.stat_result | None:
        """The state of a regular file inside the folder; None for whatever must be looked at."""
        path = self._path(reference)
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode) or not self._is_inside(path.parent):
            return None
        return status

    def _is_inside(self, folder: Path) -> bool:
        known = self._folders.get(str(folder))
        if known is None:
            try:
                resolved(folder, self.folder)
                known = True
            except UnreadableFile:
                known = False
            self._folders[str(folder)] = known
        return known


def _inspected(folder: Path, wanted: tuple[str, Role, os.stat_result | None]) -> Facts | BadPicture:
    reference, role, _ = wanted
    return inspect(folder / reference, within=folder, role=role)
