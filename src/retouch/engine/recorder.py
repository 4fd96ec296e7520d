"""What is written about one Job: each method appends one Record and returns when it is durable.

Every text that came from outside is scrubbed of the key and of what signs URLs on its way in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import msgspec

from retouch.costs.pricing import as_amount
from retouch.dialects.base import Billed, Usage
from retouch.job import Job
from retouch.ledger import Ledger
from retouch.ledger.records import (
    AmountRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    FileRecord,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
    UsageRecord,
)
from retouch.ledger.terms import terms_of
from retouch.money import Money
from retouch.text import one_clean_line, without_secrets


@dataclass(frozen=True, slots=True)
class Paid:
    """What a charged Attempt used and cost; None where the server did not say or no price is
    known. `least`: where it has no cost, what it cost at least."""

    usage: UsageRecord | None = None
    cost: CostRecord | None = None
    least: AmountRecord | None = None


NOTHING_PAID = Paid()


def usage_record(usage: Usage | None) -> UsageRecord | None:
    """The server's counts as the ledger writes them; None where it counted nothing."""
    if usage is None or usage == Usage():
        return None
    return UsageRecord(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        text_tokens=usage.text_tokens,
        image_tokens=usage.image_tokens,
        images=usage.images,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        text_output_tokens=usage.text_output_tokens,
        image_output_tokens=usage.image_output_tokens,
        cached_text_tokens=usage.cached_text_tokens,
        cached_image_tokens=usage.cached_image_tokens,
        svg_input_tokens=usage.svg_input_tokens,
        svg_output_tokens=usage.svg_output_tokens,
        stated=as_amount(usage.stated),
    )


class _Work(TypedDict):
    """What every line about an Attempt says again, so that it can be read alone."""

    key: str
    attempt: int
    model: str
    prompt: str
    source: str


class _Source(TypedDict):
    """Which bytes were edited, and on which lane."""

    source_sha256: str | None
    source_bytes: int | None
    lane: str | None


def source_of(job: Job) -> _Source:
    """The source of a Job as its Records tell it; nothing of a picture given by URL."""
    picture = job.source.picture
    kind, _, digest = picture.digest.partition(":")
    return {
        "source_sha256": digest if kind == "sha256" else None,
        "source_bytes": picture.bytes,
        "lane": None if job.lane_name == job.model else job.lane,
    }


class Recorder:
    """The Records of one Job; `ceiling` is the most that its present Attempt may cost."""

    def __init__(
        self, job: Job, ledger: Ledger, ceiling: Money | None, secrets: tuple[str, ...]
    ) -> None:
        self.key = job.key
        self.ceiling = as_amount(ceiling)
        self._job = job
        self._ledger = ledger
        self._secrets = secrets

    def scrubbed(self, error: ErrorRecord) -> ErrorRecord:
        """The error fit to be kept and shown."""
        code = error.code and self._clean(error.code)
        return msgspec.structs.replace(error, message=self._clean(error.message), code=code)

    def _clean(self, text: str) -> str:
        return one_clean_line(without_secrets(text, self._secrets))

    def _work(self, attempt: int) -> _Work:
        job = self._job
        return {
            "key": self.key,
            "attempt": attempt,
            "model": job.model,
            "prompt": job.prompt.id,
            "source": job.source.name,
        }

    async def started(self, attempt: int) -> None:
        await self._ledger.append(
            Started(
                **self._work(attempt),
                **source_of(self._job),
                ceiling=self.ceiling,
                terms=terms_of(self._job),
            )
        )

    async def unsent(self, attempt: int, error: ErrorRecord) -> None:
        await self._ledger.append(Unsent(key=self.key, attempt=attempt, error=self.scrubbed(error)))

    async def accepted(self, attempt: int, task: str, endpoint: str) -> None:
        await self._ledger.append(
            TaskAccepted(
                key=self.key,
                attempt=attempt,
                task=task,
                endpoint=endpoint,
                output=self._job.output,
                repeat=self._job.repeat,
            )
        )

    async def done(
        self,
        attempt: int,
        paid: Paid,
        files: tuple[FileRecord, ...],
        *,
        seconds: float,
        task: str | None,
        warnings: tuple[str, ...],
    ) -> None:
        await self._ledger.append(
            Done(
                **self._work(attempt),
                **source_of(self._job),
                task=task,
                usage=paid.usage,
                cost=paid.cost,
                least=paid.least,
                files=files,
                seconds=round(seconds, 3),
                warnings=tuple(map(self._clean, warnings)),
            )
        )

    async def failed(
        self,
        attempt: int,
        error: ErrorRecord,
        *,
        billed: Billed = "no",
        final: bool = True,
        paid: Paid = NOTHING_PAID,
        task: str | None = None,
    ) -> None:
        await self._ledger.append(
            Failed(
                **self._work(attempt),
                error=self.scrubbed(error),
                billed=billed,
                usage=paid.usage,
                cost=paid.cost,
                least=paid.least,
                ceiling=None if billed == "no" else self.ceiling,
                task=task,
                final=final,
            )
        )

    async def unknown(self, attempt: int, error: ErrorRecord, task: str | None = None) -> None:
        await self._ledger.append(
            Unknown(
                **self._work(attempt),
                error=self.scrubbed(error),
                ceiling=self.ceiling,
                task=task,
            )
        )
