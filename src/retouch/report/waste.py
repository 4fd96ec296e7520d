"""Money that bought nothing of use, by kind, with examples a reviewer can look up.

What the ledger alone tells: refused after billing, charged without a picture, replaced, fewer than
asked for, another size than asked for. What pictures tell (`blank`, `unchanged`) is added by
whoever looks; `rejected` is what a person said of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import msgspec

from retouch.ledger.charges import Charge, Posting
from retouch.ledger.records import AmountRecord, Done, Failed, FileRecord, TermsRecord

WasteKind = Literal[
    "replaced", "charged_without_picture", "refused_but_billed", "fewer_than_asked", "other_size",
    "blank", "unchanged", "rejected",
]  # fmt: skip
EXAMPLES = 20
RATIO_TOLERANCE = Decimal("0.04")  # models round sides to tiles: 1344x768 is sold as 16:9
_FEWER = re.compile(r"\d+ of \d+ pictures came")
_SIZE = re.compile(r"(\d+)x(\d+)")
_RATIO = re.compile(r"(\d+):(\d+)")


class Example(msgspec.Struct, frozen=True, gc=False):
    """One Charge that a kind of waste was found at.

    `currency` None: no price. `amount` is what it cost for sure, `amount_high` at most.
    """

    key: str
    attempt: int
    model: str
    prompt: str
    source: str
    currency: str | None
    amount: Decimal
    amount_high: Decimal
    pictures: int = 0


def example_of(charge: Charge, paid: AmountRecord | None, pictures: int = 0) -> Example:
    """A Charge as an example: at what was paid, else between nothing and its ceiling."""
    amount = paid or charge.bound
    high = Decimal(amount.amount) if amount else Decimal(0)
    return Example(
        charge.key, charge.attempt, charge.model, charge.prompt, charge.source,
        amount.currency if amount else None, high if paid else Decimal(0), high, pictures,
    )  # fmt: skip


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A finished Job's pictures, for whoever wants to look at them; `cost` None: not known."""

    done: Done
    cost: AmountRecord | None
    charge: Charge

    @property
    def example(self) -> Example:
        """The Job as an example of waste."""
        return example_of(self.charge, self.cost, len(self.done.files))


def kept_of(done: Done, posting: Posting) -> Kept:
    """What a `done` kept, and what it cost."""
    return Kept(done, posting.paid, posting.charge)


@dataclass(slots=True)
class Waste:
    """One kind in one currency: what its Charges cost in all, for sure and at most."""

    kind: WasteKind
    currency: str | None
    jobs: int = 0
    pictures: int = 0
    amount: Decimal = Decimal(0)
    amount_high: Decimal = Decimal(0)
    examples: list[Example] = field(default_factory=list)

    def add(self, example: Example) -> None:
        """One more Charge; of the examples the dearest stay."""
        self.jobs += 1
        self.pictures += example.pictures
        self.amount += example.amount
        self.amount_high += example.amount_high
        self.examples.append(example)
        if len(self.examples) >= 2 * EXAMPLES:
            self._cut()

    def take_back(self, example: Example) -> None:
        """One that was none."""
        self.jobs -= 1
        self.pictures -= example.pictures
        self.amount -= example.amount
        self.amount_high -= example.amount_high
        if example in self.examples:
            self.examples.remove(example)

    def _cut(self) -> None:
        self.examples.sort(key=_dearest)
        del self.examples[EXAMPLES:]

    @property
    def dearest(self) -> list[Example]:
        """The dearest of them."""
        self._cut()
        return self.examples


def _dearest(example: Example) -> tuple[Decimal, Decimal]:
    return -example.amount_high, -example.amount


class Wasted:
    """Gathers waste by kind and currency; `total` counts no Charge twice."""

    def __init__(self) -> None:
        self.total: dict[str | None, Waste] = {}
        self._found: dict[tuple[WasteKind, str | None], Waste] = {}
        self._counted: set[int] = set()

    def add(self, kind: WasteKind, example: Example) -> None:
        """One more Charge of this kind."""
        currency = example.currency
        self._found.setdefault((kind, currency), Waste(kind, currency)).add(example)
        identity = hash((example.key, example.attempt))
        if identity not in self._counted:
            self._counted.add(identity)
            self.total.setdefault(currency, Waste(kind, currency)).add(example)

    def take_back(self, kind: WasteKind, example: Example) -> None:
        """One that was added and is none of this kind, nor of any other."""
        currency = example.currency
        self._found[kind, currency].take_back(example)
        self.total[currency].take_back(example)
        self._counted.discard(hash((example.key, example.attempt)))

    def totals(self) -> list[Waste]:
        """What is waste of any kind, by currency."""
        return [each for each in self.total.values() if each.jobs]

    def rows(self) -> list[Waste]:
        """The dearest first."""
        return sorted(
            (each for each in self._found.values() if each.jobs),
            key=lambda each: (-each.amount_high, -each.jobs, each.kind),
        )


def waste_of_failure(failed: Failed) -> WasteKind:
    """The kind of an Attempt that was paid for and failed."""
    return "refused_but_billed" if failed.error.kind == "content" else "charged_without_picture"


def waste_of_done(done: Done, terms: TermsRecord | None) -> list[WasteKind]:
    """What is wrong with a finished Job, by its records."""
    kinds: list[WasteKind] = []
    came_short = len(done.files) < terms.n if terms else any(map(_FEWER.match, done.warnings))
    if came_short:
        kinds.append("fewer_than_asked")
    is_sized = terms and (terms.size or terms.aspect_ratio)
    if terms and is_sized and any(not _has_size(file, terms) for file in done.files):
        kinds.append("other_size")
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
