"""Jobs as the ledger has them, for what is out and no manifest names any more.

A Task that was accepted is fetched whatever became of its prompt, its model or its source: what
that needs is on file. Such a Job is never sent: what it asked for is not known in full.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from retouch.job import Job, Picture, Prompt, Source, Terms
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import Started, TaskAccepted, TermsRecord, Unknown


@dataclass(frozen=True, slots=True)
class JobOnFile(Job):
    """A Job known by its Records alone; its Key is the recorded one."""

    recorded_key: str = ""

    @property
    def key(self) -> str:
        return self.recorded_key


def job_on_file(key: str, outcome: Outcome, accepted: TaskAccepted | None) -> JobOnFile | None:
    """The Job of an open Outcome; None where no Record says what it was."""
    said = outcome.began or outcome.decided
    if not isinstance(said, Started | Unknown):
        return None
    terms = said.terms if isinstance(said, Started) else None
    stem = posixpath.splitext(said.source)[0].replace("{", "_").replace("}", "_")
    return JobOnFile(
        model=said.model,
        prompt=Prompt(said.prompt, ""),
        source=Source(said.source, Picture("")),
        terms=_terms(terms),
        repeat=accepted.repeat if accepted else 0,
        output=(accepted.output if accepted else "")
        or f"images/{said.model}/{said.prompt}/{stem}-{{index}}",
        recorded_key=key,
        lane=(said.lane or "") if isinstance(said, Started) else "",
    )


def _terms(said: TermsRecord | None) -> Terms:
    """What a price looks at."""
    if said is None:
        return Terms()
    return Terms(said.n, said.size, said.quality, said.aspect_ratio)
