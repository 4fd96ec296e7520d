"""What the answers to one Job say of its lane: when a lane or the run is stopped, and what of the
server is told.

A word is told once a lane. Every stop says what was charged and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

import anyio

from retouch.dialects.base import Rejected
from retouch.engine.classify import NotCharged, error_of
from retouch.engine.context import Context, LaneTools
from retouch.engine.limiter import Permit
from retouch.engine.pacing import wait_asked
from retouch.engine.recorder import Recorder
from retouch.errors import Refused, WorkRefused
from retouch.job import Job
from retouch.ledger.records import ErrorRecord
from retouch.transport import DownloadFailed

COME_BACK_CAP_SECONDS = 31 * 86_400.0
TOLD_AT_PROBE = 3  # shorter outages are not told
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
Write = Callable[[], Awaitable[None]]
# A date or a stage at a model's name: an edition of the same model.
_EDITION = re.compile(r"(?:[-@:](?:\d[\d.-]*|latest|preview|exp|stable))+")


class LaneWatch:
    """Stops the lane or the run of one Job; `warnings` go into the Job's record."""

    def __init__(self, job: Job, lane: LaneTools, context: Context, log: Recorder) -> None:
        self.warnings: list[str] = []
        self._job, self._lane, self._context, self._log = job, lane, context, log

    def unserved(self, verdict: NotCharged, permit: Permit) -> None:
        """Nothing was charged. A server that serves nothing for long gets no more of this lane."""
        if verdict.is_distrusted and len(self._context.transport.endpoints) == 1:
            self._distrusted(verdict)
            return
        outage, patience = self._lane.limiter.outage, self._context.settings.stop_after_outage
        is_news = self._lane.limiter.unserved(permit, is_limit=verdict.is_limit)
        shown = self._log.scrubbed(verdict.error).message
        said = f"{self._job.model}: nothing is served any more ({shown})"
        if outage.is_over(anyio.current_time(), patience):
            hint = "nothing was charged for it; run again when the server is back"
            self._lane.stop.set(WorkRefused(said, hint=hint))
        elif is_news and outage.probes == TOLD_AT_PROBE:
            self._context.say(f"{said}; asking now and then, for {patience / 60:.0f} min at most")

    def _distrusted(self, verdict: NotCharged) -> None:
        """A certificate that was refused is no outage: nothing changes by waiting."""
        shown = self._log.scrubbed(verdict.error).message
        self._context.stop_run(WorkRefused(shown, hint="nothing was sent; run again then"))

    def lost(self, error: ErrorRecord) -> None:
        """Too many answers in a row that may have been charged for no picture stop the lane."""
        if self._lane.losses.lost():
            shown = self._log.scrubbed(error).message
            lost = f"{self._lane.losses.most} answers in a row may have been charged for no picture"
            hint = (
                "`retouch status` tells what is unknown, `retouch resolve` settles it; "
                "`run: {stop_after_losses: N}` allows for more"
            )
            self._lane.stop.set(
                WorkRefused(f"{self._job.model}: {lost} (last: {shown})", hint=hint)
            )

    def alike(
        self, rejected: Rejected, task: str | None, take_back: Write
    ) -> tuple[Write, ...] | None:
        """The refusals that are taken back with this one: so many alike, and nothing served, are
        not the Jobs' own fault. Stops the lane then; None where this one is the Job's own."""
        is_the_requests = rejected.scope == "job" and rejected.billed == "no" and task is None
        if not is_the_requests or rejected.kind == "content":
            return None
        alike = self._lane.refusals.refused(rejected.message, take_back)
        if not alike:
            return None
        shown = self._log.scrubbed(error_of(rejected)).message
        message = (
            f"{self._job.model}: {self._lane.refusals.most} refusals alike and nothing served "
            f"(last: {shown})"
        )
        hint = "nothing was charged; correct what they share, those jobs are sent again"
        self._lane.stop.set(WorkRefused(message, hint=hint))
        return tuple(each for each in alike if each is not take_back)

    def halt(self, rejected: Rejected, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Stop the lane or the whole run at the first word that it cannot go on."""
        message = f"{self._job.model}: {self._log.scrubbed(error_of(rejected)).message}"
        kind = Refused if rejected.kind == "auth" else WorkRefused
        refused = kind(message, hint=self._when_to_come_back(headers, rejected.wait_seconds))
        if rejected.scope == "run":
            self._context.stop_run(refused)
        elif rejected.scope == "lane":
            self._lane.stop.set(refused)

    def watch_urls(self, failed: DownloadFailed, task: str | None) -> None:
        """Results of a kind that is never fetched from here are lost one like the other; a Task's
        stay at the server."""
        if failed.barred and task is None:
            shown = self._log.scrubbed(
                ErrorRecord(kind=failed.kind, message=failed.message)
            ).message
            message = f"{self._job.model}: its results cannot be fetched ({shown})"
            hint = "`options: {response_format: b64_json}` has pictures sent in the reply itself"
            self._lane.stop.set(WorkRefused(message, hint=hint))

    def compare_model(self, named: str) -> None:
        """A server that answers for another model than was asked is said, once a lane."""
        if named and not is_same_model(self._job.model, named):
            self.warn(f"the server says that {named} made it, not {self._job.model}")

    def note_task(self, task: str) -> None:
        """A Task is one Job's: where the server gives its id to another one too, both are said."""
        outcomes = self._context.ledger.state.outcomes
        mine = outcomes.number(self._log.key)
        other = self._context.tasks.setdefault(hash(task), mine)
        if other not in (mine, -1):
            _, outcome = next(outcomes.numbered(iter((other,))))
            named = getattr(outcome.began or outcome.decided, "source", "another job")
            self.warn(
                f"the server gave the task of {named} to {self._job.source.name} too: one picture "
                "may stand for both",
                once="one task for two jobs",
            )

    def warn(self, text: str, once: str = "") -> None:
        """Said in the Job's record, and once a lane."""
        self.warnings.append(text)
        if (once or text) not in self._lane.told:
            self._lane.told.add(once or text)
            self._context.say(f"{self._job.model}: {text}")

    def _when_to_come_back(self, headers: Mapping[str, str], told: float | None) -> str:
        """What the server said of it, in words; "" where it said nothing."""
        now = self._context.wall_clock()
        asked = wait_asked(headers, told, now, COME_BACK_CAP_SECONDS)
        if asked is None:
            return ""
        when = now + timedelta(seconds=asked)
        return f"the server says to come back after {when:%Y-%m-%d %H:%M} UTC; run again then"


def is_same_model(asked: str, named: str) -> bool:
    """Whether a reply's model is the one asked for, whoever sells it and of whatever edition."""
    one, other = (name.lower().rpartition("/")[2] for name in (asked, named))
    shorter, longer = sorted((one, other), key=len)
    rest = longer.removeprefix(shorter)
    return not rest or (rest != longer and _EDITION.fullmatch(rest) is not None)
