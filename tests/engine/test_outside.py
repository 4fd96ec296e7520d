"""What is out and in no plan: each open Job of the ledger is in a lane of its model's, held or
polled, unless the plan names it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from retouch.engine.outside import LaneOnFile, Outside, outside_of
from retouch.job import Job, Picture
from retouch.ledger.on_file import JobOnFile
from retouch.ledger.records import AnyRecord, TaskAccepted
from retouch.ledger.state import Replay, replay
from retouch.manifest import Limits, Model
from tests.support.ledgers import begins, done, failed, started, unknown, words_of
from tests.support.workbench import GEMINI, KLING, TestLane, dialect_of, lane

DIALECT = dialect_of(GEMINI)


def out(job: Job, task: str = "task-1") -> list[AnyRecord]:
    """A Task was accepted."""
    accepted = TaskAccepted(
        key=job.key, attempt=1, task=task, output="images/x/{index}", repeat=3, at=started(0).at
    )
    return [started(0, **words_of(job)), accepted]


def lost(job: Job) -> list[AnyRecord]:
    """Unknown whether it was charged."""
    return [started(0, **words_of(job)), unknown(0, **words_of(job))]


def state_of(*records: list[AnyRecord]) -> Replay:
    return replay([begins(), *(each for some in records for each in some)])


def found(state: Replay, *lanes: Any, models: dict[str, Model] | None = None) -> Outside:
    return outside_of(lanes, state, models or {}, DIALECT)


GEMINIS, KLINGS = lane(GEMINI, 4), lane(KLING, 2)


def test_what_is_open_and_not_planned_is_found_by_model() -> None:
    """Tasks and what is held, in the ledger's order, each with what its Records say."""
    one, two, three, four = GEMINIS.all_jobs
    kling = KLINGS.all_jobs[0]
    state = state_of(
        out(one), lost(kling), lost(two),
        [started(0, **words_of(three)), done(0, **words_of(three))],
        [started(0, **words_of(four)), failed(0, **words_of(four))],
    )  # fmt: skip
    known = Model(model=GEMINI, limits=Limits(concurrency=3))
    result = found(state, models={GEMINI: known})
    assert (result.tasks, result.held, result.jobs_count) == (1, 2, 3)
    first, second = result.lanes
    assert (first.model, second.model) == (known, Model(model=KLING))
    assert first.capabilities == DIALECT.capabilities(GEMINI)
    assert second.capabilities == DIALECT.capabilities(KLING)
    assert first.on_file == (
        JobOnFile(
            model=GEMINI, prompt=replace(one.prompt, text=""),
            source=replace_picture(one), repeat=3, output="images/x/{index}",
            recorded_key=one.key,
        ),
        JobOnFile(
            model=GEMINI, prompt=replace(two.prompt, text=""), source=replace_picture(two),
            output=f"images/{GEMINI}/white/1-{{index}}", recorded_key=two.key,
        ),
    )  # fmt: skip
    assert [job.key for job in second.jobs()] == [kling.key]


def replace_picture(job: Job) -> Any:
    return type(job.source)(job.source.name, Picture(""))


def test_what_the_plan_names_is_not_outside() -> None:
    """In whichever of its lanes."""
    one, two, *_ = GEMINIS.all_jobs
    kling = KLINGS.all_jobs[0]
    state = state_of(out(one), lost(two), lost(kling))
    assert found(state, GEMINIS, KLINGS) == Outside()
    only = found(state, GEMINIS)
    assert (only.tasks, only.held) == (0, 1)
    assert [job.key for each in only.lanes for job in each.jobs()] == [kling.key]
    short = replace(GEMINIS, all_jobs=GEMINIS.all_jobs[1:])
    assert [each.model.model for each in found(state, short, KLINGS).lanes] == [GEMINI]
    assert found(state, short, KLINGS).tasks == 1
    assert found(state_of(), GEMINIS) == Outside()


@dataclass(frozen=True, slots=True)
class Named(TestLane):
    """A lane that can be asked for the Jobs of some sources; how it is gone through is noted."""

    asked: list[Any] = field(default_factory=list)

    def jobs(self) -> Iterator[Job]:
        self.asked.append("all")
        return iter(self.all_jobs)

    def jobs_of(self, names: Container[str]) -> Iterator[Job]:
        self.asked.append(names)
        return (job for job in self.all_jobs if job.source.name in names)


def test_of_many_jobs_those_of_the_sources_on_file_are_looked_at_alone() -> None:
    """All are, where something is left that the sources do not explain."""
    one, two, *_ = GEMINIS.all_jobs
    named = Named(GEMINIS.model, GEMINIS.capabilities, GEMINIS.all_jobs)
    assert found(state_of(out(one), lost(two)), named) == Outside()
    assert named.asked == [frozenset({"0.png", "1.png"})]
    named = Named(GEMINIS.model, GEMINIS.capabilities, GEMINIS.all_jobs)
    kling = KLINGS.all_jobs[1]
    result = found(state_of(lost(kling)), named, KLINGS)
    assert result == Outside()
    assert named.asked == [frozenset({"1.png"}), "all"]
    assert found(state_of(), named) == Outside()
    assert named.asked == [frozenset({"1.png"}), "all"]


def test_what_no_record_names_is_held_and_in_no_lane() -> None:
    """Its key alone is known: a ledger whose first lines were lost."""
    job = GEMINIS.all_jobs[0]
    accepted = TaskAccepted(key=job.key, attempt=1, task="task-1", at=started(0).at)
    result = found(state_of([accepted]))
    assert result.lanes == ()
    assert result.jobs_count == 1


def test_a_lane_on_file_is_gone_through_as_any() -> None:
    """And has no further places."""
    on_file = tuple(JobOnFile(
        model=job.model, prompt=job.prompt, source=job.source, recorded_key=job.key
    ) for job in GEMINIS.all_jobs)  # fmt: skip
    given = LaneOnFile(GEMINIS.model, GEMINIS.capabilities, on_file)
    assert given.jobs_count == 4
    assert tuple(given.jobs()) == on_file
    assert list(given.copies()) == []
    assert Outside((), 2, 3).jobs_count == 5
