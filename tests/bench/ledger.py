"""The ledger: reading it whole with its chain, reviewing it, and appending to it durably."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import anyio

from retouch.ledger import FIRST_PREV, Reader, digest_of, open_ledger, read
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    FileRecord,
    Started,
    TermsRecord,
    UsageRecord,
    decode,
    encode,
)
from retouch.report import DIMENSIONS, Tally
from tests.bench.measured import Measured, against, quickest

_RECORDS = 100_000
_APPENDS, _AT_ONCE = 1_000, 50
_AT = "2026-03-01T12:00:00.{:06}Z"


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as name:
        return [*_read(Path(name)), *_append(Path(name))]


def write_ledger(path: Path, records: int) -> None:
    """A ledger of so many records, half of them `started` and half `done`, as runs write them."""
    prev = FIRST_PREV
    with path.open("wb") as file:
        for number in range(records):
            line = encode(_record(number, prev))
            prev = digest_of(line)
            file.write(line + b"\n")


def _record(number: int, prev: str) -> AnyRecord:
    key = hashlib.sha256(str(number // 2).encode()).hexdigest()
    stamp = {"at": _AT.format(number % 1_000_000), "run": "20260301T120000-abcdef", "prev": prev}
    place = {"key": key, "attempt": 1, "model": "gemini-2.5-flash-image", "prompt": "white"}
    source = f"data/cats/{number // 2:07}.jpg"
    if number % 2 == 0:
        return Started(
            **stamp, **place, source=source,  # type: ignore[arg-type]  # spread by name
            ceiling=AmountRecord(amount="0.560000", currency="CNY"),
            terms=TermsRecord(input="0" * 12, prompt="1" * 12, options="2" * 12),
        )  # fmt: skip
    return Done(
        **stamp, **place, source=source,  # type: ignore[arg-type]  # spread by name
        usage=UsageRecord(input_tokens=300, output_tokens=1290, total_tokens=1590),
        cost=CostRecord(amount="0.271530", currency="CNY", basis="tokens", price="gemini"),
        files=(
            FileRecord(
                path=f"images/gemini-2.5-flash-image/white/{number}-0.png", sha256=key,
                bytes=1_500_000, media_type="image/png", width=1024, height=1024,
            ),
        ),
        seconds=8.213,
    )  # fmt: skip


def _read(folder: Path) -> list[Measured]:
    """A ledger replayed and reviewed, against every line decoded and chained and nothing else."""
    path = folder / "read.jsonl"
    write_ledger(path, _RECORDS)

    def decoded_and_chained() -> None:
        prev = FIRST_PREV
        with path.open("rb") as file:
            for line in file:
                assert decode(line).prev == prev
                prev = hashlib.sha256(line[:-1]).hexdigest()[:16]

    def reviewed() -> None:
        tally = Tally([(dimension,) for dimension in DIMENSIONS if dimension != "source"])
        tally.read(Reader(path))
        assert tally.records == _RECORDS

    works = {"checked": lambda: drained(Reader(path)), "replayed": lambda: read(path),
             "reviewed": reviewed}  # fmt: skip
    *seconds, reference = quickest(*works.values(), decoded_and_chained, rounds=3)
    return [
        Measured(
            f"a ledger of {_RECORDS:,} records {word}", ours, "msgspec and the chain alone",
            reference, _RECORDS,
        )
        for word, ours in zip(works, seconds, strict=True)
    ]  # fmt: skip


def drained(records: Iterable[AnyRecord]) -> None:
    """Go through all records and do nothing with them."""
    deque(records, maxlen=0)


def _append(folder: Path) -> list[Measured]:
    """Appends that gather, against a sync for each line."""
    lines = [encode(_record(number, FIRST_PREV)) + b"\n" for number in range(_APPENDS)]

    async def gathered() -> None:
        path = folder / "gathered.jsonl"
        path.unlink(missing_ok=True)
        path.with_name("gathered.jsonl.head").unlink(missing_ok=True)

        async def some(first: int) -> None:
            for number in range(first, _APPENDS, _AT_ONCE):
                await ledger.append(_record(number, ""))

        async with open_ledger(path, "bench") as ledger, anyio.create_task_group() as group:
            for first in range(_AT_ONCE):
                group.start_soon(some, first)
        assert sum(1 for _ in Reader(path)) == _APPENDS

    def one_by_one() -> None:
        with (folder / "single.jsonl").open("wb", buffering=0) as file:
            for line in lines:
                file.write(line)
                os.fdatasync(file.fileno())

    return against(
        f"{_APPENDS:,} durable records, {_AT_ONCE} at once",
        lambda: anyio.run(gathered),
        {"a sync for each line": one_by_one},
        times=_APPENDS,
        rounds=3,
    )
