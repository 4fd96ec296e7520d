"""A manifest whose jobs are all done, as large as you like: sources, ledger, head and pictures.

`python -m tests.bench.scale_ledger FOLDER JOBS` makes one and prints the words that name it. The
ledger is what a run with WINDOW requests in flight leaves, 1.6 KB a job. Sources are tiny and
unlike; the kept pictures are links to few files.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path

import yaml

from retouch.dialects import DIALECTS
from retouch.job import Job
from retouch.ledger import FIRST_PREV, digest_of
from retouch.ledger.head import Head, write_head
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    FileRecord,
    RunBegins,
    RunEnds,
    Started,
    UsageRecord,
    encode,
)
from retouch.ledger.terms import terms_of
from retouch.manifest import load
from retouch.plan import DigestCache, build
from tests.support.ledgers import FIRST, stamp

NAME = "scale"
WINDOW = 64  # requests in flight, and lines that share a sync
PROMPTS = 10
RUN = "20251002T080000-abcdef"
FOLDER_OF = 1_000  # sources a folder
LINKS = 30_000  # names of one file; a file system allows some tens of thousands
SIDE = 8
PRICE = {"currency": "CNY", "per_image": 0.25}
OLD = 1_700_000_000  # when the sources were written, unless the moment is part of what is tried
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(number: int) -> bytes:
    """A PNG of SIDE by SIDE pixels in one colour from the number, which stands in it as well."""
    row = b"\0" + number.to_bytes(3, "big") * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * SIDE, 1)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def sources(folder: Path, count: int) -> Path:
    """So many pictures below `folder`, and the table that names them."""
    lines = ["image,animal"]
    for number in range(count):
        name = f"pictures/{number // FOLDER_OF:04}/{number:07}.png"
        path = folder / name
        if number % FOLDER_OF == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(picture(number))
        os.utime(path, (OLD, OLD))
        lines.append(f"{name},{('cat', 'dog', 'cup')[number % 3]}")
    table = folder / "sources.csv"
    table.write_text("\n".join(lines) + "\n", "utf-8")
    return table


def manifest(folder: Path, prompts: int = PROMPTS, **more: object) -> Path:
    """A manifest over that table with so many prompts a source; `more` replaces its parts."""
    skies = [f"sky {number}" for number in range(prompts)]
    document: dict[str, object] = {
        "version": 1,
        "name": NAME,
        "provider": {"dialect": "qiniu"},
        "inputs": [{"table": "sources.csv"}],
        "prompts": [
            {"id": "p", "template": "a white {animal}, {sky}", "variables": {"sky": skies}}
        ],
        "models": [{"model": "gemini-2.5-flash-image", "price": PRICE}],
        **more,
    }
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return path


def planned(folder: Path, jobs: int, prompts: int = PROMPTS) -> list[str]:
    """The manifest with its sources and nothing done; the words that name it to a command."""
    folder.mkdir(parents=True, exist_ok=True)
    sources(folder, -(-jobs // prompts))
    path = manifest(folder, prompts)
    return [str(path), "--outputs", str(folder / "outputs")]


def finished(folder: Path, jobs: int, prompts: int = PROMPTS) -> list[str]:
    """The same with every job done, its picture there, its report newer than its ledger, and the
    sources' digests cached; the words that name it to a command."""
    words = planned(folder, jobs, prompts)
    outputs = folder / "outputs"
    loaded = load(Path(words[0]))
    with DigestCache.open(outputs) as cache:
        plan = build(loaded, DIALECTS["qiniu"], outputs=outputs, cache=cache)
    assert (plan.problems, plan.bad_sources) == ((), ()), plan.problems
    work = outputs / NAME
    work.mkdir(parents=True)
    every = (job for lane in plan.lanes for job in lane.jobs())
    price = loaded.price_of(loaded.manifest.models[0], FIRST)
    assert price is not None
    records = _records(every, _Links(work), plan.jobs_count, price.name)
    write(work / "ledger.jsonl", records)
    report = work / "report" / "index.html"
    report.parent.mkdir()
    report.write_text("left by the run\n", "utf-8")  # a newer one is not made again
    return words


def write(path: Path, records: Iterable[AnyRecord]) -> Path:
    """A ledger of stamped Records whose chain holds, and its head."""
    prev, lines = FIRST_PREV, 0
    with path.open("wb", 1 << 20) as ledger:
        for record in records:
            # Its `prev` alone is missing: cheaper than a new Record.
            line = encode(record).replace(b'"prev":""', b'"prev":"%b"' % prev.encode(), 1)
            prev = digest_of(line)
            lines += 1
            ledger.write(line + b"\n")
    write_head(path, Head(lines, prev))
    return path


class _Links:
    """Kept pictures: names of few files, which are as large as the sources."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0
        self._file: FileRecord | None = None
        self._first = folder
        self._folders: set[str] = set()

    def keep(self, job: Job) -> FileRecord:
        """One more picture at the Job's place."""
        path = f"{job.output_path(0)}.png"
        parent = path.rpartition("/")[0]
        if parent not in self._folders:
            self._folders.add(parent)
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
        if self._made % LINKS == 0 or self._file is None:
            data = picture(self._made)
            self._first = self.folder / path
            self._first.write_bytes(data)
            self._file = FileRecord(
                path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data),
                media_type="image/png", width=SIDE, height=SIDE,
            )  # fmt: skip
        else:
            os.link(self._first, self.folder / path)
        self._made += 1
        made = self._file
        return FileRecord(
            path=path, sha256=made.sha256, bytes=made.bytes, media_type=made.media_type,
            width=made.width, height=made.height,
        )  # fmt: skip


def _records(jobs: Iterable[Job], links: _Links, count: int, price: str) -> Iterator[AnyRecord]:
    moment = FIRST
    yield RunBegins(
        manifest=f"{NAME}.yaml", manifest_sha256="0" * 64, retouch="0.1.0", provider="qiniu",
        base_url="https://api.qnaigc.com/v1", jobs=count, at=stamp(moment), run=RUN,
    )  # fmt: skip
    left = iter(jobs)
    while group := tuple(islice(left, WINDOW)):
        at = stamp(moment + timedelta(seconds=1))
        for job in group:
            yield _started(job, at)
        moment += timedelta(seconds=9)
        for job in group:
            yield _done(job, links.keep(job), stamp(moment), price)
    yield RunEnds(
        outcome="finished", counts={"done": count}, cost={}, at=stamp(moment), run=RUN
    )  # fmt: skip


def _started(job: Job, at: str) -> Started:
    source = job.source.picture
    return Started(
        at=at, run=RUN, key=job.key, attempt=1, model=job.model, prompt=job.prompt.id,
        source=job.source.name, source_sha256=source.digest.removeprefix("sha256:"),
        source_bytes=source.bytes, ceiling=AmountRecord(amount="0.250000", currency="CNY"),
        terms=terms_of(job),
    )  # fmt: skip


def _done(job: Job, file: FileRecord, at: str, price: str) -> Done:
    source = job.source.picture
    return Done(
        at=at, run=RUN, key=job.key, attempt=1, model=job.model, prompt=job.prompt.id,
        source=job.source.name, source_sha256=source.digest.removeprefix("sha256:"),
        source_bytes=source.bytes, files=(file,), seconds=8.213,
        usage=UsageRecord(
            input_tokens=301, output_tokens=1290, total_tokens=1591, text_tokens=11,
            image_tokens=290, images=1,
        ),
        cost=CostRecord(amount="0.250000", currency="CNY", basis="images", price=price),
    )  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(" ".join(finished(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
