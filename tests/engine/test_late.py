"""A lane that is counted while it is gone through: in the end its counts are those of counting it
before, whatever the ledger says, and each Job's turn comes once, what is done already last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retouch.engine import late
from retouch.engine.late import LateCount, counted, counted_late
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Choice, LaneCount, Selection, choices, tally
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.decision import NOTHING_REDONE, Redo, Send, Skip
from retouch.ledger.records import AnyRecord, FileRecord, Resolved, TaskAccepted
from retouch.ledger.state import replay
from retouch.manifest import Limits
from tests.support.ledgers import begins, done, failed, started, unknown, words_of, write
from tests.support.provider import Provider
from tests.support.workbench import GEMINI, Bench, Recorder, TestLane, lane

WHAT = ("new", "done", "gone", "failed", "billed", "unknown", "charged", "passing")
KINDS = st.lists(st.sampled_from(WHAT), min_size=1, max_size=25)


@dataclass(frozen=True, slots=True)
class Passed(TestLane):
    """A lane that can be gone through quickly, as a plan's can."""

    copies_count: int = 0
    rejected: frozenset[str] = frozenset()
    one_in: int = 1

    @classmethod
    def of(cls, given: TestLane) -> Self:
        return cls(given.model, given.capabilities, given.all_jobs)

    @property
    def plain(self) -> TestLane:
        """The same, that cannot."""
        return TestLane(self.model, self.capabilities, self.all_jobs)

    @property
    def whole_count(self) -> int:
        return self.one_in * len(self.all_jobs)

    def asked(self, limit: int | None = None) -> Any:
        raise NotImplementedError

    def jobs_but(self, is_passed: Callable[[bytes], bool]) -> Iterator[Job | None]:
        for job in self.all_jobs:
            yield None if is_passed(bytes.fromhex(job.key)) else job

    def some(self, count: int) -> Iterator[Job]:
        step = max(1, self.jobs_count // count)
        return iter(self.all_jobs[::-1][::step])


def records_of(job: Job, what: str, folder: Path) -> list[AnyRecord]:
    """What the ledger says of a Job."""
    words = words_of(job)
    began = started(0, **words)
    path = f"{job.output_path(0)}.png"
    if what == "done":
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"8 bytes.")
    file = FileRecord(
        path=path, sha256="0" * 64, bytes=8, media_type="image/png", width=1, height=1
    )
    charged = Resolved(key=job.key, attempt=1, verdict="charged", at=began.at)
    said: dict[str, list[AnyRecord]] = {
        "new": [],
        "done": [began, done(0, files=(file,), **words)],
        "gone": [began, done(0, files=(file,), **words)],
        "failed": [began, failed(0, **words)],
        "billed": [began, failed(0, "yes", **words)],
        "passing": [began, failed(0, final=False, **words)],
        "unknown": [began, unknown(0, **words)],
        "charged": [began, unknown(0, **words), charged],
    }
    return said[what]


def set_up(
    what: list[str], folder: Path, redo: Redo = NOTHING_REDONE
) -> tuple[Passed, Callable[[], Selection]]:
    """A lane of Jobs of which the ledger says so, and how each is chosen about."""
    jobs = lane(GEMINI, len(what))
    given_records: list[AnyRecord] = [begins()]
    for job, word in zip(jobs.all_jobs, what, strict=True):
        given_records += records_of(job, word, folder)

    write(folder / "ledger.jsonl", given_records)

    def selection() -> Selection:
        return Selection(read(folder / "ledger.jsonl"), Outputs(folder), redo=redo)

    return Passed.of(jobs), selection


def numbers(count: LaneCount) -> dict[str, Any]:
    """A count, but for its lane and how it came to be."""
    return {
        each.name: getattr(count, each.name) for each in fields(LaneCount) if each.name != "lane"
    }


def late_of(passed: Passed) -> LateCount:
    return LateCount(passed)


quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(KINDS, st.integers(0, 60))
@example(["done", "new", "done"], 2)  # before, between and after the two that are done
@example(["done", "new", "done"], 4)
@example(["done", "new", "done"], 5)
def test_counted_late_is_counted_before(
    tmp_path_factory: pytest.TempPathFactory, what: list[str], taken: int
) -> None:
    """However far a run came: to its end, or to some Job of either round."""
    passed, selection = set_up(what, tmp_path_factory.mktemp("late"))
    expected = numbers(tally(passed.plain, selection()))
    count = late_of(passed)
    for _, found in zip(range(taken), count.choices(selection()), strict=False):
        assert found is None or isinstance(found[0], Job)
    count.complete(selection())
    assert numbers(count) == expected
    count.complete(selection())
    assert numbers(count) == expected


@quick
@given(KINDS)
def test_every_jobs_turn_comes_once_what_is_done_last(
    tmp_path_factory: pytest.TempPathFactory, what: list[str]
) -> None:
    """In the plan's order, with the choices that looking at it before would make; None where one
    was passed over; a count is whole when the last turn has come."""
    passed, selection = set_up(what, tmp_path_factory.mktemp("late"))
    chosen = {job.key: choice for job, choice in choices(passed.plain, selection())}
    is_done = [word in ("done", "gone") for word in what]
    jobs = passed.all_jobs
    expected: list[Any] = [
        None if over else (job, chosen[job.key]) for job, over in zip(jobs, is_done, strict=True)
    ]
    expected += [(job, chosen[job.key]) for job, over in zip(jobs, is_done, strict=True) if over]
    count = late_of(passed)
    assert list(count.choices(selection())) == expected
    assert numbers(count) == numbers(tally(passed.plain, selection()))


def test_each_job_is_counted_before_its_turn(tmp_path: Path) -> None:
    """So that whoever is told of a Job finds it counted."""
    passed, selection = set_up(["failed", "done", "passing", "done"], tmp_path)
    count = late_of(passed)
    seen = [(count.failed, count.done, count.to_send) for _ in count.choices(selection())]
    assert seen == [(1, 0, 0), (1, 0, 0), (1, 0, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)]
    assert count.has_work is True


def test_a_lane_that_cannot_be_gone_through_quickly_is_not_counted_late(tmp_path: Path) -> None:
    jobs = lane(GEMINI, 1)
    selection = Selection(replay([begins()]), Outputs(tmp_path))
    with pytest.raises(TypeError, match="only a lane that can be gone through quickly"):
        next(iter(LateCount(jobs).choices(selection)))


# --- Which lanes are ---------------------------------------------------------------------------


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "LARGE", 4)


BEGUN = ["done", "new", "done", "new"]


@pytest.mark.usefixtures("_small")
def test_a_large_lane_that_was_begun_is_counted_late(tmp_path: Path) -> None:
    """Nothing of it is counted yet; how much is to be sent is told by a sample."""
    passed, selection = set_up(BEGUN, tmp_path)
    found = counted_late(passed, selection())
    assert found is not None
    assert numbers(found) == numbers(LaneCount(passed))
    assert (found.expected, found.lane, found.has_work) == (2, passed, True)
    assert len(list(found.choices(selection()))) == 6
    again = counted(passed, selection())
    assert isinstance(again, LateCount)
    assert again.expected == 2


@pytest.mark.usefixtures("_small")
def test_how_many_are_expected_is_by_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twelve Jobs four are looked at, of which three are to be sent: nine."""
    monkeypatch.setattr(late, "SAMPLE", 4)
    what = ["new"] * 12
    what[5] = "done"
    passed, selection = set_up(what, tmp_path)
    found = counted_late(passed, selection())
    assert found is not None
    assert found.expected == 9
    what[5], what[6] = "new", "done"
    passed, selection = set_up(what, tmp_path / "other")
    found = counted_late(passed, selection())
    assert found is not None
    assert found.expected == 12


def _out(job: Job) -> list[AnyRecord]:
    return [
        started(0, key=job.key, model=job.model, prompt=job.prompt.id, source=job.source.name),
        TaskAccepted(key=job.key, attempt=1, task="task-1", at=started(0).at),
    ]


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    "why",
    ["few", "copies", "blank", "tasks", "missing", "keys", "slow", "none", "none to send"],
)
def test_what_must_be_known_before_is_counted_before(tmp_path: Path, why: str) -> None:
    """Fewer Jobs, further places, a first run of all, Tasks that are out, what is asked for again,
    a stream that knows no short way, and none to send among those looked at."""
    what = {"few": ["done", "done", "new"], "none to send": ["done", "failed", "gone", "done"]}.get(
        why, BEGUN
    )
    job = lane(GEMINI, 4).all_jobs[0]
    redo = {
        "missing": Redo(missing=True), "keys": Redo(keys=frozenset({job.key})),
    }.get(why, NOTHING_REDONE)  # fmt: skip
    passed, selection = set_up(what, tmp_path, redo)
    chosen: Any = selection()
    given_lane: Any = passed
    if why == "copies":
        given_lane = replace(passed, copies_count=1)
    elif why == "blank":
        chosen = Selection(replay([begins()]), Outputs(tmp_path / "nowhere"))
    elif why == "tasks":
        chosen = Selection(replay([begins(), *_out(job)]), Outputs(tmp_path))
        assert chosen.state.tasks_out
    elif why == "slow":
        given_lane = passed.plain
    elif why == "none":
        given_lane = _Nothing.of(passed)
    assert counted_late(given_lane, chosen) is None


class _Nothing(Passed):
    """One whose Jobs hang on other sources: none can be looked at quickly."""

    def some(self, count: int) -> Iterator[Job]:
        return iter(())


@pytest.mark.usefixtures("_small")
def test_what_is_not_counted_late_is_counted(tmp_path: Path) -> None:
    passed, selection = set_up(["failed", "done", "failed", "done"], tmp_path)
    found = counted(passed, selection())
    assert type(found) is LaneCount
    assert (found.done, found.failed, found.ahead, found.is_counted) == (2, 2, 0, True)


# --- A shard's lane, of which nothing is known --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shared(Passed):
    """One in two of a plan's Jobs; notes how many were gone through."""

    one_in: int = 2
    at: list[int] = field(default_factory=list)

    @property
    def jobs_count(self) -> int:
        raise AssertionError("its Jobs are counted")

    def jobs_but(self, is_passed: Callable[[bytes], bool]) -> Iterator[Job | None]:
        for at, job in enumerate(self.all_jobs):
            self.at.append(at)
            yield None if is_passed(bytes.fromhex(job.key)) else job


def of_a_shard(folder: Path, jobs: int) -> tuple[Shared, Selection]:
    """So many Jobs, and an empty ledger."""
    return Shared.of(lane(GEMINI, jobs)), Selection(replay([begins()]), Outputs(folder))


@pytest.mark.usefixtures("_small")
def test_of_a_shard_every_job_is_new_and_none_is_counted_before(tmp_path: Path) -> None:
    """About as many as the plan has for each shard; its first Job is there before the second was
    come to."""
    shared, selection = of_a_shard(tmp_path, 6)
    found = counted(shared, selection)
    assert isinstance(found, LateCount)
    assert (found.expected, found.ahead, found.is_counted, found.has_work) == (6, 6, False, True)
    assert shared.at == []
    first = next(iter(found.choices(selection)))
    assert first == (shared.all_jobs[0], Send(1, "new"))
    assert (shared.at, found.to_send) == ([0], 1)


@quick
@given(st.integers(0, 12))
def test_a_shards_jobs_are_counted_however_far_it_came(
    tmp_path_factory: pytest.TempPathFactory, taken: int
) -> None:
    """The number that was expected is one too few: in the end there are nine, all new."""
    shared, selection = of_a_shard(tmp_path_factory.mktemp("shard"), 9)
    shared = replace(shared, copies_count=2)
    count = LateCount(shared, expected=8, is_new=True)
    turns = [found for _, found in zip(range(taken), count.choices(selection), strict=False)]
    assert (count.to_send, count.ahead) == (len(turns), max(8, len(turns)))
    for _ in "12":
        count.complete(selection)
        assert (count.to_send, count.ahead, count.is_counted) == (9, 9, True)
        assert (count.reasons, count.duplicates) == (Counter(new=9), 2)


def test_to_count_what_is_new_none_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their Keys alone: what a run did not come to nobody has sent."""
    shared, selection = of_a_shard(tmp_path, 5)
    count = LateCount(shared, expected=5, is_new=True)
    next(iter(count.choices(selection)))
    monkeypatch.setattr(Selection, "choose", pytest.fail)
    count.complete(selection)
    assert (count.to_send, count.reasons) == (5, Counter(new=5))


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("why", ["few", "rejected", "none", "all"])
def test_a_shard_of_which_much_is_known_is_counted_before(tmp_path: Path, why: str) -> None:
    """A small plan, pictures that were rejected, a shard without a Job, and the one of one."""
    shared, selection = of_a_shard(tmp_path, {"few": 1, "none": 0}.get(why, 6))
    given_lane: Any = shared
    if why == "rejected":
        given_lane = replace(shared, rejected=frozenset({shared.all_jobs[0].key}))
    elif why == "all":
        given_lane = replace(shared, one_in=1)
    elif why == "none":
        given_lane = _Empty.of(lane(GEMINI, 0))
    assert counted_late(given_lane, selection) is None


class _Empty(Shared):
    """One of many shards, to which no Job of the plan fell."""

    @property
    def whole_count(self) -> int:
        return 6


def test_what_is_done_comes_after_what_is_not(tmp_path: Path) -> None:
    """What a run waits for first: a Job that is sent."""
    passed, selection = set_up(["done", "failed", "new"], tmp_path)
    turns = [found for found in late_of(passed).choices(selection()) if found is not None]
    assert [type(choice) for _, choice in turns] == [Skip, Send, Skip]


@pytest.mark.usefixtures("_small")
def test_one_job_to_send_says_that_there_is_work(tmp_path: Path) -> None:
    """Also where the lane's end is done, and where a rejected picture is held in between."""
    passed, selection = set_up(["new", "done", "done", "done"], tmp_path)
    found = counted(passed, selection())
    assert isinstance(found, LateCount)
    assert (found.expected, found.ahead, found.is_counted) == (1, 1, False)
    again = passed.all_jobs[2].redo()
    rejected = replace(
        passed,
        all_jobs=(*passed.all_jobs[:2], again, passed.all_jobs[3]),
        rejected=frozenset({passed.all_jobs[2].key}),
    )
    held = counted(rejected, selection())
    assert isinstance(held, LateCount)
    assert [bool(turn) for turn in held.choices(selection())] == [True, False, True, False, True,
                                                                  True]  # fmt: skip
    assert numbers(held) == numbers(tally(rejected.plain, selection()))
    assert (held.rejected, held.done, held.to_send) == (1, 2, 1)


@pytest.mark.anyio
@pytest.mark.virtual_time
async def test_a_run_that_counts_late_sends_first_and_tells_the_same(in_memory: Path) -> None:
    """What is done is passed when all that is to be sent was begun; in the end every count is that
    of a run which looks at it before."""
    six = lane(GEMINI, 6, limits=Limits(concurrency=1))
    work = Bench(in_memory, Provider())
    await work.run([replace(six, all_jobs=six.all_jobs[::2])])
    passed = Passed.of(six)
    count = late_of(passed)
    work.late = (LateCount(Passed.of(lane(GEMINI, 1))), count)
    noting = _Noting()
    work.observer = noting
    summary = await work.run([passed])
    assert noting.events == [
        "began 1.png", "began 3.png", "began 5.png", "passed 0.png", "passed 2.png", "passed 4.png",
    ]  # fmt: skip
    assert (summary.passed, summary.ended) == (Counter(done=3), Counter(done=3))
    assert (count.done, count.to_send) == (3, 3)
    assert len(work.provider.posts) == 6


@dataclass(slots=True)
class _Noting(Recorder):
    """Notes what is begun and what is passed, in order."""

    events: list[str] = field(default_factory=list)

    def began(self, job: Job) -> None:
        self.events.append(f"began {job.source.name}")

    def passed(self, job: Job, choice: Choice) -> None:
        self.events.append(f"passed {job.source.name}")
