"""One row of a review: the three sums, what was counted beside them; and what rows are by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timezone
from decimal import Decimal

from retouch.costs.kinds import Part
from retouch.ledger.records import UsageRecord

Dimension = str
"""A word of DIMENSIONS, `folder:N` (the folder's first N parts) or `tag:NAME`."""

DIMENSIONS: tuple[Dimension, ...] = (
    "model", "prompt", "label", "folder", "source", "day", "week", "month", "run", "ledger",
    "provider", "kind",
)  # fmt: skip
MORE_DIMENSIONS = ("folder:N", "tag:NAME")
IN_TIME = ("day", "week", "month", "run")
_PARAMETRIC = re.compile(r"folder:[1-9]\d{0,2}|tag:.{1,100}")
Grouping = tuple[Dimension, ...]
NO_FOLDER = "."


def is_dimension(word: str) -> bool:
    """Whether rows can be by it."""
    return word in DIMENSIONS or _PARAMETRIC.fullmatch(word) is not None


@dataclass(frozen=True, slots=True)
class Period:
    """Days (YYYY-MM-DD, of the review's zone) from `since` to `until`, both included; empty: no
    bound."""

    since: str = ""
    until: str = ""

    def holds(self, day: str) -> bool:
        return self.since <= day and (not self.until or day <= self.until)


class Days:
    """On which day of `zone` a moment lies, for millions of moments."""

    def __init__(self, zone: timezone = UTC) -> None:
        self._zone = zone
        self._known: dict[str, str] = {}

    def of(self, at: str) -> str:
        """The day (YYYY-MM-DD) of an RFC 3339 moment in UTC."""
        if self._zone is UTC:
            return at[:10]
        minute = at[:16]
        day = self._known.get(minute)
        if day is None:
            moment = datetime.fromisoformat(f"{minute}:00+00:00").astimezone(self._zone)
            day = self._known[minute] = moment.date().isoformat()
        return day


def week_of(day: str) -> str:
    """The ISO week of a day, like 2026-W44."""
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{week:02}"


def folder_of(source: str) -> str:
    """The folder of a source, in full; `.` where it has none."""
    return source.rpartition("/")[0] or NO_FOLDER


def beginning_of(folder: str, parts: int) -> str:
    """The folder's first so many parts."""
    lead = "/" if folder.startswith("/") else ""
    return lead + "/".join(folder.removeprefix("/").split("/")[:parts])


def label_of(folder: str) -> str:
    """The name of a source's folder, given its path: as in prompts and outputs."""
    return "" if folder == NO_FOLDER else folder.rpartition("/")[2]


_NOTHING = UsageRecord()


@dataclass(slots=True)
class Sums:
    """What some Charges in one currency add up to.

    `unknown_low` and `unknown_high` are the bounds of what is unknown, `free` counts
    Attempts that cost nothing, `unpriced_jobs` Jobs with a Charge of unknown price. `images` were
    made (as the server counts, else as came), `kept` stand in the outputs. `unsure_paid` and
    `unsure_kept` are the part of them that belongs to Jobs whose cost is not known in full.
    """

    confirmed: Decimal = Decimal(0)
    unknown_low: Decimal = Decimal(0)
    unknown_high: Decimal = Decimal(0)
    jobs: int = 0
    attempts: int = 0
    free: int = 0
    unknown: int = 0
    failed: int = 0
    unpriced_jobs: int = 0
    images: int = 0
    kept: int = 0
    unsure_paid: Decimal = Decimal(0)
    unsure_kept: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    text_output_tokens: int = 0
    image_output_tokens: int = 0

    def use(self, usage: UsageRecord | None, came: int) -> None:
        """Count what one charged Attempt used, by which so many pictures came."""
        said = usage or _NOTHING
        self.images += came if said.images is None else said.images
        self.input_tokens += said.input_tokens or 0
        self.output_tokens += said.output_tokens or 0
        self.total_tokens += said.total_tokens or 0
        self.text_tokens += said.text_tokens or 0
        self.image_tokens += said.image_tokens or 0
        self.cached_tokens += said.cached_tokens or 0
        self.reasoning_tokens += said.reasoning_tokens or 0
        self.text_output_tokens += said.text_output_tokens or 0
        self.image_output_tokens += said.image_output_tokens or 0

    def add(self, other: Sums) -> None:
        """Add another row of the same currency; line by line, for it is done by the million."""
        self.confirmed += other.confirmed
        self.unknown_low += other.unknown_low
        self.unknown_high += other.unknown_high
        self.jobs += other.jobs
        self.attempts += other.attempts
        self.free += other.free
        self.unknown += other.unknown
        self.failed += other.failed
        self.unpriced_jobs += other.unpriced_jobs
        self.images += other.images
        self.kept += other.kept
        self.unsure_paid += other.unsure_paid
        self.unsure_kept += other.unsure_kept
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.total_tokens += other.total_tokens
        self.text_tokens += other.text_tokens
        self.image_tokens += other.image_tokens
        self.cached_tokens += other.cached_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.text_output_tokens += other.text_output_tokens
        self.image_output_tokens += other.image_output_tokens

    def move(self, part: Part, sign: int, *, is_in_total: bool) -> None:
        """Add (1) or take away (-1) what one kind has of a charge; its tokens from the total too,
        where the server stated one."""
        self.input_tokens += sign * part.input_tokens
        self.output_tokens += sign * part.output_tokens
        self.images += sign * part.images
        if is_in_total:
            self.total_tokens += sign * (part.input_tokens + part.output_tokens)
        if part.amount is not None:
            self.confirmed += sign * part.amount

    @property
    def cost_per_kept(self) -> Decimal | None:
        """What a kept picture has cost, waste included, of Jobs whose cost is known; None where
        they keep none."""
        kept = self.kept - self.unsure_kept
        return (self.confirmed - self.unsure_paid) / kept if kept else None

    @property
    def cost_per_kept_high(self) -> Decimal | None:
        """What it has cost at most, over all Jobs; None where none is kept."""
        return (self.confirmed + self.unknown_high) / self.kept if self.kept else None
