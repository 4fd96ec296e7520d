"""Buckets as a manifest and this user's environment say how to reach them; and what they moved."""

from __future__ import annotations

import os
from pathlib import Path

from retouch.cli.output import say
from retouch.manifest import Loaded
from retouch.storage.bucket_access import BucketSettings
from retouch.storage.buckets import Buckets, Traffic

MIRROR_PATIENCE_SECONDS = 5.0  # a job waits for its copy: what does not pass soon is left


def settings_of(loaded: Loaded) -> tuple[BucketSettings, ...]:
    """What a manifest says of buckets."""
    return tuple(
        BucketSettings(each.endpoint, each.region, each.style, each.bucket)
        for each in loaded.manifest.storages
    )


def buckets_of(settings: tuple[BucketSettings, ...], *, patience_seconds: float = 30.0) -> Buckets:
    """The buckets of this process; none is opened yet."""
    return Buckets(settings, os.environ, Path.home(), say=say, patience_seconds=patience_seconds)


def say_traffic(traffic: Traffic) -> None:
    """Tell the bytes that went to buckets and came from them, where there were any."""
    if traffic.put_bytes or traffic.got_bytes:
        say(f"buckets: {_size(traffic.put_bytes)} put, {_size(traffic.got_bytes)} got")


def _size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} bytes"
