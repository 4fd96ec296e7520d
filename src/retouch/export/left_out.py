"""What an export had to leave out, and why: counted, with the whole list at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from retouch.job import Job

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Missing:
    """One picture that is not in the data set. The key is None for an original."""

    reason: str
    name: str
    key: str | None = None
    model: str | None = None
    prompt: str | None = None


@dataclass(slots=True)
class LeftOut:
    """`incomplete` pictures are not at hand (yet), `misplaced` ones have labels that could not
    follow them; `rejected` ones are meant to be left out."""

    incomplete: list[Missing] = field(default_factory=list)
    misplaced: list[Missing] = field(default_factory=list)
    rejected: int = 0

    def add(self, reason: str, name: str, job: Job | None = None) -> None:
        """A picture that is not at hand."""
        self.incomplete.append(_missing(reason, name, job))

    def misplace(self, reason: str, name: str, job: Job | None) -> None:
        """A picture whose labels could not follow it."""
        self.misplaced.append(_missing(reason, name, job))

    def told(self) -> list[str]:
        """A line a reason: how many, and the first few by name."""
        grouped: dict[str, list[str]] = {}
        for each in (*self.incomplete, *self.misplaced):
            grouped.setdefault(each.reason, []).append(each.name)
        lines = []
        for reason, names in grouped.items():
            shown = ", ".join(names[:EXAMPLES])
            more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
            lines.append(f"{len(names):,} left out: {reason}: {shown}{more}")
        return lines


def _missing(reason: str, name: str, job: Job | None) -> Missing:
    if job is None:
        return Missing(reason, name)
    return Missing(reason, name, job.key, job.model, job.prompt.id)
