"""Where a cost belongs: the dimensions that it can be reviewed by, and the period reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Dimension = Literal["model", "prompt", "label", "source", "day", "run"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Grouping = tuple[Dimension, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """Days (UTC, YYYY-MM-DD) from `since` to `until`, both included; empty: no bound."""

    since: str = ""
    until: str = ""

    def holds(self, day: str) -> bool:
        return self.since <= day and (not self.until or day <= self.until)


def label_of(folder: str) -> str:
    """The name of a source's folder, given its path: as in prompts and outputs."""
    return folder.rpartition("/")[2]
