"""What a reconciliation finds: differences with their suspects, and verdicts on the unknown."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from retouch.money import Money
from retouch.report.bill import Measure
from retouch.report.ours import Doubt

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A request that a difference may be: on one side alone. `line` is the bill's (0: ours)."""

    text: str
    key: str = ""
    line: int = 0


@dataclass(slots=True)
class Difference:
    """One measure of one cell. `explained` is what unknown outcomes (`doubts`) or midnight can
    account for, `rounding` what is below the bill's last digit."""

    day: str
    model: str
    measure: Measure
    currency: str | None
    ours: Decimal
    theirs: Decimal
    gap: Decimal
    explained: Decimal = ZERO
    doubts: int = 0
    by_midnight: bool = False
    suspects: tuple[Suspect, ...] = ()

    @property
    def unexplained(self) -> Decimal:
        """What remains; its sign is that of theirs minus ours."""
        return self.gap - self.explained


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the bill decides about an unknown Attempt; None charged: it was not."""

    doubt: Doubt
    charged: Money | None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All cells, in order, and what the bill decides."""

    differences: tuple[Difference, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def unexplained(self) -> list[Difference]:
        """What nothing accounts for."""
        return [each for each in self.differences if each.unexplained]
