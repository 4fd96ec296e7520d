"""Ledgers made for tests: records put on a chain and written as a run would write them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from retouch.job import Job
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    FileRecord,
    RunBegins,
    Started,
    TermsRecord,
    Unknown,
    UsageRecord,
    encode,
)

GEMINI, KLING = "gemini-2.5-flash-image", "kling-v2"
FIRST = datetime(2025, 10, 2, 8, tzinfo=UTC)
TERMS = TermsRecord(input="0" * 12, prompt="1" * 12, options="2" * 12)
CEILING = AmountRecord(amount="0.600000", currency="CNY")


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def file_of(number: int, width: int = 1024, height: int = 1024) -> FileRecord:
    return FileRecord(
        path=f"images/{number}.png",
        sha256="0" * 64,
        bytes=8,
        media_type="image/png",
        width=width,
        height=height,
    )


def begins(provider: str = "qiniu") -> RunBegins:
    return RunBegins(
        manifest="cats.yaml",
        manifest_sha256="0" * 64,
        retouch="0.1.0",
        provider=provider,
        base_url="https://api.qnaigc.com/v1",
        jobs=0,
        at=stamp(FIRST),
    )


def words_of(job: Job) -> dict[str, Any]:
    """What every Record of a Job's work says again."""
    return {
        "key": job.key, "model": job.model, "prompt": job.prompt.id, "source": job.source.name
    }  # fmt: skip


def words(number: int, model: str = GEMINI, attempt: int = 1) -> dict[str, object]:
    return {
        "key": key_of(number),
        "attempt": attempt,
        "model": model,
        "prompt": f"p{number % 3}",
        "source": f"cats/{number % 5}/{number}.jpg",
    }


def started(number: int, at: datetime = FIRST, **more: object) -> Started:
    said = {"ceiling": CEILING, "terms": TERMS} | words(number) | more
    return Started(at=stamp(at), **said)  # type: ignore[arg-type]


def done(number: int, amount: str = "0.2715321", at: datetime = FIRST, **more: object) -> Done:
    said: dict[str, object] = words(number) | {
        "usage": UsageRecord(input_tokens=301, output_tokens=1290, total_tokens=1591),
        "cost": CostRecord(amount=amount, currency="CNY", basis="tokens", price="p"),
        "files": (file_of(number),),
        "seconds": 2.0,
    }
    return Done(at=stamp(at), **(said | more))  # type: ignore[arg-type]


def unknown(number: int, at: datetime = FIRST, **more: object) -> Unknown:
    error = ErrorRecord(kind="timeout", message="no answer within 180 s")
    said = words(number) | {"error": error, "ceiling": CEILING} | more
    return Unknown(at=stamp(at), **said)  # type: ignore[arg-type]


def failed(number: int, billed: str = "no", at: datetime = FIRST, **more: object) -> Failed:
    error = ErrorRecord(kind="content", message="refused")
    said = words(number) | {"error": error, "billed": billed, "final": True} | more
    return Failed(at=stamp(at), **said)  # type: ignore[arg-type]


def many(count: int, seed: int = 0, model: str = GEMINI) -> Iterator[AnyRecord]:
    """`count` finished jobs, a second and a half apart, each counted a little differently."""
    chance = random.Random(seed)
    for number in range(count):
        at = FIRST + timedelta(seconds=1.5 * number)
        given, made = chance.randint(270, 900), chance.randint(1200, 1400)
        amount = (Decimal("2.1") * given + 210 * Decimal(made)) / 10**6
        usage = UsageRecord(input_tokens=given, output_tokens=made, total_tokens=given + made)
        yield started(number, at, model=model)
        yield done(number, f"{amount:.7f}", at + timedelta(seconds=8), usage=usage, model=model)


def write(path: Path, records: Iterable[AnyRecord], run: str = "run-1") -> Path:
    """Write a ledger whose chain holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prev = "0" * 16
    with path.open("wb") as file:
        for record in records:
            line = encode(msgspec.structs.replace(record, run=record.run or run, prev=prev))
            prev = hashlib.sha256(line).hexdigest()[:16]
            file.write(line + b"\n")
    return path
