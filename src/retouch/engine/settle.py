"""How an Attempt that was answered ends: what it cost is settled, written and told.

A result is `done` if anything of it could be kept. What was paid for and is lost here but not at
the server stays on file as `unknown` with its Task; what cannot be had again is `failed`, with
its bill.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

import anyio

from retouch.costs.pricing import cost_of
from retouch.dialects.base import Produced, Rejected
from retouch.engine.budget import Reservation
from retouch.engine.classify import error_of
from retouch.engine.context import Context, Ended, JobEnd, LaneTools
from retouch.engine.limiter import Permit
from retouch.engine.pacing import retry_after_seconds
from retouch.engine.recorder import NOTHING_PAID, Paid, Recorder, usage_record
from retouch.engine.results import Received
from retouch.errors import Refused, WorkRefused
from retouch.job import Job
from retouch.ledger.records import ErrorRecord, FileRecord

COME_BACK_CAP_SECONDS = 31 * 86_400.0
TOLD_AT_PROBE = 3  # a short outage is nobody's concern
_NOTHING_SAID: Mapping[str, str] = MappingProxyType({})


class Settling:
    """The ends of one Job's Attempts in this run."""

    def __init__(self, job: Job, lane: LaneTools, context: Context, log: Recorder) -> None:
        self.job, self.lane, self.context, self.log = job, lane, context, log
        self.began = anyio.current_time()

    async def produced(
        self,
        attempt: int,
        produced: Produced,
        received: Received,
        reservation: Reservation,
        *,
        permit: Permit | None = None,
        task: str | None = None,
    ) -> None:
        """A result that was paid for: `done` if anything of it could be kept."""
        is_short = len(received.files) < len(produced.pictures)
        if task is not None and received.failed is not None and is_short:
            # Paid for and still at the server: the next run asks for this Task again.
            error = ErrorRecord(kind=received.failed.kind, message="; ".join(received.problems))
            await self.unknown(attempt, error, task)
            return
        cost = cost_of(produced.usage, len(produced.pictures), self.job, self.lane.price)
        paid = Paid(usage_record(produced.usage), cost)
        if cost is not None:
            reservation.settle(cost.money)
        if permit is not None:
            permit.used(produced.usage.total_tokens)
        if not received.files:
            await self._nothing_kept(attempt, produced, received, paid, task)
            return
        warnings = [*produced.warnings, *received.problems]
        if len(received.files) < self.job.images_wanted:
            warnings.append(f"{len(received.files)} of {self.job.images_wanted} pictures came")
        self.lane.losses.gained()
        await self.log.done(
            attempt,
            paid,
            received.files,
            seconds=anyio.current_time() - self.began,
            task=task,
            warnings=tuple(warnings),
        )
        self.end("done", paid=paid, files=received.files)

    async def _nothing_kept(
        self,
        attempt: int,
        produced: Produced,
        received: Received,
        paid: Paid,
        task: str | None,
    ) -> None:
        """Paid for, and no picture to show for it: final, it would fail (and cost) again."""
        if produced.pictures:
            error = ErrorRecord(kind="broken_reply", message="; ".join(received.problems))
        else:
            said = "; ".join(produced.warnings) or "the server sent no picture and no reason"
            error = ErrorRecord(kind="content", message=said)
        await self.log.failed(attempt, error, billed="yes", paid=paid, task=task)
        self._lost(error)
        self.end("failed", paid=paid, error=error)

    async def refused(
        self,
        attempt: int,
        rejected: Rejected,
        reservation: Reservation,
        task: str | None = None,
        *,
        headers: Mapping[str, str] = _NOTHING_SAID,
    ) -> None:
        """The server said no. What stops a lane or the run is not the Job's fault: not final."""
        error = error_of(rejected)
        cost = None
        if rejected.billed == "yes" and rejected.usage is not None:
            cost = cost_of(rejected.usage, 0, self.job, self.lane.price)
        if rejected.billed == "no":
            reservation.settle(None)
        elif cost is not None:
            reservation.settle(cost.money)
        await self.log.failed(
            attempt,
            error,
            billed=rejected.billed,
            final=rejected.scope == "job",
            paid=Paid(usage_record(rejected.usage), cost),
            task=task,
        )
        self.halt(rejected, headers)
        if rejected.billed != "no":
            self._lost(error)
        self.end("failed" if rejected.scope == "job" else "stopped", error=error)

    def halt(self, rejected: Rejected, headers: Mapping[str, str] = _NOTHING_SAID) -> None:
        """Stop the lane or the whole run at the first word that it cannot go on."""
        message = f"{self.job.model}: {self.log.scrubbed(error_of(rejected)).message}"
        kind = Refused if rejected.kind == "auth" else WorkRefused
        refused = kind(message, hint=self._when_to_come_back(headers))
        if rejected.scope == "run":
            self.context.stop_run(refused)
        elif rejected.scope == "lane":
            self.lane.stop.set(refused)

    def unserved(self, error: ErrorRecord, permit: Permit) -> None:
        """Nothing was charged. A server that serves nothing for long gets no more of this lane."""
        outage, patience = self.lane.limiter.outage, self.context.settings.stop_after_outage
        is_news = self.lane.limiter.unserved(permit)
        said = f"{self.job.model}: nothing is served any more ({self.log.scrubbed(error).message})"
        if outage.is_over(anyio.current_time(), patience):
            hint = "nothing was charged for it; run again when the server is back"
            self.lane.stop.set(WorkRefused(said, hint=hint))
        elif is_news and outage.probes == TOLD_AT_PROBE:
            self.context.say(f"{said}; asking now and then, for {patience / 60:.0f} min at most")

    def _lost(self, error: ErrorRecord) -> None:
        """What was answered may have been charged, and there is no picture: not for ever."""
        if self.lane.losses.lost():
            shown = self.log.scrubbed(error).message
            lost = f"{self.lane.losses.most} answers in a row may have been charged for no picture"
            hint = (
                "`retouch status` tells what is unknown, `retouch resolve` settles it; "
                "`run: {stop_after_losses: N}` allows for more"
            )
            self.lane.stop.set(WorkRefused(f"{self.job.model}: {lost} (last: {shown})", hint=hint))

    def _when_to_come_back(self, headers: Mapping[str, str]) -> str:
        """What the server said of it, in words; "" where it said nothing."""
        now = self.context.wall_clock()
        asked = retry_after_seconds(headers, now, cap=COME_BACK_CAP_SECONDS)
        if asked is None:
            return ""
        when = now + timedelta(seconds=asked)
        return f"the server says to come back after {when:%Y-%m-%d %H:%M} UTC; run again then"

    async def unknown(self, attempt: int, error: ErrorRecord, task: str | None = None) -> None:
        await self.log.unknown(attempt, error, task)
        if task is None:
            self._lost(error)
        self.end("unknown", error=error)

    async def quarantine(self, attempt: int, body: bytes) -> None:
        if body:
            name = f"{self.log.key}-{attempt}"
            await self.context.threads(lambda: self.context.outputs.quarantine(name, body))

    def end(
        self,
        ended: Ended,
        *,
        paid: Paid = NOTHING_PAID,
        files: tuple[FileRecord, ...] = (),
        error: ErrorRecord | None = None,
    ) -> None:
        shown = self.log.scrubbed(error) if error else None
        self.context.ended(JobEnd(self.job, ended, paid, files, shown))
