"""Money that bought nothing of use, by kind, with examples a reviewer can look up.

What the ledger alone tells: refused after billing, paid without a picture, fewer than asked for,
another size than asked for. What pictures tell (`blank`, `unchanged`) is added by whoever looks;
`rejected` is what a person said of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import msgspec

from retouch.ledger.records import AmountRecord, Done, Failed, FileRecord, TermsRecord
from retouch.money import Money

WasteKind = Literal[
    "refused_after_billing", "no_picture", "fewer_than_asked", "wrong_size", "blank", "unchanged",
    "rejected",
]  # fmt: skip
EXAMPLES = 20
RATIO_TOLERANCE = Decimal("0.04")  # models round sides to tiles: 1344x768 is sold as 16:9
_FEWER = re.compile(r"\d+ of \d+ pictures came")
_SIZE = re.compile(r"(\d+)x(\d+)")
_RATIO = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Example:
    """One Job that a kind of waste was found at."""

    key: str
    model: str
    prompt: str
    source: str
    cost: Money | None


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A finished Job's pictures, for whoever wants to look at them."""

    done: Done
    cost: AmountRecord | None

    @property
    def example(self) -> Example:
        """The Job as an example of waste."""
        done = self.done
        cost = self.cost.money if self.cost else None
        return Example(done.key, done.model, done.prompt, done.source, cost)


@dataclass(slots=True)
class Waste:
    """One kind in one currency: `cost` is what the Jobs concerned cost in all."""

    kind: WasteKind
    currency: str | None
    jobs: int = 0
    cost: Decimal = Decimal(0)
    examples: list[Example] = field(default_factory=list)


class Wasted:
    """Gathers waste by kind and currency."""

    def __init__(self) -> None:
        self._found: dict[tuple[WasteKind, str | None], Waste] = {}

    def add(self, kind: WasteKind, example: Example) -> None:
        """One more Job."""
        currency = example.cost.currency if example.cost else None
        waste = self._found.setdefault((kind, currency), Waste(kind, currency))
        waste.jobs += 1
        if example.cost is not None:
            waste.cost += example.cost.amount
        if len(waste.examples) < EXAMPLES:
            waste.examples.append(example)

    def rows(self) -> list[Waste]:
        """The dearest first."""
        return sorted(self._found.values(), key=lambda each: (-each.cost, -each.jobs, each.kind))


def waste_of_failure(failed: Failed) -> WasteKind:
    """The kind of an Attempt that was paid for and failed."""
    return "refused_after_billing" if failed.error.kind == "content" else "no_picture"


def waste_of_done(done: Done, terms: TermsRecord | None) -> list[WasteKind]:
    """What is wrong with a finished Job, by its records."""
    kinds: list[WasteKind] = []
    came_short = len(done.files) < terms.n if terms else any(map(_FEWER.match, done.warnings))
    if came_short:
        kinds.append("fewer_than_asked")
    is_sized = terms and (terms.size or terms.aspect_ratio)
    if terms and is_sized and any(not _has_size(file, terms) for file in done.files):
        kinds.append("wrong_size")
    return kinds


def _has_size(file: FileRecord, terms: TermsRecord) -> bool:
    size = _SIZE.fullmatch(terms.size or "")
    if size:
        return (file.width, file.height) == (int(size[1]), int(size[2]))
    ratio = _RATIO.fullmatch(terms.aspect_ratio or "")
    if not ratio or not file.height or not int(ratio[2]):
        return True
    wanted = Decimal(ratio[1]) / Decimal(ratio[2])
    return abs(Decimal(file.width) / file.height / wanted - 1) <= RATIO_TOLERANCE
