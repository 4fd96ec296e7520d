"""What a reconciliation finds: differences with their suspects, and verdicts on the unknown."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from retouch.dialects.bill import Line, Measure
from retouch.money import EXACT, Money
from retouch.reconcile.ours import Doubt

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A request that a difference may be: on one side alone. `line` is the bill's (0: ours)."""

    text: str
    key: str = ""
    line: int = 0


@dataclass(slots=True)
class Difference:
    """One measure of one cell. `day` is a month where the bill says months alone. `explained` is
    what unknown outcomes (`doubts`) or midnight can account for; `rounding` is what the bill's
    digits leave out, and no gap; of `unpriced` requests of ours nobody knows what they should
    have cost."""

    day: str
    model: str
    measure: Measure
    currency: str | None
    ours: Decimal
    theirs: Decimal
    gap: Decimal
    explained: Decimal = ZERO
    doubts: int = 0
    unpriced: int = 0
    by_midnight: bool = False
    rounding: Decimal = ZERO
    suspects: tuple[Suspect, ...] = ()

    @property
    def unexplained(self) -> Decimal:
        """What remains; its sign is that of theirs minus ours."""
        return self.gap - self.explained

    @property
    def is_settled(self) -> bool:
        """Whether nothing remains to be asked; without a price nobody can tell."""
        return not self.unexplained and not self.unpriced


@dataclass(frozen=True, slots=True)
class Finding:
    """What the bill decides about an unknown Attempt; None charged: it was not."""

    doubt: Doubt
    charged: Money | None


@dataclass(frozen=True, slots=True)
class Hint:
    """How the bill may have been made, if that explains strictly more of its rows: its days at
    another offset from UTC, a factor on all amounts, or days that are counted one later."""

    kind: Literal["offset", "factor", "day"]
    value: str
    explains: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All cells, in order, what the bill decides, and its lines that are no usage."""

    differences: tuple[Difference, ...]
    verdicts: tuple[Finding, ...]
    others: tuple[Line, ...] = ()

    @property
    def money_compared(self) -> bool:
        """Whether any amount of the bill stands beside one of ours."""
        return any(
            row.measure == "amount" and row.theirs and (row.ours or row.doubts)
            for row in self.differences
        )

    @property
    def unexplained(self) -> list[Difference]:
        """What nothing accounts for."""
        return [each for each in self.differences if not each.is_settled]

    @property
    def totals(self) -> list[Difference]:
        """The sums of each measure (amounts: and currency) over all days and models."""
        found: dict[tuple[Measure, str | None], Difference] = {}
        with localcontext(EXACT):
            for row in self.differences:
                place = (row.measure, row.currency)
                sums = found.setdefault(place, Difference("total", "", *place, ZERO, ZERO, ZERO))
                sums.ours += row.ours
                sums.theirs += row.theirs
                sums.gap += row.gap
                sums.explained += row.explained
                sums.rounding += row.rounding
        return list(found.values())
