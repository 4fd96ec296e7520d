"""Large data sets of tiny pictures, and finished manifests over them, made in seconds."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import yaml

from retouch.dialects import DIALECTS
from retouch.job import Job
from retouch.ledger import FIRST_PREV, digest_of
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    FileRecord,
    Started,
    encode,
)
from retouch.manifest import load
from retouch.plan import DigestCache, build

CLASSES = ("cat", "cup", "dog")
SIDE, CELLS = 24, 6
STAMP = {"at": "2026-03-01T12:00:00.000000Z", "run": "20260301T120000-abcdef"}


def tiny(number: int) -> bytes:
    """A PNG of 24 by 24 pixels that looks like no other: 36 cells of colours from the number."""
    cells = random.Random(number).randbytes(CELLS * CELLS * 3)
    wide = SIDE // CELLS
    rows = []
    for row in range(CELLS):
        begin = row * CELLS * 3
        line = b"".join(cells[at : at + 3] * wide for at in range(begin, begin + CELLS * 3, 3))
        rows.append((b"\0" + line) * wide)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def split_of(number: int) -> str:
    """Eight of ten are for training."""
    return {8: "val", 9: "test"}.get(number % 10, "train")


def tree(folder: Path, count: int) -> None:
    """<split>/<class>/<number>.png, a day old, as most files are."""
    for split in ("train", "val", "test"):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
    for number in range(count):
        path = folder / split_of(number) / CLASSES[number % 3] / f"{number:06}.png"
        path.write_bytes(tiny(number))
        os.utime(path, (1_700_000_000, 1_700_000_000))


def manifest(folder: Path, pictures: Path, **more: object) -> Path:
    """A manifest over such a tree: its splits are the folders'."""
    document: dict[str, object] = {
        "version": 1,
        "name": "large",
        "provider": {"dialect": "qiniu"},
        "inputs": [{"glob": f"{pictures}/**/*.png"}],
        "splits": {"from": "path"},
        "prompts": [{"id": "snow", "template": "let it snow on the {label}"}],
        "models": [{"model": "gemini-2.5-flash-image"}],
        **more,
    }
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return path


def finished(folder: Path, count: int) -> list[str]:
    """Such a manifest with a ledger in which every job is done, its picture there; the words that
    name it to a command."""
    tree(folder / "pictures", count)
    path = manifest(folder, folder / "pictures")
    outputs = folder / "outputs"
    with DigestCache.open(outputs) as cache:
        plan = build(load(path), DIALECTS["qiniu"], outputs=outputs, cache=cache)
    (outputs / "large").mkdir(parents=True)
    prev = FIRST_PREV
    with (outputs / "large" / "ledger.jsonl").open("wb") as ledger:
        jobs = (job for lane in plan.lanes for job in lane.jobs())
        for number, job in enumerate(jobs, start=count):
            for record in _done(job, outputs / "large", tiny(number), prev):
                line = encode(record)
                prev = digest_of(line)
                ledger.write(line + b"\n")
    return [str(path), "--outputs", str(outputs)]


def _done(job: Job, folder: Path, data: bytes, prev: str) -> Iterator[AnyRecord]:
    path = f"{job.output_path(0)}.png"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
    place = {"key": job.key, "attempt": 1, "model": job.model, "prompt": job.prompt.id}
    began = Started(
        **STAMP, **place, prev=prev, source=job.source.name,  # type: ignore[arg-type]
        ceiling=AmountRecord(amount="0.560000", currency="CNY"),
    )  # fmt: skip
    yield began
    yield Done(
        **STAMP, **place, prev=digest_of(encode(began)), source=job.source.name,  # type: ignore[arg-type]
        cost=CostRecord(amount="0.271530", currency="CNY", basis="tokens", price="gemini"),
        files=(
            FileRecord(
                path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data),
                media_type="image/png", width=SIDE, height=SIDE,
            ),
        ),
        seconds=8.213,
    )  # fmt: skip
