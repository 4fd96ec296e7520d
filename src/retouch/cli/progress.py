"""What a person sees while a run goes on: one line on a terminal, plain lines elsewhere; stderr.

On a narrow terminal what says least is left out: how far it is, how much is left and what it costs
always have room.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Never

from rich.cells import cell_len
from tqdm import tqdm

from retouch.cli.geometry import GeometryLook
from retouch.engine.budget import Purse
from retouch.engine.context import JobEnd
from retouch.engine.selection import Choice, LaneCount
from retouch.job import Job
from retouch.money import NO_CURRENCY, Money, shown, total
from retouch.text import fit_for_terminal

PLAIN_SECONDS = 10.0
_BETWEEN = " · "

if TYPE_CHECKING:
    _Bar = tqdm[Never]
else:
    _Bar = tqdm  # which knows no type at run time


class Ahead(NamedTuple):
    """How many Jobs there are to do, `is_about`: or about so many, and how many are held."""

    jobs: int
    held: int
    is_about: bool = False

    @classmethod
    def of(cls, lanes: Sequence[LaneCount], limit: int | None) -> Ahead:
        """What a run of these lanes has ahead, as far as it is counted, of at most `limit` Jobs."""
        jobs = sum(lane.ahead for lane in lanes)
        is_about = not all(lane.is_counted for lane in lanes)
        held = sum(lane.held + lane.rejected for lane in lanes)
        if limit is None or jobs < limit:
            return cls(jobs, held, is_about)
        return cls(limit, held, is_about and jobs < 2 * limit)


class Pace(NamedTuple):
    """Seconds since the beginning, and Jobs a second of late (None: not known yet)."""

    elapsed: float
    rate: float | None


class _Line(_Bar):
    """A bar that is one line of words, as long as the terminal is wide."""

    words: Callable[[Pace], list[str]] | None = None

    def __str__(self) -> str:
        if self.words is None:
            return ""
        found = self.format_dict
        columns = found["ncols"]
        pace = Pace(found["elapsed"], found["rate"])
        return fitting(self.words(pace), columns - 1 if columns else None)


def fitting(words: list[str], columns: int | None) -> str:
    """As many of `words`, from the first on, as `columns` have room for."""
    while columns is not None and len(words) > 1 and cell_len(_BETWEEN.join(words)) > columns:
        words = words[:-1]
    return _BETWEEN.join(words)


class Progress:
    """Counts what happens and shows it; an Observer of the batch."""

    def __init__(
        self,
        bar: tqdm[Never],
        ahead: Callable[[], Ahead],
        look: GeometryLook,
        *,
        is_virtual: bool,
        purse: Purse | None = None,
        name: str = "",
    ) -> None:
        self._name = name
        self._bar = bar
        self._look = look
        self._ahead = ahead
        self._is_virtual = is_virtual
        self._purse = purse
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
        for paid in (*end.also_paid, end.paid):
            self._tokens += (paid.usage and paid.usage.total_tokens) or 0
            # A server of the user's own costs nothing.
            if paid.cost is not None and paid.cost.currency != NO_CURRENCY:
                self._costs = total([*self._costs.values(), paid.cost.money])
        if end.paid.cost is None and end.ended == "done":
            self._unpriced += 1
        if end.error is not None and end.ended != "accepted":
            job = end.job
            self.said(f"{job.source.name} · {job.prompt.id} · {job.model}: {end.error.message}")
        self._bar.update(end.ended != "stopped")
        if self._bar.disable and time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            print(self.line, file=sys.stderr)

    def passed(self, job: Job, choice: Choice) -> None:
        """Skipped work was counted before the run."""

    def said(self, text: str) -> None:
        """A line above the bar."""
        self._bar.write(fit_for_terminal(text), file=sys.stderr)

    @property
    def line(self) -> str:
        """All there is to tell."""
        return _BETWEEN.join(self.words())

    def words(self, pace: Pace | None = None) -> list[str]:
        """What is done, left and paid, and how it goes: what says most first."""
        jobs, held, is_about = self._ahead()
        about = "~" if is_about else ""
        over = sum(self._ended[word] for word in ("done", "failed", "unknown"))
        left = max(0, jobs - over)
        parts = [self._name] if self._name else []
        parts += [f"{over:,}/{about}{jobs:,}", f"{about}{left:,} left"]
        virtual = " (virtual)" if self._is_virtual else ""
        parts += [f"{money}{virtual}" for money in self._costs.values()]
        if self._purse is not None and (room := self._purse.left) is not None:
            parts.append(f"budget left {shown(room.amount)}")
        held += self._ended["unknown"]
        for word, count in (("failed", self._ended["failed"]), ("held", held)):
            parts += [f"{count:,} {word}"] if count else []
        parts += [f"{self._unpriced:,} unpriced"] if self._unpriced else []
        if pace is not None:
            to_go = f"<{tqdm.format_interval(left / pace.rate)}" if pace.rate and left else ""
            parts.append(f"{tqdm.format_interval(pace.elapsed)}{to_go}")
        parts.append(f"{self._pictures:,} pictures")
        parts += [f"{self._tokens:,} tokens"] if self._tokens else []
        return parts


@contextmanager
def showing(
    ahead: Callable[[], Ahead],
    look: GeometryLook,
    *,
    is_virtual: bool,
    purse: Purse | None = None,
    name: str = "",
) -> Iterator[Progress]:
    """Progress over what is `ahead`; `look` is shown each that ended. Of `purse` what it leaves is
    told; `name` is the shard's."""
    with _Line(
        file=sys.stderr,
        dynamic_ncols=True,
        smoothing=0.1,
        disable=not sys.stderr.isatty(),
    ) as bar:
        progress = Progress(bar, ahead, look, is_virtual=is_virtual, purse=purse, name=name)
        bar.words = progress.words
        bar.refresh()
        yield progress
