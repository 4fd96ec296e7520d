"""What is out and not in the plan: the ledger, not the manifest, says what may have been charged.

Jobs whose prompt was reworded, whose model or source was removed, are gathered in lanes of their
own: their Tasks are polled, the others are held and said.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from retouch.dialects.base import Capabilities, Dialect
from retouch.engine.selection import JobStream
from retouch.job import Job
from retouch.ledger.decision import Poll
from retouch.ledger.on_file import JobOnFile, job_on_file
from retouch.ledger.state import Replay, open_keys
from retouch.manifest import Model


@runtime_checkable
class NamedStream(Protocol):
    """A stream of which the Jobs of some sources can be asked for."""

    def jobs_of(self, names: Container[str]) -> Iterator[Job]:
        """The Jobs whose source is so named, or none where that is not known quickly."""


@dataclass(frozen=True, slots=True)
class LaneOnFile:
    """The open Jobs of one model that the plan does not name."""

    model: Model
    capabilities: Capabilities
    on_file: tuple[JobOnFile, ...]

    @property
    def jobs_count(self) -> int:
        return len(self.on_file)

    @property
    def copies_count(self) -> int:
        return 0

    def jobs(self) -> Iterator[Job]:
        """The Jobs, in the ledger's order."""
        return iter(self.on_file)

    def copies(self) -> Iterator[Job]:
        """None: what is out is delivered to the one place on file."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Outside:
    """What is open outside the plan: `lanes` of it, how many `tasks` are on file and how many
    Jobs are `held`."""

    lanes: tuple[LaneOnFile, ...] = ()
    tasks: int = 0
    held: int = 0

    @property
    def jobs_count(self) -> int:
        return self.tasks + self.held


def outside_of(
    lanes: Iterable[JobStream], state: Replay, models: Mapping[str, Model], dialect: Dialect
) -> Outside:
    """What is open and none of `lanes` names; `models` are the manifest's, by name."""
    left = open_keys(state)
    lanes = tuple(lanes)
    on_file = {key: job_on_file(key, state.outcomes[key], state.accepted.get(key)) for key in left}
    names = frozenset(each.source.name for each in on_file.values() if each is not None)
    for lane in lanes if names else ():
        if isinstance(lane, NamedStream):  # few of a million Jobs: those of the sources on file
            for job in lane.jobs_of(names):
                left.pop(job.key, None)
    for lane in lanes:
        if not left:
            return Outside()
        for job in lane.jobs():
            left.pop(job.key, None)
    by_model: dict[str, list[JobOnFile]] = {}
    for key in left:
        known = on_file[key]
        if known is not None:
            by_model.setdefault(known.model, []).append(known)
    tasks = sum(isinstance(decision, Poll) for decision in left.values())
    return Outside(
        tuple(
            LaneOnFile(
                models.get(name) or Model(model=name), dialect.capabilities(name), tuple(jobs)
            )
            for name, jobs in by_model.items()
        ),
        tasks,
        len(left) - tasks,
    )
