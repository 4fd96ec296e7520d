"""A bucket in memory (obstore's own store, no server), asked in process; it notes what it is asked,
and a test may hinder that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import anyio

from retouch.storage.bucket_errors import Action, BucketFault, Why
from retouch.storage.bucket_url import BucketURL
from retouch.storage.buckets import Bucket, Buckets, Put, Stat, Traffic

FOLDER = BucketURL("s3", "box", "out/cats")
Hinder = Callable[[str, str], None]
"""Told what is asked and of which key, before it is done; what it raises, the asker gets."""


def fault(
    why: Why = "unreachable", action: Action = "put", hint: str = "look there"
) -> BucketFault:
    """What a store refuses."""
    return BucketFault(f"the store is {why}", why=why, action=action, hint=hint)


class MemoryBucket(Bucket):
    """One bucket. `asked` is what was asked of it, in order; `seconds` what a picture takes."""

    def __init__(self, hinder: Hinder = lambda _what, _key: None) -> None:
        self.said: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.hinder = hinder
        self.seconds = 0.0
        store = import_module("obstore.store").MemoryStore()
        super().__init__(
            FOLDER, None, lambda _access: store, traffic=Traffic(), say=self.said.append
        )

    def objects(self) -> dict[str, bytes]:
        """Every object below FOLDER, as the store has it, by its name there."""
        return {
            key.removeprefix(f"{FOLDER.key}/"): bytes(self._obs.get(self._store, key).bytes())
            for key in self._keys()
        }

    def kinds(self) -> dict[str, Any]:
        """Every object's media type."""
        return {
            key.removeprefix(f"{FOLDER.key}/"): self._obs.get(self._store, key).attributes[
                "Content-Type"
            ]
            for key in self._keys()
        }

    def place(self, name: str, data: bytes) -> None:
        """Put an object there by another hand."""
        self._obs.put(self._store, f"{FOLDER.key}/{name}", data)

    def remove(self, name: str) -> None:
        self._obs.delete(self._store, f"{FOLDER.key}/{name}")

    def count(self, what: str, begin: str = "") -> int:
        """How often so much was asked of names that begin so."""
        return sum(
            asked == what and key.removeprefix(f"{FOLDER.key}/").startswith(begin)
            for asked, key in self.asked
        )

    def _keys(self) -> list[str]:
        return sorted(each["path"] for part in self._obs.list(self._store) for each in part)

    def _ask(self, what: str, url: BucketURL) -> None:
        self.asked.append((what, url.key))
        self.hinder(what, url.key.removeprefix(f"{FOLDER.key}/"))

    def list(self, folder: BucketURL) -> Iterator[Stat]:
        self._ask("list", folder)
        return super().list(folder)

    def get(self, url: BucketURL, cap: int, *, unless: str | None = None) -> tuple[bytes, Stat]:
        self._ask("get", url)
        return super().get(url, cap, unless=unless)

    def put_new(self, url: BucketURL, data: bytes, sha256: str, media_type: str) -> Put:
        self._ask("put", url)
        return super().put_new(url, data, sha256, media_type)

    async def put_new_soon(self, url: BucketURL, data: bytes, sha256: str, media_type: str) -> Put:
        """In place, so that a test may run it in virtual time."""
        await anyio.sleep(self.seconds)
        return self.put_new(url, data, sha256, media_type)

    def put_over(
        self, url: BucketURL, data: bytes, media_type: str, *, etag: str | None = None
    ) -> str:
        self._ask("write", url)
        return super().put_over(url, data, media_type, etag=etag)


class OneBucket(Buckets):
    """The buckets of a run that knows one."""

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__()
        self.bucket = bucket

    def at(self, url: BucketURL) -> Bucket:
        assert (url.scheme, url.bucket) == (FOLDER.scheme, FOLDER.bucket)
        return self.bucket
