"""What a mirror adds to a picture: 1.5 MB put into a bucket, 64 at once, in CPU of this process.

The reference is the same bytes written durably to the disk, which a run does before.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from retouch.engine.mirror import Mirror
from retouch.engine.outputs import Outputs
from retouch.ledger.records import FileRecord
from retouch.storage.bucket_url import BucketURL
from tests.bench.measured import Measured
from tests.support.buckets import S3Server, seaweed

_PICTURES, _AT_ONCE, _ROUNDS = 128, 64, 2
_BYTES = 1_500_000


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as name, seaweed() as s3:
        folder, data = Path(name), os.urandom(_BYTES)
        bucket = s3.new_bucket()
        rounds = range(_ROUNDS)
        ours = min(_cpu(partial(_mirrored, s3, bucket / f"{n}", folder, data)) for n in rounds)
        kept = min(_cpu(partial(_kept, folder / f"kept{n}", data)) for n in rounds)
        return [Measured("mirror: CPU of a 1.5 MB picture", ours, "kept here", kept, _PICTURES)]


def _cpu(work: Callable[[], None]) -> float:
    """CPU seconds of this process, in all its threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _mirrored(s3: S3Server, url: BucketURL, folder: Path, data: bytes) -> None:
    mirror = Mirror(s3.at(url), url, folder, say=lambda _text: None)
    digest = hashlib.sha256(data).hexdigest()

    async def all_of_them() -> None:
        places = asyncio.Semaphore(_AT_ONCE)

        async def put(number: int) -> None:
            file = FileRecord(path=f"images/{number}.png", sha256=digest, bytes=len(data),
                              media_type="image/png", width=1, height=1)  # fmt: skip
            async with places:
                await mirror.put(file, data)

        await asyncio.gather(*map(put, range(_PICTURES)))

    asyncio.run(all_of_them())
    assert mirror.copied.put == _PICTURES, mirror.copied


def _kept(folder: Path, data: bytes) -> None:
    folder.mkdir()
    outputs = Outputs(folder)
    for number in range(_PICTURES):
        outputs.keep(f"images/{number}", data, "image/png", 1, 1)
