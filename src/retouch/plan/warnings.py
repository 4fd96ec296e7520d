"""Warnings that many sources share, each said once with how often and the first few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from retouch.errors import Problem
from retouch.manifest import Loaded, Location
from retouch.text import one_clean_line

EXAMPLES = 3


@dataclass(slots=True)
class _Count:
    times: int = 0
    examples: list[str] = field(default_factory=list)


class Warnings:
    """Counts by place and text; `problems` says each once."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Location, str, str, Literal["error", "warning"]], _Count] = {}

    def add(
        self,
        location: Location,
        what: str,
        remedy: str,
        example: str,
        severity: Literal["error", "warning"] = "warning",
    ) -> None:
        """Count one more of these, seen at `example`."""
        count = self._counts.setdefault((location, what, remedy, severity), _Count())
        count.times += 1
        if len(count.examples) < EXAMPLES:
            count.examples.append(one_clean_line(example, 120))

    def problems(self, loaded: Loaded) -> Iterator[Problem]:
        """Each text with its count, in the order they were first seen."""
        for (location, what, remedy, severity), count in self._counts.items():
            named = ", ".join(count.examples) + (", ..." if count.times > EXAMPLES else "")
            times = f"{count.times:,} sources: " if count.times > 1 else ""
            yield loaded.problem(location, f"{what} ({times}{named})", remedy, severity)
