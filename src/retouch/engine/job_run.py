"""One Job, top to bottom: its life as DESIGN §3 tells it.

    ceiling reserved -> turn at the lane's limits -> `started` durable -> POST
        not charged -> `unsent` -> back off (Retry-After for the whole lane) -> another Attempt
        accepted    -> `accepted` durable -> polled to its end, never submitted again
        unknown     -> `unknown`, held; or paid for again on the user's own terms
        produced    -> pictures fetched, checked, written whole -> `done`
        otherwise   -> `failed` or `unknown`, at once

Every way out of an Attempt writes a Record first. What cannot be written stops the run. What was
paid for and is lost here but not at the server stays on file as `unknown` with its Task; what
cannot be had again is `failed`, with its bill.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, nullcontext
from datetime import datetime, timedelta
from functools import partial

import anyio

from retouch.costs.pricing import (
    Delivered,
    as_amount,
    ceiling_of,
    cost_of,
    delivered,
    least_of,
)
from retouch.dialects.base import (
    Accepted,
    Endpoint,
    LinkedPicture,
    Produced,
    Rejected,
    Request,
    Usage,
)
from retouch.engine.budget import Reservation
from retouch.engine.classify import (
    NotCharged,
    Refusal,
    Uncertain,
    Verdict,
    error_of,
    interrupted,
)
from retouch.engine.context import Context, Ended, JobEnd, LaneTools
from retouch.engine.lane_watch import NO_HEADERS, LaneWatch
from retouch.engine.limiter import Permit
from retouch.engine.memory import Lease, bytes_to_send
from retouch.engine.pacing import backoff_seconds, wait_asked
from retouch.engine.polling import Answer, Ending, Stopped, TimedOut
from retouch.engine.recorder import NOTHING_PAID, Paid, Recorder, usage_record
from retouch.engine.results import Received
from retouch.engine.sending import Came, ask, fetch, lease, load, post, room_for
from retouch.errors import BudgetReached, Refused, StorageFailed, WorkRefused
from retouch.job import Job, Picture
from retouch.ledger.decision import PAY_AGAIN, Poll, Send
from retouch.ledger.records import ErrorRecord, FileRecord
from retouch.manifest import Price
from retouch.money import Money
from retouch.pictures import SourceChanged
from retouch.storage.descriptors import when_free
from retouch.transport import Sending

NO_LEAVE = "not sent: its leave to send has run out"
SOON = timedelta(seconds=10)  # a record is written milliseconds after its reservation


class _Dearer:
    """The price rose since the ceiling was reserved: reserve anew."""


_DEARER = _Dearer()


async def run_job(job: Job, decision: Send | Poll, lane: LaneTools, context: Context) -> None:
    """Bring one Job to an end, or as far as it may go; its Records say how far.

    Raises StorageFailed, and cancellation after writing what was in flight.
    """
    life = _Life(job, lane, context)
    try:
        if isinstance(decision, Poll):
            await life.resume(decision)
        else:
            await life.send(decision)
    except anyio.get_cancelled_exc_class():
        life.broken_off(decision.attempt)
        raise


class _Life:
    """The Attempts of one Job in this run."""

    def __init__(self, job: Job, lane: LaneTools, context: Context) -> None:
        self.job, self.lane, self.context = job, lane, context
        self.log = Recorder(job, context.ledger, None, context.secrets)
        self.watch = LaneWatch(job, lane, context, self.log)
        self._bound_by: tuple[object, ...] = ()  # the prices and counts that the ceiling is of
        self.ceiling = self._ceiling_now()
        self.began = anyio.current_time()
        self._endpoint = 0
        self._asked = self._taker = context.transport.endpoints[0]
        self._permit: Permit | None = None
        self._goes_on = False  # an Attempt follows that is paid for again, knowingly
        self._is_unknown = self._is_paid_again = self._has_ended = False
        self._empties: list[Paid] = []
        self._last_error: ErrorRecord | None = None

    def _ceiling_now(self) -> Money | None:
        """The most an Attempt may cost, by what has been counted so far; recorded as such."""
        observed = self.context.ledger.state.observed.get(self.job.model)
        seen = (observed.input_tokens, observed.output_tokens_per_image) if observed else None
        now = self.context.wall_clock()
        # The record is written a little later, perhaps at the next price.
        price, soon = self.lane.price_at(now), self.lane.price_at(now + SOON)
        if (by := (price, soon, seen)) != self._bound_by:
            self._bound_by = by
            bounds = [
                ceiling_of(self.job, each, self.lane.capabilities, observed)
                for each in (price, soon)
            ]
            self._bound = bounds[1] if _is_dearer(bounds[1], bounds[0]) else bounds[0]
        self.ceiling = self._bound
        self.log.ceiling = as_amount(self.ceiling)
        return self.ceiling

    def _price_of(self, attempt: int) -> Price | None:
        """The price of the moment at which the Attempt began, as the ledger has it."""
        charge = self.context.ledger.state.open_charges.get((self.log.key, attempt))
        began = datetime.fromisoformat(charge.at) if charge else self.context.wall_clock()
        return self.lane.price_at(began)

    def _is_learnt(self) -> bool:
        """Whether what a request counts is known; a price that counts no tokens has nothing to
        learn."""
        price = self.lane.price_at(self.context.wall_clock())
        counts = price is not None and price.counts_tokens
        return not counts or self.job.model in self.context.ledger.state.observed

    async def send(self, decision: Send) -> None:
        """Attempt until something comes of it that is not to be sent again."""
        attempt, unsent = decision.attempt, 0
        is_again = decision.reason == PAY_AGAIN
        while True:
            verdict = await (self._attempt_again(attempt) if is_again else self._attempt(attempt))
            if isinstance(verdict, _Dearer):
                continue
            if isinstance(verdict, NotCharged):
                unsent += 1
                if not await self._may_retry(attempt, unsent, verdict):
                    return
            elif not self._goes_on:
                return
            elif self.lane.stop:
                self._give_up()
                return
            else:
                is_again = isinstance(verdict, Uncertain)
                await self.lane.stop.sleep(backoff_seconds(1, self.context.chance))
            attempt += 1

    async def _may_retry(self, attempt: int, unsent: int, verdict: NotCharged) -> bool:
        """Whether another Attempt follows one that was surely not charged; waits before it."""
        is_last = unsent > self.context.settings.retries
        if is_last or not self.lane.limiter.may_retry():
            await self.log.failed(attempt, verdict.error, final=False)
            self._end("failed", error=verdict.error)
            return False
        await self._back_off(unsent, verdict)
        return True

    async def _attempt_again(self, attempt: int) -> Verdict | _Dearer | None:
        """An Attempt that is paid for knowingly, though an earlier one may have been charged; the
        Job stays unknown where the terms leave no room for it."""
        again = self.context.again
        self._is_unknown = True
        lost = self.context.ledger.state.lost_attempts(self.log.key)
        reservation = await again.reserve(
            self.job.model, self.ceiling, lost, (self.log.key, attempt)
        )
        if reservation is None:
            self._give_up()
            return None
        again.jobs += not self._is_paid_again
        self._is_paid_again = True
        with again.purse.holding(reservation):
            return await self._attempt(attempt, reservation)

    async def resume(self, decision: Poll) -> None:
        """Poll a Task that an earlier run submitted, at the endpoint that took it."""
        accepted = self.context.ledger.state.accepted.get(self.log.key)
        if accepted is not None and accepted.endpoint:
            known = {each.base: each for each in self.context.transport.endpoints}
            if accepted.endpoint not in known:
                self.context.say(
                    f"{self.job.source.name}: its task is at {accepted.endpoint}, which the "
                    "manifest does not name any more; add it to `fallback_urls` and run again"
                )
                self._end("accepted")
                return
            self._taker = known[accepted.endpoint]
        charge = self.context.ledger.state.open_charges.get((self.log.key, decision.attempt))
        ceiling = charge.ceiling if charge else self.ceiling
        day = charge.day if charge else None
        is_counted = self.context.ledger.is_counted(self.log.key, decision.attempt)
        reservation = self.context.budget.resume(
            self.job.lane_name,
            ceiling,
            day,
            (self.log.key, decision.attempt),
            is_counted=is_counted,
        )
        with self.context.budget.holding(reservation):
            await self._follow(decision.attempt, decision.task, reservation)

    async def _attempt(
        self, attempt: int, again: Reservation | None = None
    ) -> Verdict | _Dearer | None:
        """One Attempt with all that follows from it; None when nothing was sent. `again`: what
        else holds its ceiling, and is charged alike."""
        self._goes_on = False
        try:
            reservation = await self.context.budget.reserve_learning(
                self.job.lane_name,
                self._ceiling_now,
                is_learnt=self._is_learnt(),
                attempt=(self.log.key, attempt),
            )
        except (BudgetReached, Refused) as refused:
            is_lanes = isinstance(refused, BudgetReached) and refused.model
            stop = self.lane.stop.set if is_lanes else self.context.stop_run
            stop(refused)
            if again is not None:
                again.settle(None)
            self._give_up()
            return None
        with self.context.budget.holding(reservation):
            try:
                return await self._within_limits(attempt, reservation)
            finally:
                if again is not None:
                    again.charged = reservation.charged

    async def _within_limits(
        self, attempt: int, reservation: Reservation
    ) -> Verdict | _Dearer | None:
        permit = await self.lane.limiter.permit(
            self.lane.stop, images=self.job.images_wanted, tokens=self._tokens_expected()
        )
        if permit is None:
            reservation.settle(None)
            self._give_up()
            return None
        with permit:
            return await self._take_turn(permit, attempt, reservation)

    async def _take_turn(
        self, permit: Permit, attempt: int, reservation: Reservation
    ) -> Verdict | _Dearer | None:
        """Wait for room in memory, and send; None when nothing was sent."""
        self._permit = permit
        async with lease(self.job, bytes_to_send(self.job), self.context) as room:
            if self.lane.stop:
                reservation.settle(None)
                self._give_up()
                return None
            return await self._send_within(room, permit, attempt, reservation)

    async def _send_within(
        self, room: Lease, permit: Permit, attempt: int, reservation: Reservation
    ) -> Verdict | _Dearer | None:
        """Load, say so, send, and conclude; None when nothing was sent."""
        loaded = await self._load(attempt)
        if loaded is None:
            reservation.settle(None)
            return None
        held = self.ceiling
        if _is_dearer(self._ceiling_now(), held):
            reservation.settle(None)
            return _DEARER
        self.ceiling, self.log.ceiling = held, as_amount(held)
        await self.log.started(attempt)
        reservation.day = self.context.ledger.state.open_charges[self.log.key, attempt].day
        if not await self._is_due(permit, attempt):
            reservation.settle(None)
            return None
        permit.leaves()
        verdict, came = await self._post(attempt, *loaded, room)
        await self._conclude(attempt, verdict, came, reservation, room)
        return verdict

    async def _is_due(self, permit: Permit, attempt: int) -> bool:
        """Wait for the moment of the permit; where it holds no more, nothing was sent, and a
        Record says so."""
        is_due = False
        try:
            is_due = await permit.is_due()
        finally:
            if not is_due:
                with anyio.CancelScope(shield=True):
                    await self.log.unsent(attempt, ErrorRecord(kind="transient", message=NO_LEAVE))
        if not is_due:
            self._give_up()
        return is_due

    async def _load(self, attempt: int) -> tuple[Request, dict[Picture, bytes]] | None:
        """What to send; None (and a Record) when a file is not what was planned, or the dialect
        cannot say it."""
        self._asked = self._endpoint_now()
        try:
            return await load(self.job, self._asked, self.context)
        except Refused as refused:  # no link can be had: nothing that needs one is sent
            stop = self.lane.stop.set if isinstance(refused, WorkRefused) else self.context.stop_run
            stop(refused)
            self._give_up()
            return None
        except (SourceChanged, OSError, ValueError) as refused:
            error = ErrorRecord(kind="bad_request", message=f"not sent: {refused}")
            await self.log.failed(attempt, error, final=False)
            self._end("failed", error=error)
            return None

    async def _post(
        self, attempt: int, request: Request, pictures: dict[Picture, bytes], room: Lease
    ) -> tuple[Verdict, Came]:
        """POST; what is known of a request that is cancelled is written."""
        sending = Sending(on_wire=self._permit.on_wire if self._permit else None)
        try:
            return await post(self.job, request, pictures, self.context, sending=sending, room=room)
        except anyio.get_cancelled_exc_class():
            whole = sending.broken_off("network", "").sent_whole
            with anyio.CancelScope(shield=True):
                await self._interrupt(attempt, interrupted(sent_whole=whole))
            raise

    async def _interrupt(self, attempt: int, verdict: NotCharged | Uncertain) -> None:
        if isinstance(verdict, Uncertain):
            await self.log.unknown(attempt, verdict.error)
        else:
            await self.log.unsent(attempt, verdict.error)

    async def _conclude(
        self, attempt: int, verdict: Verdict, came: Came, reservation: Reservation, room: Lease
    ) -> None:
        """Write what the verdict means and settle what it cost; what has come is written even when
        the run is being cancelled."""
        match verdict:
            case NotCharged(error=error):
                reservation.settle(None)
                await self.log.unsent(attempt, error)
                if self._permit is not None:
                    self.watch.unserved(verdict, self._permit)
            case Uncertain(error=error, body=kept):
                with anyio.CancelScope(shield=True):
                    await self._quarantine(attempt, came if kept else Came())
                    await self._unanswered(attempt, error)
            case Refusal(rejected=rejected, headers=headers):
                self.lane.limiter.served()
                with anyio.CancelScope(shield=True):
                    await self._refused(attempt, rejected, reservation, headers=headers)
            case Accepted(task=task):
                self.lane.limiter.answered()
                self.lane.refusals.served()
                self._taker = self._asked
                await self.log.accepted(attempt, task, self._taker.base)
                self.watch.note_task(task)
                await self._follow(attempt, task, reservation, is_new=True)
            case Produced():
                self.lane.limiter.answered()
                self.lane.refusals.served()
                await self._keep(attempt, verdict, came, reservation, room)

    async def _keep(
        self, attempt: int, produced: Produced, came: Came, reservation: Reservation, room: Lease
    ) -> None:
        """What is here and paid for is kept, even when the run is being cancelled."""
        has_links = any(isinstance(picture, LinkedPicture) for picture in produced.pictures)
        if self.lane.stop and has_links:
            seconds = self.context.settings.timeout
            self.context.say(f"fetching a paid result: up to {seconds:.0f} s more")
        with anyio.CancelScope(shield=not has_links):
            try:
                received = await fetch(self.job, attempt, produced, self.context, room, came=came)
            except StorageFailed as failed:
                await self._not_stored(attempt, produced, reservation, failed)
                return
            except anyio.get_cancelled_exc_class():
                message = "stopped while its pictures were fetched"
                with anyio.CancelScope(shield=True):
                    await self._quarantine(attempt, came)
                    error = ErrorRecord(kind="network", message=message)
                    await self.log.unknown(attempt, error)
                raise
            if not received.is_whole:
                await self._quarantine(attempt, came)
            await self._produced(attempt, produced, received, reservation)

    async def _follow(
        self, attempt: int, task: str, reservation: Reservation, *, is_new: bool = False
    ) -> None:
        """Poll a Task to its end; asked once more when its result is not there or has expired."""
        with closing(room_for(self.job, self.context)) as room:
            ending, received = await self._asked_for(attempt, task, room, is_new=is_new)
        match ending:
            case Produced() if received is not None:
                await self._produced(attempt, ending, received, reservation, task)
            case Rejected(scope="run" | "lane"):
                self.watch.halt(ending)
                self._end("accepted", error=error_of(ending))
            case Rejected(kind="expired"):
                await self._unknown(attempt, error_of(ending), task)
            case Rejected():
                await self._refused(attempt, ending, reservation, task)
            case TimedOut(waited_seconds=seconds, last_status=status):
                message = f"not finished after {seconds:.0f} s (last: {status})"
                error = ErrorRecord(kind="timeout", message=message)
                await self._unknown(attempt, error, task)
            case _:
                self._end("accepted")

    async def _asked_for(
        self, attempt: int, task: str, room: Lease, *, is_new: bool
    ) -> tuple[Ending, Received | None]:
        """How the Task ended, and what was kept of its result."""
        came = Came()

        async def asking() -> Answer:
            nonlocal came
            answer, came = await ask(task, self._taker, self.lane, self.context, room)
            return answer

        received: Received | None = None
        ending: Ending = Stopped()
        for _ in range(2):
            ending = await self.lane.polls.ending(task, asking, is_new=is_new)
            if not isinstance(ending, Produced):
                break
            received = None
            with self.lane.stop.breaking_off():  # the Task is on file: the next run fetches it
                received = await fetch(self.job, attempt, ending, self.context, room, came=came)
            if received is None:
                return Stopped(), None
            if not ending.pictures or (
                received.files and not (received.failed and received.failed.expired)
            ):
                break
        return ending, received

    # --- Ends of an Attempt: what it cost is settled, written and told

    async def _produced(
        self,
        attempt: int,
        produced: Produced,
        received: Received,
        reservation: Reservation,
        task: str | None = None,
    ) -> None:
        """A result that was paid for: `done` if anything of it could be kept."""
        if received.failed is not None:
            self.watch.watch_urls(received.failed, task)
            if task is not None or not received.files:
                # Paid for and still at the server: the next run asks for a Task again, and what
                # only a URL named is held, with its digest.
                error = ErrorRecord(kind=received.failed.kind, message="; ".join(received.problems))
                await self._unknown(attempt, error, task)
                return
        self.watch.compare_model(produced.model)
        for text in produced.told:
            self.watch.warn(text)
        came = delivered(received.files, len(produced.pictures), self.job.images_wanted)
        paid = self._paid(attempt, produced.usage, came)
        if paid.cost is not None:
            reservation.settle(paid.cost.money)
        if self._permit is not None:
            self._permit.used(produced.usage.total_tokens)
        if not received.files:
            await self._nothing_kept(attempt, produced, received, paid, task)
            return
        await self._done(attempt, produced, received, paid, task)

    def _paid(self, attempt: int, usage: Usage, came: Delivered) -> Paid:
        """What an answered Attempt cost, by which so many pictures came; else at least."""
        price = self._price_of(attempt)
        cost = cost_of(usage, came, self.job, price)
        least = least_of(usage, came, self.job, price) if cost is None else None
        return Paid(usage_record(usage), cost, as_amount(least))

    async def _done(
        self, attempt: int, produced: Produced, received: Received, paid: Paid, task: str | None
    ) -> None:
        """Paid for, and at least one picture of it is kept."""
        warnings = [
            *self.watch.warnings,
            *produced.warnings,
            *received.problems,
            *received.warnings,
        ]
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
        self._end("done", paid=paid, files=received.files)

    async def _not_stored(
        self, attempt: int, produced: Produced, reservation: Reservation, failed: StorageFailed
    ) -> None:
        """Paid for, and the disk takes no picture: what it cost is recorded all the same, for a
        line may still find the place that a picture does not."""
        came = Delivered(len(produced.pictures), self.job.images_wanted)
        paid = self._paid(attempt, produced.usage, came)
        if paid.cost is not None:
            reservation.settle(paid.cost.money)
        self.context.stop_run(failed)
        error = ErrorRecord(
            kind="broken_reply",
            code="disk",
            message=f"its picture was not stored: {failed.message}",
        )
        await self.log.failed(attempt, error, billed="yes", paid=paid)
        self._end("failed", paid=paid, error=error)

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
            told = f"no picture came: {produced.reason}" if produced.reason else ""
            said = told or "; ".join(produced.warnings) or "no picture came, and no reason"
            error = ErrorRecord(kind="content", message=said)
        await self.log.failed(attempt, error, billed="yes", paid=paid, task=task)
        self.watch.lost(error)
        again = self.context.again
        if not produced.pictures and not produced.is_refused and len(self._empties) < again.empties:
            self._empties.append(paid)
            again.empties_sent += 1
            self._goes_on, self._last_error = True, error
            return
        self._end("failed", paid=paid, error=error)

    async def _refused(
        self,
        attempt: int,
        rejected: Rejected,
        reservation: Reservation,
        task: str | None = None,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        """The server said no. What stops a lane or the run is not the Job's fault: not final."""
        error = error_of(rejected)
        cost = None
        if rejected.billed == "yes" and rejected.usage is not None:
            none = Delivered(0, self.job.images_wanted)
            cost = cost_of(rejected.usage, none, self.job, self._price_of(attempt))
        if rejected.billed == "no":
            reservation.settle(None)
        elif cost is not None:
            reservation.settle(cost.money)
        paid = Paid(usage_record(rejected.usage), cost)
        write = partial(
            self.log.failed, attempt, error, billed=rejected.billed, paid=paid, task=task
        )
        alike = self.watch.alike(rejected, task, partial(write, final=False))
        is_jobs_own = rejected.scope == "job" and alike is None
        await write(final=is_jobs_own)
        for take_back in alike or ():
            await take_back()
        self.watch.halt(rejected, headers)
        if rejected.billed != "no":
            self.watch.lost(error)
        self._end("failed" if is_jobs_own else "stopped", paid=paid, error=error)

    async def _unanswered(self, attempt: int, error: ErrorRecord) -> None:
        """It may have been charged. On the user's terms another Attempt follows; whether there is
        room for it is seen then."""
        self._is_unknown = True
        if not self.context.again.unknowns:
            await self._unknown(attempt, error)
            return
        await self.log.unknown(attempt, error)
        self.watch.lost(error)
        self._goes_on, self._last_error = True, error

    def _give_up(self) -> None:
        """Nothing more is sent for this Job in this run: it stands as the last Attempt left it."""
        self._goes_on = False
        if self._is_unknown:
            self._end("unknown", error=self._last_error)
        elif self._last_error is not None:
            self._end("failed", error=self._last_error)
        else:
            self._end("stopped")

    async def _unknown(self, attempt: int, error: ErrorRecord, task: str | None = None) -> None:
        await self.log.unknown(attempt, error, task)
        if task is None:
            self.watch.lost(error)
        self._end("unknown", error=error, task=task)

    async def _quarantine(self, attempt: int, came: Came) -> None:
        if not came.document:
            return
        name = f"{self.log.key}-{attempt}"

        def keep() -> None:
            body = came.whole()
            when_free(lambda: self.context.outputs.quarantine(name, body))

        async with self.context.memory.large if came.aside else nullcontext():
            await self.context.threads(keep)

    def broken_off(self, first: int) -> None:
        """Tell how a Job stands whose run is being cancelled, by what is on file since its `first`
        Attempt of this run."""
        if self._has_ended:
            return
        known = self.context.ledger.state.outcomes.get(self.log.key)
        match known.state if known is not None and known.attempt >= first else None:
            case "done" | "failed" | "unknown" | "accepted" as state:
                self._end(state)
            case _:
                self._end("stopped")

    def _end(
        self,
        ended: Ended,
        *,
        paid: Paid = NOTHING_PAID,
        files: tuple[FileRecord, ...] = (),
        error: ErrorRecord | None = None,
        task: str | None = None,
    ) -> None:
        self._has_ended = True
        shown = self.log.scrubbed(error) if error else None
        before = tuple(self._empties)
        self.context.ended(JobEnd(self.job, ended, paid, files, shown, task, before))

    # --- Between Attempts

    async def _back_off(self, retry: int, verdict: NotCharged) -> None:
        """Wait before another Attempt: as the server asks, the whole lane; else with jitter."""
        if verdict.is_overrun and self._permit is not None:
            self.lane.limiter.overrun(self._permit)
        if verdict.is_network:
            self._endpoint += 1
        asked = wait_asked(verdict.headers, verdict.wait_seconds, self.context.wall_clock())
        if asked is not None:
            self.lane.limiter.penalize(asked)
        await self.lane.stop.sleep((asked or 0.0) + backoff_seconds(retry, self.context.chance))

    def _endpoint_now(self) -> Endpoint:
        endpoints = self.context.transport.endpoints
        return endpoints[self._endpoint % len(endpoints)]

    def _tokens_expected(self) -> float:
        tokens = self.lane.capabilities.tokens
        if tokens is None:
            return 0.0
        pictures = len(self.job.pictures)
        return float(
            tokens.input_per_image * pictures + tokens.output_per_image * self.job.images_wanted
        )


def _is_dearer(one: Money | None, other: Money | None) -> bool:
    """Whether the one is more than the other, as far as they can be compared."""
    if one is None or other is None or one.currency != other.currency:
        return False
    return one.amount > other.amount
