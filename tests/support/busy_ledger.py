"""A ledger as a busy year leaves it: many runs, models and folders, each way an Attempt can end.

Every Job's life is drawn from its number, so that a ledger of any size is the same on every
machine; nothing is held in memory.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    FileRecord,
    Resolved,
    Reused,
    RunBegins,
    Started,
    TaskAccepted,
    TermsRecord,
    Unknown,
    Unsent,
    UsageRecord,
)
from tests.support.ledgers import FIRST, key_of, stamp, write

JOBS_A_RUN = 400
MODELS = (
    ("gemini-2.5-flash-image", "CNY"), ("gemini-3-pro", "CNY"), ("kling-v2", "CNY"),
    ("gpt-image-1", "USD"), ("flux-kontext", "USD"),
)  # fmt: skip
LIVES = {
    "done": 880, "task": 30, "retried": 30, "redone": 12, "fewer": 8, "free": 10, "refused": 8,
    "uncounted": 4, "unpriced": 4, "free model": 1, "open": 2, "unknown": 5, "settled": 3,
    "not charged": 2, "charged somehow": 1, "corrected": 1, "answered late": 1, "reused": 2,
}  # fmt: skip
R = TypeVar("R", Unsent, TaskAccepted, Resolved)
_TERMS = {n: TermsRecord(input="0" * 12, prompt="1" * 12, options="2" * 12, n=n) for n in (1, 2)}
_BUSY = ErrorRecord(kind="rate", status=429, message="slow down")
_REFUSED = ErrorRecord(kind="content", status=400, message="refused")
_LOST = ErrorRecord(kind="timeout", message="no answer within 180 s")


def busy(jobs: int, seed: int = 0) -> Iterator[AnyRecord]:
    """So many Jobs' records, a little over two for each, 40 s apart; days cross midnight both of
    UTC and of UTC+8."""
    chance = random.Random(seed)
    names, weights = tuple(LIVES), tuple(LIVES.values())
    for number in range(jobs):
        moment = FIRST + timedelta(seconds=40 * number)
        if number % JOBS_A_RUN == 0:
            yield _begins(number, moment)
        (life,) = chance.choices(names, weights)
        yield from _Life(number, moment, chance).records(life)


def write_busy(path: Path, jobs: int, seed: int = 0) -> Path:
    """Such a ledger as a file whose chain holds."""
    return write(path, busy(jobs, seed))


def _run(number: int) -> str:
    return f"run-{number // JOBS_A_RUN:05}"


def _begins(number: int, moment: datetime) -> RunBegins:
    provider = ("qiniu", "openai")[number // JOBS_A_RUN % 2]
    return RunBegins(
        manifest="cats.yaml", manifest_sha256="0" * 64, retouch="0.1.0", provider=provider,
        base_url="https://api.qnaigc.com/v1", jobs=JOBS_A_RUN, at=stamp(moment), run=_run(number),
        tags={"team": f"team {number // JOBS_A_RUN % 3}"} if provider == "qiniu" else None,
    )  # fmt: skip


class _Life:
    """One Job: what each of its records says again, and its endings."""

    def __init__(self, number: int, moment: datetime, chance: random.Random) -> None:
        self.number, self.moment, self.chance = number, moment, chance
        self.model, self.currency = chance.choice(MODELS)
        self.key = key_of(number)
        self.work = {
            "key": self.key, "model": self.model, "prompt": f"p{number % 7}",
            "source": f"team{'AB'[number % 2]}/{number % 40}/{number:07}.jpg",
        }  # fmt: skip

    def records(self, life: str) -> Iterator[AnyRecord]:
        match life:
            case "done" | "fewer":
                n = 2 if life == "fewer" else 1
                yield self._started(n=n)
                yield self._done(n=n)
            case "task":
                yield self._started()
                yield self._of(TaskAccepted, task=f"t-{self.number}")
                yield self._done(task=f"t-{self.number}")
            case "retried":
                yield self._started()
                yield self._of(Unsent, error=_BUSY)
                yield self._started(2)
                yield self._done(2)
            case "redone":
                yield self._started()
                yield self._done()
                yield self._started(2)
                yield self._done(2)
            case "free":
                yield self._started()
                yield self._failed("no")
            case "refused":
                yield self._started()
                yield self._failed("yes", usage=self._usage(), cost=self._cost())
            case "uncounted":
                yield self._started()
                yield self._done(usage=None, cost=None)
            case "unpriced":
                yield self._started(priced=False)
                yield self._done(cost=None)
            case "free model":
                yield self._started(priced=False)
                yield self._of(Unsent, error=_BUSY)
            case "open":
                yield self._started()
            case "reused":
                yield self._reused()
            case _:
                yield self._started()
                yield self._unknown()
                yield from self._settled(life)

    def _settled(self, life: str) -> Iterator[AnyRecord]:
        match life:
            case "settled":
                yield self._resolved("charged", self._amount())
            case "corrected":
                yield self._resolved("charged", self._amount())
                yield self._resolved("charged", self._amount())
            case "not charged":
                yield self._resolved("not_charged")
            case "charged somehow":
                yield self._resolved("charged")
            case "answered late":
                yield self._started(2)
                yield self._done(2)

    def _stamped(self, seconds: float) -> dict[str, object]:
        return {"at": stamp(self.moment + timedelta(seconds=seconds)), "run": _run(self.number)}

    def _started(self, attempt: int = 1, n: int = 1, *, priced: bool = True) -> Started:
        ceiling = AmountRecord(amount="0.600000", currency=self.currency) if priced else None
        said = self.work | self._stamped(3 * attempt)
        return Started(**said, attempt=attempt, ceiling=ceiling, terms=_TERMS[n])  # type: ignore[arg-type]

    def _done(self, attempt: int = 1, n: int = 1, **more: object) -> Done:
        said = {
            **self.work, **self._stamped(3 * attempt + 2.5), "attempt": attempt,
            "usage": self._usage(), "cost": self._cost(), "seconds": 2.5,
            "files": (self._file(attempt),),
            "warnings": (f"1 of {n} pictures came",) if n > 1 else (),
        }  # fmt: skip
        return Done(**(said | more))  # type: ignore[arg-type]

    def _failed(self, billed: str, **more: object) -> Failed:
        said = {**self.work, **self._stamped(5), "attempt": 1, "error": _REFUSED, "final": True}
        return Failed(**(said | {"billed": billed} | more))  # type: ignore[arg-type]

    def _unknown(self) -> Unknown:
        ceiling = AmountRecord(amount="0.600000", currency=self.currency)
        said = self.work | self._stamped(4)
        return Unknown(**said, attempt=1, error=_LOST, ceiling=ceiling)  # type: ignore[arg-type]

    def _resolved(self, verdict: str, amount: AmountRecord | None = None) -> Resolved:
        return self._of(Resolved, verdict=verdict, amount=amount)

    def _of(self, kind: type[R], **said: object) -> R:
        return kind(key=self.key, attempt=1, **self._stamped(3.5), **said)  # type: ignore[arg-type]

    def _reused(self) -> Reused:
        said = self.work | self._stamped(1)
        return Reused(**said, source_ledger="dogs", files=(self._file(0),))  # type: ignore[arg-type]

    def _usage(self) -> UsageRecord:
        given, made = self.chance.randint(270, 900), self.chance.randint(1200, 1400)
        text = self.chance.randint(0, 60)
        return UsageRecord(
            input_tokens=given, output_tokens=made, total_tokens=given + made, text_tokens=40,
            image_tokens=given - 40, cached_tokens=given // 4, reasoning_tokens=text,
            text_output_tokens=text, image_output_tokens=made - text,
        )  # fmt: skip

    def _amount(self) -> AmountRecord:
        return AmountRecord(
            amount=f"0.{self.chance.randint(10**8, 4 * 10**8)}", currency=self.currency
        )

    def _cost(self) -> CostRecord:
        paid = self._amount()
        return CostRecord(amount=paid.amount, currency=paid.currency, basis="tokens", price="p")

    def _file(self, attempt: int) -> FileRecord:
        return FileRecord(
            path=f"images/{self.model}/{self.work['prompt']}/{self.number:07}-{attempt}.png",
            sha256=hashlib.sha256(self.key.encode()).hexdigest(), bytes=1_500_000,
            media_type="image/png", width=1024, height=1024,
        )  # fmt: skip
