"""What a person sees while a run goes on: one bar on a terminal, plain lines elsewhere; stderr."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from tqdm import tqdm

from retouch.cli.geometry import GeometryLook
from retouch.engine.context import JobEnd
from retouch.engine.selection import Choice
from retouch.job import Job
from retouch.money import Money, total
from retouch.text import fit_for_terminal

PLAIN_SECONDS = 10.0


class Progress:
    """Counts what happens and shows it; an Observer of the batch."""

    def __init__(
        self, bar: tqdm[Never], held: int, look: GeometryLook, *, is_virtual: bool
    ) -> None:
        self._bar = bar
        self._look = look
        self._held = held
        self._is_virtual = is_virtual
        self._ended: Counter[str] = Counter()
        self._pictures = 0
        self._tokens = 0
        self._costs: dict[str, Money] = {}
        self._unpriced = 0
        self._told = time.monotonic()

    def began(self, job: Job) -> None:
        """Nothing to show: a Job counts when it ends."""

    def ended(self, end: JobEnd) -> None:
        """One more Job: counts, pictures, tokens and money."""
        self._ended[end.ended] += 1
        self._look.note(end)
        self._pictures += len(end.files)
        if end.paid.usage is not None:
            self._tokens += end.paid.usage.total_tokens or 0
        if end.paid.cost is not None:
            self._costs = total([*self._costs.values(), end.paid.cost.money])
        elif end.ended == "done":
            self._unpriced += 1
        if end.error is not None and end.ended != "accepted":
            job = end.job
            self.said(f"{job.source.name} · {job.prompt.id} · {job.model}: {end.error.message}")
        self._bar.set_description_str(self.line, refresh=False)
        self._bar.update(end.ended != "stopped")
        if self._bar.disable and time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            print(f"{sum(self._ended.values())}/{self._bar.total} {self.line}", file=sys.stderr)

    def passed(self, job: Job, choice: Choice) -> None:
        """Skipped work was counted before the run."""

    def said(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(fit_for_terminal(text), file=sys.stderr)

    @property
    def line(self) -> str:
        """Counts, pictures, tokens and money so far."""
        parts = [f"done {self._ended['done']}", f"failed {self._ended['failed']}"]
        unknown = self._held + self._ended["unknown"]
        parts += [f"held {unknown}"] if unknown else []
        parts.append(f"{self._pictures} pictures")
        parts += [f"{self._tokens:,} tokens"] if self._tokens else []
        virtual = " (virtual)" if self._is_virtual else ""
        parts += [f"{money}{virtual}" for money in self._costs.values()]
        parts += [f"{self._unpriced} unpriced"] if self._unpriced else []
        return " · ".join(parts)


@contextmanager
def showing(jobs: int, held: int, look: GeometryLook, *, is_virtual: bool) -> Iterator[Progress]:
    """Progress over `jobs` Jobs, `held` more being held; `look` is shown each that ended."""
    with tqdm(
        total=jobs,
        unit="job",
        file=sys.stderr,
        dynamic_ncols=True,
        smoothing=0.1,
        disable=not sys.stderr.isatty(),
        bar_format="{percentage:3.0f}% {n_fmt}/{total_fmt} "
        "[{elapsed}<{remaining}, {rate_fmt}] {desc}",
    ) as bar:
        yield Progress(bar, held, look, is_virtual=is_virtual)
