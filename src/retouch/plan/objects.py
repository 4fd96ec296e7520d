"""Pictures in buckets, looked at by their beginning: what a header tells is enough for a plan.

An object is known by the digest it was put with, else by its ETag and size; small ones, masks, and
what must be seen as a whole are read whole, and are known by their own digest. What is sent is read
whole and checked then.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.pictures import BadPicture, Facts, Role, header_facts, inspect_data
from retouch.plan.digests import Stamp
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import BucketURL, bucket_url
from retouch.storage.reading import FILE_CAP_BYTES

if TYPE_CHECKING:  # start-up: `plan` opens few buckets
    from retouch.storage.buckets import Buckets, Stat

HEADER_BYTES = 64 * 1024
_LONGER_BYTES = 1024 * 1024  # a header with a colour profile and a preview in it


class Objects:
    """The objects that a plan names. `note` remembers what a listing told."""

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self._stats: dict[str, Stat] = {}
        self._lock = threading.Lock()

    def note(self, stat: Stat) -> str:
        """Remember an object, and give its address as text."""
        path = str(stat.url)
        self._stats[path] = stat
        return path

    def stamp(self, path: str) -> Stamp | BadPicture:
        """What changes when the object does: its size, and numbers of its ETag and version."""
        url = bucket_url(path)
        try:
            with self._lock:
                stat = self._stats.get(path)
            if stat is None:
                stat = self.buckets.at(url).stat(url)
                if stat is None:
                    return BadPicture(Path(path), "is not there", "check its name")
                with self._lock:
                    self._stats[path] = stat
        except BucketFault as fault:
            return _bad(url, fault)
        digest = hashlib.sha256(f"{stat.etag}\0{stat.version}".encode()).digest()
        numbers = [int.from_bytes(digest[at : at + 7]) for at in (0, 7, 14)]
        return stat.size, numbers[0], numbers[1], numbers[2]

    def inspect(self, path: str, role: Role, *, hashed: bool) -> Facts | BadPicture:
        """The facts of a picture; blocks for a request or two."""
        url = bucket_url(path)
        bucket = self.buckets.at(url)
        name = Path(url.key)
        stat = self._stats.get(path)
        is_whole = hashed or role != "picture" or (stat is not None and stat.size <= HEADER_BYTES)
        try:
            for length in () if is_whole else (HEADER_BYTES, _LONGER_BYTES):
                data, found = bucket.begin_of(url, length)
                if found.size <= len(data):
                    return inspect_data(name, data, role=role, hashed=hashed)
                facts = header_facts(name, data, found.size, found.sha256 or "", found.etag)
                if facts is not None:
                    return facts
            data, _ = bucket.get(url, FILE_CAP_BYTES)
            return inspect_data(name, data, role=role, hashed=hashed)
        except BucketFault as fault:
            return _bad(url, fault)


def _bad(url: BucketURL, fault: BucketFault) -> BadPicture:
    return BadPicture(Path(url.key), fault.message.removeprefix(f"{url}: "), fault.hint)
