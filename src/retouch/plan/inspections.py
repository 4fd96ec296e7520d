"""Every file the sources refer to, looked at once: from the cache, or by two threads decoding."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec

from retouch.pictures import BadPicture, Facts, Role, inspect
from retouch.plan.candidates import Span
from retouch.plan.digests import DigestCache, Stamp
from retouch.plan.objects import Objects
from retouch.storage.bucket_url import is_bucket

THREADS = 2  # decoding releases the GIL; each thread holds one decoded picture
REQUESTS = 16  # of buckets, at once: they are waited for
NO_BUCKETS = "lies in a bucket, and nobody says how that is reached"
_CHUNK = 64
_BATCH = 8  # pictures handed to a thread at once: a hand-over costs as much as a tiny picture

OnProgress = Callable[[int], object]
"""Told how many more files were looked at."""


class Look(msgspec.Struct, frozen=True, gc=False):
    """A file to be looked at: its absolute path, what it is used as, where in it the picture is;
    `hashed`: how it looks is asked for, too."""

    path: str
    role: Role = "picture"
    span: Span | None = None
    hashed: bool = False


class Album:
    """Facts by file, role and span."""

    def __init__(self, cache: DigestCache, objects: Objects | None = None) -> None:
        self._cache = cache
        self._objects = objects
        self._found: dict[Look, Facts | BadPicture] = {}

    def pictures(self, paths: Sequence[str]) -> list[tuple[str, Facts, int] | None]:
        """SHA-256, kind and bytes of each file that is known from before and still as it was; the
        files are of a picture each, and stand in one order in folder and list."""
        there: list[int] = []
        statuses: list[os.stat_result] = []
        for at, path in enumerate(paths):
            status = _status(path)
            if status is not None:
                there.append(at)
                statuses.append(status)
        found: list[tuple[str, Facts, int] | None] = [None] * len(paths)
        known = self._cache.pictures([paths[at] for at in there], statuses)
        for at, status, each in zip(there, statuses, known, strict=True):
            if each is not None:
                found[at] = (*each, status.st_size)
        return found

    def facts(self, look: Look) -> Facts | BadPicture:
        """What `look` found."""
        return self._found[look]

    def forget(self, look: Look) -> None:
        """Nobody asks for it again: 100,000 pictures' facts are not held at once."""
        self._found.pop(look, None)

    def one(self, look: Look) -> Facts | BadPicture:
        """What there is to find out about one more file."""
        if look not in self._found:
            self.look([look])
        return self._found[look]

    def look(self, wanted: Iterable[Look], on_progress: OnProgress | None = None) -> None:
        """Look at every file once, those that the cache does not know in parallel."""
        unknown: list[tuple[Look, os.stat_result | Stamp | None]] = []
        distinct = [look for look in dict.fromkeys(wanted) if look not in self._found]
        stamps = self._stamps([look for look in distinct if is_bucket(look.path)])
        there: list[Look] = []
        statuses: list[os.stat_result | Stamp | None] = []
        for look in distinct:
            status = stamps[look] if look in stamps else _status(look.path)
            if isinstance(status, BadPicture):
                self._found[look] = status
                continue
            there.append(look)
            statuses.append(status)
        for look, status, known in zip(
            there, statuses, self._cache.known(there, statuses), strict=True
        ):
            if known is None or (look.hashed and known.looks is None):
                unknown.append((look, status))
            else:
                self._found[look] = known
        try:
            if on_progress and len(distinct) > len(unknown):
                on_progress(len(distinct) - len(unknown))
            self._inspect(unknown, on_progress)
        finally:
            self._cache.save()

    def _stamps(self, looks: list[Look]) -> dict[Look, Stamp | BadPicture]:
        """What tells that an object is still the same one; a request each where no listing did."""
        if not looks:
            return {}
        if self._objects is None:
            return {look: BadPicture(Path(look.path), NO_BUCKETS) for look in looks}
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - start-up time

        with ThreadPoolExecutor(REQUESTS, thread_name_prefix="stat") as pool:
            found = pool.map(self._objects.stamp, [look.path for look in looks])
            return dict(zip(looks, found, strict=True))

    def _inspected(self, looks: Iterable[Look]) -> list[Facts | BadPicture]:
        return [
            self._objects.inspect(look.path, look.role, hashed=look.hashed)
            if self._objects is not None and is_bucket(look.path)
            else inspect(Path(look.path), role=look.role, span=look.span, hashed=look.hashed)
            for look in looks
        ]

    def _inspect(
        self,
        unknown: list[tuple[Look, os.stat_result | Stamp | None]],
        on_progress: OnProgress | None,
    ) -> None:
        if not unknown:
            return
        # Here and not above: slow to import, and a plan made anew knows every picture.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        remaining = iter(unknown)
        waits = any(is_bucket(look.path) for look, _ in unknown)
        with ThreadPoolExecutor(REQUESTS if waits else THREADS, "inspect") as pool:
            while chunk := list(islice(remaining, _CHUNK)):
                looks = [look for look, _ in chunk]
                batches = (looks[at : at + _BATCH] for at in range(0, len(looks), _BATCH))
                found = chain.from_iterable(pool.map(self._inspected, batches))
                for (look, status), facts in zip(chunk, found, strict=True):
                    self._found[look] = facts
                    if status is not None and isinstance(facts, Facts):
                        self._cache.put(look, status, facts)
                    if on_progress:
                        on_progress(1)


def _status(path: str) -> os.stat_result | None:
    """The state of a regular file, links followed; None for whatever must be looked at."""
    try:
        status = os.stat(path)  # noqa: PTH116 - 100,000 of them
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
