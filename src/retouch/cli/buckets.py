"""Buckets as a manifest and this user's environment say how to reach them; and what they moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.cli.output import say
from retouch.manifest import Loaded
from retouch.storage.bucket_access import BucketSettings
from retouch.storage.bucket_url import is_bucket

if TYPE_CHECKING:
    from retouch.storage.buckets import Buckets

PATIENCE_SECONDS = 30.0
MIRROR_PATIENCE_SECONDS = 5.0  # a job waits for its copy: what does not pass soon is left

_opened: dict[tuple[tuple[BucketSettings, ...], float], Buckets] = {}


def settings_of(loaded: Loaded) -> tuple[BucketSettings, ...]:
    """What a manifest says of buckets."""
    return tuple(
        BucketSettings(each.endpoint, each.region, each.style, each.bucket)
        for each in loaded.manifest.storages
    )


def buckets_of(
    settings: tuple[BucketSettings, ...], *, patience_seconds: float = PATIENCE_SECONDS
) -> Buckets:
    """The buckets of this process, the same ones every time; none is opened yet."""
    from retouch.storage.buckets import Buckets  # noqa: PLC0415 - start-up: few manifests name any

    place = (settings, patience_seconds)
    if place not in _opened:
        _opened[place] = Buckets(
            settings, os.environ, Path.home(), say=say, patience_seconds=patience_seconds
        )
    return _opened[place]


def buckets_named(loaded: Loaded) -> Buckets | None:
    """The buckets, where the manifest's inputs or options name any, or a table may."""
    manifest = loaded.manifest
    texts = [
        text
        for given in manifest.inputs
        for text in (given.glob, given.table, given.urls, given.mask, *given.images)
        if text is not None
    ]
    texts += [
        value
        for model in manifest.models
        for value in model.options.values()
        if isinstance(value, str)
    ]
    may_name = any(given.table or given.urls for given in manifest.inputs)
    if may_name or any(map(is_bucket, texts)):
        return buckets_of(settings_of(loaded))
    return None


def say_traffic() -> None:
    """Tell the bytes that went to buckets and came from them, where there were any."""
    traffic = [each.traffic for each in _opened.values()]
    put, got = sum(each.put_bytes for each in traffic), sum(each.got_bytes for each in traffic)
    if put or got:
        say(f"buckets: {_size(put)} put, {_size(got)} got")


def _size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} bytes"
