"""One row of a review: the three sums, and what was counted beside them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Literal, get_args

from retouch.ledger.records import UsageRecord

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


_NOTHING = UsageRecord()


@dataclass(slots=True)
class Sums:
    """What some Charges in one currency add up to.

    `unknown_high` is the upper bound of what is unknown (the lower one is nothing), `free` counts
    Attempts that cost nothing, `unpriced_jobs` Charges of unknown price. `images` were made (as
    the server counts, else as came), `kept` lie in the outputs.
    """

    confirmed: Decimal = Decimal(0)
    unknown_high: Decimal = Decimal(0)
    jobs: int = 0
    attempts: int = 0
    free: int = 0
    unknown: int = 0
    failed: int = 0
    unpriced_jobs: int = 0
    images: int = 0
    kept: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    text_tokens: int = 0
    image_tokens: int = 0

    def use(self, usage: UsageRecord | None, kept: int) -> None:
        """Count what one charged Attempt used."""
        said = usage or _NOTHING
        self.images += kept if said.images is None else said.images
        self.kept += kept
        self.input_tokens += said.input_tokens or 0
        self.output_tokens += said.output_tokens or 0
        self.total_tokens += said.total_tokens or 0
        self.text_tokens += said.text_tokens or 0
        self.image_tokens += said.image_tokens or 0

    def add(self, other: Sums) -> None:
        """Add another row of the same currency."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def cost_per_kept(self) -> Decimal | None:
        """What a kept picture has cost, waste included; None where none is kept."""
        return self.confirmed / self.kept if self.kept else None


_NAMES = tuple(each.name for each in fields(Sums))
