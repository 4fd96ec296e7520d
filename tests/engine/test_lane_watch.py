"""What answers say of a lane: each stop with its words and what to do, and what is told of the
server, once. The lane's parts are real; the run is a list of what it is told. In virtual time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from retouch.dialects.base import Rejected
from retouch.engine.breaker import REFUSALS_ALIKE, Losses
from retouch.engine.classify import NotCharged
from retouch.engine.context import Context, LaneTools
from retouch.engine.lane_watch import LaneWatch, is_same_model
from retouch.engine.limiter import Limiter, Stop
from retouch.engine.pacing import PollPace
from retouch.engine.polling import Polls
from retouch.engine.recorder import Recorder
from retouch.errors import Refused, RetouchError, WorkRefused
from retouch.ledger.records import ErrorRecord
from retouch.transport import DownloadFailed
from tests.support.workbench import CANARY, GEMINI, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
BUSY = NotCharged(ErrorRecord(kind="transient", status=503, message=f"busy {CANARY}"))
SCRUBBED = "busy [secret]"


@dataclass
class Watched:
    """A lane, and what its run is told."""

    endpoints: int = 1
    patience: float = 600.0
    losses: int = 3
    said: list[str] = field(default_factory=list)
    stopped: list[RetouchError] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        given = lane(GEMINI, 1)
        polls = Polls(PollPace(1.0), 60.0, self.stop, random.Random(1))
        self.tools = LaneTools(
            given.model, lambda _: None, given.capabilities, Limiter(given.model.limits), polls,
            Losses(self.losses), self.stop,
        )  # fmt: skip
        self.context = cast("Context", SimpleNamespace(
            transport=SimpleNamespace(endpoints=[None] * self.endpoints),
            settings=SimpleNamespace(stop_after_outage=self.patience),
            say=self.said.append, stop_run=self.stopped.append, wall_clock=lambda: NOW,
        ))  # fmt: skip
        self.job = given.all_jobs[0]

    @property
    def watch(self) -> LaneWatch:
        """One Job's."""
        log = Recorder(self.job, cast("Any", None), None, (CANARY,))
        return LaneWatch(self.job, self.tools, self.context, log)

    @property
    def reason(self) -> tuple[type, str, str] | None:
        """Why the lane was stopped: the error's kind, message and hint."""
        return _told(self.stop.reason)

    async def unserved(self, verdict: NotCharged = BUSY) -> None:
        """One more request that left just now and was not served."""
        permit = await self.tools.limiter.permit(self.stop)
        if permit is not None:
            permit.leaves()
            await anyio.sleep(0.5)
            self.watch.unserved(verdict, permit)


def _told(error: RetouchError | None) -> tuple[type, str, str] | None:
    return None if error is None else (type(error), error.message, error.hint)


def rejected(**more: Any) -> Rejected:
    said: dict[str, Any] = {
        "kind": "bad_request", "status": 400, "code": None, "message": f"no {CANARY}"
    }  # fmt: skip
    return Rejected(**(said | more))


# --- Outages -------------------------------------------------------------------------------------


async def test_an_outage_is_told_at_its_third_probe_and_ends_the_lane() -> None:
    """Once, with how long it is waited for; then with what to do: nothing was charged."""
    watched = Watched(patience=150.0)
    watched.tools.limiter.answered()
    began = anyio.current_time()
    told_at = 0.0
    while not watched.stop:
        await watched.unserved()
        told_at = told_at or (anyio.current_time() - began if watched.said else 0.0)
    said = f"{GEMINI}: nothing is served any more ({SCRUBBED})"
    assert watched.said == [f"{said}; asking now and then, for 2 min at most"]
    assert 5 < told_at < 120
    assert watched.reason == (
        WorkRefused, said, "nothing was charged for it; run again when the server is back"
    )  # fmt: skip
    assert 150 < anyio.current_time() - began < 300
    assert watched.stopped == []


async def test_a_limit_that_is_kept_is_waited_for_as_long_as_is_set() -> None:
    """Though nothing was ever served: the server is there."""
    limit = NotCharged(ErrorRecord(kind="rate", status=429, message="slower"))
    for verdict, least in ((limit, 600), (BUSY, 55)):
        watched = Watched(patience=600.0)
        began = anyio.current_time()
        while not watched.stop:
            await watched.unserved(verdict)
        assert least <= anyio.current_time() - began <= least + 130


async def test_a_certificate_that_is_refused_is_no_outage() -> None:
    """Of the only endpoint: the run stops at once, and nothing is told of an outage. Where there is
    another one, that is asked."""
    distrusted = NotCharged(
        ErrorRecord(kind="network", message="certificate of example.com refused"),
        is_distrusted=True,
    )
    watched = Watched()
    await watched.unserved(distrusted)
    assert list(map(_told, watched.stopped)) == [
        (WorkRefused, "certificate of example.com refused", "nothing was sent; run again then")
    ]
    assert watched.tools.limiter.outage.probes == 0
    watched = Watched(endpoints=2)
    for _ in range(20):
        await watched.unserved(distrusted)
    assert watched.stopped == []
    assert watched.tools.limiter.outage.probes > 0


# --- Losses and refusals ---------------------------------------------------------------------


async def test_too_many_losses_in_a_row_stop_the_lane() -> None:
    watched = Watched(losses=3)
    error = ErrorRecord(kind="broken_reply", message=f"cut {CANARY}")
    for lost in range(3):
        assert watched.reason is None, lost
        watched.watch.lost(error)
    assert watched.reason == (
        WorkRefused,
        f"{GEMINI}: 3 answers in a row may have been charged for no picture (last: cut [secret])",
        "`retouch status` tells what is unknown, `retouch resolve` settles it; `run: "
        "{stop_after_losses: N}` allows for more",
    )
    watched = Watched(losses=2)
    for _ in range(5):
        watched.watch.lost(error)
        watched.tools.losses.gained()
    assert watched.reason is None


def takes_back(number: int) -> Any:
    """Stands for a Record that is written over."""

    async def write() -> None:
        raise AssertionError(number)

    return write


async def test_refusals_alike_stop_the_lane_and_are_taken_back() -> None:
    """All but one's own, which is not written yet; each that was out with them, by itself."""
    watched = Watched()
    writes = [takes_back(number) for number in range(REFUSALS_ALIKE + 1)]
    for write in writes[: REFUSALS_ALIKE - 1]:
        assert watched.watch.alike(rejected(), None, write) is None
    assert watched.reason is None
    found = watched.watch.alike(rejected(), None, writes[REFUSALS_ALIKE - 1])
    assert found == tuple(writes[: REFUSALS_ALIKE - 1])
    assert watched.reason == (
        WorkRefused,
        f"{GEMINI}: {REFUSALS_ALIKE} refusals alike and nothing served (last: no [secret])",
        "nothing was charged; correct what they share, those jobs are sent again",
    )
    assert watched.watch.alike(rejected(), None, writes[-1]) == ()


@pytest.mark.parametrize(
    ("more", "task"),
    [({"scope": "lane"}, None), ({"scope": "run"}, None), ({"billed": "yes"}, None),
     ({"billed": "unknown"}, None), ({"kind": "content"}, None), ({}, "task-1")],
)  # fmt: skip
async def test_what_is_not_the_requests_own_fault_counts_for_no_likeness(
    more: dict[str, Any], task: str | None
) -> None:
    """What was charged, what was content, what a Task came to, what stops more than a Job."""
    watched = Watched()
    for number in range(REFUSALS_ALIKE + 5):
        assert watched.watch.alike(rejected(**more), task, takes_back(number)) is None
    assert watched.reason is None


async def test_refusals_differ_by_their_words() -> None:
    watched = Watched()
    for number in range(REFUSALS_ALIKE - 1):
        for message in ("one", "other", "third"):
            refusal = rejected(message=message)
            assert watched.watch.alike(refusal, None, takes_back(number)) is None
    assert watched.reason is None


@pytest.mark.parametrize(
    ("scope", "kind", "error"),
    [("run", "auth", Refused), ("run", "balance", WorkRefused), ("lane", "auth", Refused),
     ("lane", "quota", WorkRefused), ("job", "auth", None)],
)  # fmt: skip
async def test_the_first_word_that_it_cannot_go_on_stops_the_run_or_the_lane(
    scope: str, kind: str, error: type | None
) -> None:
    """A wrong key leaves Tasks too; else results are still fetched."""
    watched = Watched()
    watched.watch.halt(rejected(scope=scope, kind=kind))
    expected = (error, f"{GEMINI}: no [secret]", "")
    assert list(map(_told, watched.stopped)) == ([expected] if scope == "run" else [])
    assert watched.reason == (expected if scope == "lane" else None)


@pytest.mark.parametrize(
    ("headers", "wait", "when"),
    [({"retry-after": "18000"}, None, "2026-11-01 13:00"), ({}, 86_400.0, "2026-11-02 08:00"),
     ({}, 9e9, "2026-12-02 08:00"), ({}, None, None)],
)  # fmt: skip
async def test_when_to_come_back_is_told(
    headers: dict[str, str], wait: float | None, when: str | None
) -> None:
    """By its headers or in its words; a month at most."""
    watched = Watched()
    watched.watch.halt(rejected(scope="lane", kind="quota", wait_seconds=wait), headers)
    reason = watched.reason
    assert reason is not None
    hint = f"the server says to come back after {when} UTC; run again then" if when else ""
    assert reason[2] == hint


async def test_results_that_are_never_fetched_stop_the_lane() -> None:
    """Unless they are a Task's, which stay at the server."""
    barred = DownloadFailed("broken_reply", None, f"file:// {CANARY}", barred=True)
    watched = Watched()
    watched.watch.watch_urls(barred, "task-1")
    watched.watch.watch_urls(DownloadFailed("network", None, "no answer"), None)
    assert watched.reason is None
    watched.watch.watch_urls(barred, None)
    assert watched.reason == (
        WorkRefused,
        f"{GEMINI}: its results cannot be fetched (file:// [secret])",
        "`options: {response_format: b64_json}` has pictures sent in the reply itself",
    )


# --- What is told of the server ------------------------------------------------------------------


async def test_a_word_is_told_once_a_lane_and_stands_in_every_jobs_record() -> None:
    """By its text, or by what it is of."""
    watched = Watched()
    first, second = watched.watch, watched.watch
    for watch in (first, second):
        watch.warn("one thing")
        watch.warn(f"of {id(watch)}", once="things of a kind")
    assert watched.said == [f"{GEMINI}: one thing", f"{GEMINI}: of {id(first)}"]
    assert first.warnings == ["one thing", f"of {id(first)}"]
    assert second.warnings == ["one thing", f"of {id(second)}"]


async def test_another_model_than_was_asked_for_is_said() -> None:
    watched = Watched()
    for named in ("", GEMINI, f"google/{GEMINI}", f"{GEMINI}-preview"):
        watched.watch.compare_model(named)
    assert watched.said == []
    for _ in range(2):
        watch = watched.watch
        watch.compare_model("flux-1")
        assert watch.warnings == [f"the server says that flux-1 made it, not {GEMINI}"]
    assert watched.said == [f"{GEMINI}: the server says that flux-1 made it, not {GEMINI}"]


@pytest.mark.parametrize(
    ("named", "is_same"),
    [("kling-v2", True), ("KLING-V2", True), ("seller/kling-v2", True), ("a/b/kling-v2", True),
     ("kling-v2-2026-01-01", True), ("kling-v2@latest", True), ("kling-v2:exp", True),
     ("kling-v2-0613-preview", True), ("kling-v2-stable", True), ("kling-v2-master", False),
     ("kling-v21", False), ("kling", False), ("kling-v", False), ("other", False),
     ("kling-v2-", False), ("kling-v2/other", False)],
)  # fmt: skip
async def test_a_model_is_the_same_of_whatever_edition(named: str, *, is_same: bool) -> None:
    """A date or a stage; whichever of both names is the longer one."""
    assert is_same_model("kling-v2", named) is is_same
    assert is_same_model(named, "kling-v2") is is_same
