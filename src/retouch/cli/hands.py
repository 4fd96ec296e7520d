"""What a worker of a cluster does: one shard of a run after the other, by what the holder lends.

It reads the manifest and plans as the driver did, on the same files: what it finds otherwise is
refused, for a ledger on a disk of its own would be another truth. All it says goes to the driver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from retouch import __version__
from retouch.cli.connection import connect, connections_allowed
from retouch.cli.mirroring import kept_up, mirrored
from retouch.cli.running import begins, concurrency_of, ends, resources_of
from retouch.cli.sharding import Split
from retouch.cli.workspace import Workspace, make_plan, open_workspace, outside_plan
from retouch.cluster import Shard
from retouch.cluster.link import Link
from retouch.cluster.ray import ShardEnd
from retouch.cluster.sharing import SharedPurse, Sharing, settle_lost
from retouch.cluster.wire import BUDGET, Begun, Reason, Reply, Report
from retouch.engine.batch import Batch
from retouch.engine.budget import Cap, Purse
from retouch.engine.context import JobEnd
from retouch.engine.late import counted_late
from retouch.engine.mirror import Mirror
from retouch.engine.mirror import told as what_was_copied
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Choice, JobStream, Selection, open_shelves
from retouch.engine.summary import RunOptions, Summary
from retouch.errors import InputRefused, Interrupted, Refused, RetouchError, gravest
from retouch.job import Job
from retouch.ledger import Ledger, open_ledger
from retouch.ledger.decision import Redo
from retouch.storage.lock import Hold, exclusive
from retouch.transport import open_transport

if TYPE_CHECKING:
    from retouch.plan import Plan

T = TypeVar("T")
MARK = ".cluster"  # in the outputs folder while a run goes on: which one, for its workers to see
# A worker that was lost and is alive (a cut network) ends what it has in flight before it lets its
# shard go; one that died with its machine holds it until its lease on the file system has run out.
LOCK_SECONDS = 60.0
_LOCK_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the driver tells every worker of a run. Paths are absolute; `limits`: how many jobs a
    shard may send, by its number."""

    manifest: Path
    sha256: str
    outputs: Path
    rehearse: bool
    run: str
    shards: int
    jobs: int
    redo: Redo
    caps: tuple[Cap, ...]
    url_map: tuple[str, ...] = ()
    is_virtual: bool = False
    has_mirror: bool = True
    limits: Mapping[int, int] | None = None
    version: str = __version__


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What a shard's run did, as far as its events do not tell. `again`: what was paid for again,
    and could not be (jobs, held, empties), `spent` for it. `is_mirrored`: the mirror, if there is
    one, has all."""

    passed: Counter[str]
    stopped: RetouchError | None
    lane_stops: dict[str, RetouchError]
    again: tuple[int, int, int]
    spent: Decimal
    is_mirrored: bool = True

    @classmethod
    def of(cls, summary: Summary, *, is_mirrored: bool) -> ShardSummary:
        """The part of it that is told."""
        again = summary.again
        spent = again.spent.amount if again.spent else Decimal(0)
        counts = (again.jobs, again.held, again.empties_sent)
        stops = summary.lane_stops
        return cls(summary.passed, summary.stopped, stops, counts, spent, is_mirrored)

    def add_to(self, whole: Summary, reasons: list[RetouchError]) -> None:
        """Add it to what all did; why it stopped, to the reasons."""
        whole.passed += self.passed
        whole.lane_stops |= self.lane_stops
        again = whole.again
        again.jobs += self.again[0]
        again.held += self.again[1]
        again.empties_sent += self.again[2]
        for cap in again.purse.caps:
            cap.counted += self.spent
        if self.stopped is not None:
            reasons.append(self.stopped)


@dataclass(slots=True)
class Teller:
    """An Observer that tells the driver."""

    link: Link

    def began(self, job: Job) -> None:
        """Nothing to tell: a Job counts when it ends."""

    def ended(self, end: JobEnd) -> None:
        """One more Job."""
        self.link.event(end)

    def passed(self, job: Job, choice: Choice) -> None:
        """The driver has counted them."""

    def said(self, text: str) -> None:
        """A line for people."""
        self.link.event(text)


@dataclass(slots=True)
class ShardHands:
    """A worker's hands (see `retouch.cluster.ray.Hands`)."""

    order: Order
    _whole: Workspace | None = field(default=None, init=False)
    _plan: Plan | None = field(default=None, init=False)
    _environment: Mapping[str, str] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Read the manifest and plan. Raises RetouchError where it is not what the driver has."""
        order = self.order
        self._environment = environment
        if order.version != __version__:
            raise Refused(f"a worker has retouch {__version__}, not {order.version} as the driver")
        try:
            whole = open_workspace(order.manifest, order.outputs, rehearse=order.rehearse)
            marked = (whole.folder / MARK).read_text()
        except (OSError, InputRefused) as error:
            raise Refused(
                f"a worker does not see what the driver does: {error}", hint=_HINT
            ) from None
        if marked != order.run:
            raise Refused(f"a worker has another {whole.folder} than the driver", hint=_HINT)
        self._plan, self._whole = make_plan(whole), whole
        jobs = sum(lane.jobs_count for lane in self._plan.lanes)
        if whole.loaded.sha256 != order.sha256 or jobs != order.jobs:
            raise Refused(
                "a worker finds another manifest or other sources than the driver", hint=_HINT
            )

    async def work(
        self, shard: int, exchange: Callable[[Report], Awaitable[Reply]], begun: Begun
    ) -> ShardEnd:
        """Do one shard; whatever stops it is told in its end."""
        if self._whole is None or self._plan is None:
            raise RuntimeError("not prepared")
        split = Split(Shard(shard, self.order.shards), has_whole=True)
        work = _ShardWork(
            self.order, split, split.workspace(self._whole), self._plan, self._environment
        )
        link = Link(exchange, shard, begun)
        try:
            async with anyio.create_task_group() as group:
                await group.start(partial(_kept_up, link))
                try:
                    with await _patient(work.workspace, link) as hold:
                        summary = await work.do(hold, link)
                finally:
                    with anyio.CancelScope(shield=True):
                        await link.close()
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            known = gravest(errors)
            if known is None:
                raise
            return ShardEnd(shard, error=Reason.of(known))
        return ShardEnd(shard, summary)


_HINT = (
    "a cluster's workers need the manifest, its sources and the outputs folder on one file system"
)


async def _kept_up(link: Link, *, task_status: Any) -> None:
    await link.run(task_status=task_status)


async def _patient(workspace: Workspace, link: Link) -> _Entered[Hold]:
    """The shard's lock; whoever had it before may need a while to let it go."""
    timeout = workspace.loaded.manifest.run.timeout
    until = anyio.current_time() + timeout + LOCK_SECONDS
    while True:
        try:
            return await _entered(exclusive(workspace.folder, part=workspace.part))
        except Refused:
            if anyio.current_time() > until or link.is_lost:
                raise
            await anyio.sleep(_LOCK_LOOK_SECONDS)


async def _entered(context: AbstractContextManager[T]) -> _Entered[T]:
    """A context that was entered in a thread: it may have to wait for a disk or a bucket, and the
    holder is to hear of the worker meanwhile."""
    return _Entered(context, await anyio.to_thread.run_sync(context.__enter__))


@dataclass(frozen=True, slots=True)
class _Entered(Generic[T]):
    context: AbstractContextManager[T]
    value: T

    def __enter__(self) -> T:
        return self.value

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self.context.__exit__(kind, error, trace)


@dataclass(frozen=True, slots=True)
class _ShardWork:
    """One shard, from its ledger's opening to its end."""

    order: Order
    split: Split
    workspace: Workspace
    plan: Plan
    environment: Mapping[str, str] = field(repr=False)

    async def do(self, hold: Hold, link: Link) -> ShardSummary:
        """As a run on one machine does, with what the holder lends."""
        told, order = Teller(link), self.order
        wanted = order.has_mirror
        begun = mirrored(self.workspace, rehearse=order.rehearse, wanted=wanted, say=told.said)
        with await _entered(begun) as mirror:
            summary = await self._sent(hold, link, told, mirror)
            is_whole = mirror is None or await self._mirror_closed(mirror, summary, told)
        return ShardSummary.of(summary, is_mirrored=is_whole)

    async def _mirror_closed(self, mirror: Mirror, summary: Summary, told: Teller) -> bool:
        mirror.say = told.said
        is_quick = isinstance(summary.stopped, Interrupted)
        copied = await anyio.to_thread.run_sync(partial(mirror.finish, quick=is_quick))
        for line in what_was_copied(mirror, copied):
            told.said(line)
        return not (copied.left or copied.other)

    async def _sent(self, hold: Hold, link: Link, told: Teller, mirror: Mirror | None) -> Summary:
        workspace = self.workspace
        to_do = self.split.plan(self.plan, workspace)
        async with open_ledger(
            workspace.ledger, self.order.run, hold=hold, say=told.said, keeps=self.split.shard.owns
        ) as ledger:
            link.state = ledger.state
            settle_lost(link, ledger.state)
            selection = Selection(
                ledger.state,
                Outputs(workspace.folder),
                open_shelves(workspace.loaded.manifest.reuse, workspace.loaded.folder),
                self.order.redo,
            )
            outside = outside_plan(workspace, to_do, ledger.state)
            lanes: tuple[JobStream, ...] = (*to_do.lanes, *outside.lanes)
            summary = await self._work(ledger, selection, lanes, told, mirror)
            if ledger.taken is not None:
                summary.stopped = summary.stopped or ledger.taken
                if mirror is not None:
                    mirror.abandon()
            return summary

    async def _work(
        self,
        ledger: Ledger,
        selection: Selection,
        lanes: tuple[JobStream, ...],
        told: Teller,
        mirror: Mirror | None,
    ) -> Summary:
        workspace, order, link = self.workspace, self.order, told.link
        connection = connect(workspace, self.environment, order.url_map)
        concurrency = concurrency_of(workspace)
        connections = None if workspace.is_rehearsal else connections_allowed(concurrency)
        async with open_transport(
            connection, concurrency=concurrency, connections=connections
        ) as transport:
            caps = list(order.caps)
            budget = SharedPurse(link, BUDGET, caps) if caps else Purse()
            limit = (
                order.limits.get(self.split.shard.index, 0) if order.limits is not None else None
            )
            batch = Batch(
                lanes=lanes,
                selection=selection,
                resources=resources_of(
                    workspace,
                    self.plan,
                    transport,
                    ledger,
                    budget=budget,
                    secrets=connection.secrets,
                    mirror=mirror,
                    sharing=Sharing(link),
                ),
                run_options=RunOptions(limit),
                observer=told,
                late=[late for lane in lanes if (late := counted_late(lane, selection))],
            )
            await begins(
                ledger, workspace, self.plan, self.environment, is_virtual=order.is_virtual
            )
            async with kept_up(mirror, ledger, batch, told.said):
                summary = await _until_stopped(batch, link)
            await ends(ledger, summary)
            return summary


async def _until_stopped(batch: Batch, link: Link) -> Summary:
    """Run the batch; what stops it elsewhere stops it here, and the other way round."""

    def stops() -> list[tuple[str | None, RetouchError]]:
        whole = batch.summary.stopped
        found: list[tuple[str | None, RetouchError]] = list(batch.lane_stops.items())
        return [*found, (None, whole)] if whole is not None else found

    def on_stop(lane: str | None, reason: RetouchError) -> None:
        if lane is None:
            batch.stop(reason)
        else:
            batch.stop_lane(lane, reason)

    async with anyio.create_task_group() as group:
        link.watch(stops, on_stop, group.cancel_scope.cancel)
        await batch.run()
        group.cancel_scope.cancel()
    link.watch(stops, lambda _lane, _reason: None, lambda: None)
    return batch.summary


@contextmanager
def marked(folder: Path, run: str) -> Iterator[None]:
    """A run's mark in its outputs folder while the block runs."""
    path = folder / MARK
    path.write_text(run)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
