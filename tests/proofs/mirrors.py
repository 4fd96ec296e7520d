"""Buckets at full size: 2,000 pictures from a bucket through a run with mirror, and 30 kills.

`python -m tests.proofs.mirrors [COUNT]` runs the first and prints what it found; the kills are a
topic of `make torture`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from io import BytesIO
from pathlib import Path

from PIL import Image

from retouch.ledger import Reader
from retouch.ledger.records import Done
from retouch.storage.bucket_url import BucketURL
from tests.e2e.house import house
from tests.e2e.test_mirror import assert_equal, killed_with_mirror
from tests.support.buckets import S3Server, seaweed

PICTURES = 2000
KILLS = 30
MODEL = """
  - model: gemini-2.5-flash-image
    limits: {concurrency: 32}
    price: {currency: CNY, input_per_million: 2.1, output_per_million: 210}
"""


def through_a_mirror(folder: Path, count: int) -> Counter[str]:
    """`count` pictures from a bucket through a run with mirror: ledger equal to the provider's
    book, mirror equal to the tree by digest."""
    with seaweed() as s3, house(folder, seconds=0) as place:
        source, mirror = s3.new_bucket() / "in", s3.new_bucket() / "out"
        asyncio.run(_filled(s3, source, count))
        place.manifest(MODEL, run="{timeout: 300}")
        text = (folder / "manifest.yaml").read_text().replace("pictures/*.png", f"'{source}/*.png'")
        (folder / "manifest.yaml").write_text(f"{text}output: {{mirror: '{mirror}'}}\n")
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "retouch", "run", "manifest.yaml"],
            cwd=folder, env=os.environ | s3.environment() | {"OPENAI_API_KEY": "canary-0123456789"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        kept = [one for one in Reader(place.outputs / "ledger.jsonl") if isinstance(one, Done)]
        book = place.book
        assert len(kept) == len(book) == len({charge.request for charge in book}) == count
        assert sum(charge.output_tokens for charge in book) == place.state.totals.output_tokens
        assert_equal(place, s3, mirror)
        return Counter({"pictures": count, "seconds": round(time.monotonic() - began)})


async def _filled(s3: S3Server, folder: BucketURL, count: int) -> None:
    bucket, places = s3.at(folder), asyncio.Semaphore(16)

    async def put(number: int) -> None:
        data = BytesIO()
        colour = (number % 256, number // 256, 90)
        Image.new("RGB", (300, 300), colour).save(data, "PNG")
        whole = data.getvalue()
        async with places:
            digest = hashlib.sha256(whole).hexdigest()
            await bucket.put_new_soon(folder / f"{number:04}.png", whole, digest, "image/png")

    await asyncio.gather(*map(put, range(count)))


def killed(seed: int) -> Counter[str]:
    """Ten kills of runs with a mirror, by a seed that says when."""
    before = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as name, seaweed() as s3:
            killed_with_mirror(Path(name), s3, s3.new_bucket() / "m", kills=KILLS // 3, seed=seed)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Counter({"kills": KILLS // 3})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = through_a_mirror(Path(scratch), int(sys.argv[1]) if sys.argv[1:] else PICTURES)
        sys.stdout.write(", ".join(f"{count:,} {what}" for what, count in found.items()) + "\n")
