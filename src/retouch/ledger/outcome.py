"""Where one Job stands, and what the settled Charges add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from retouch.ledger.charges import Charge
from retouch.ledger.records import AnyRecord, Done, FileRecord, Reused, Started, UsageRecord
from retouch.money import Money, total

State = Literal[
    "sent", "unsent", "accepted", "done", "failed", "unknown", "resolved", "reused"
]  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """Where one Job stands: its state and the attempt that decided it.

    `began` is the latest `started` record (None after `reused`), `decided` the record that made
    the state. `task` is known from `accepted` on. `charge` is that attempt's, while it is open.
    """

    state: State
    attempt: int
    decided: AnyRecord
    began: Started | None = None
    task: str | None = None
    charge: Charge | None = None

    @property
    def is_polled(self) -> bool:
        """Whether a Task is on file that the next run asks for."""
        return bool(self.task) and self.state in ("accepted", "sent", "unknown")

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The pictures kept for this Job."""
        return self.decided.files if isinstance(self.decided, Done | Reused) else ()


@dataclass(slots=True)
class Totals:
    """What settled Charges add up to. `spent` is money by (model, day, currency); `unpriced`
    counts charged attempts whose price is not known, `images` the pictures the server says it
    made (else those kept)."""

    spent: dict[tuple[str, str, str], Money] = field(default_factory=dict)
    unpriced: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    @property
    def confirmed(self) -> dict[str, Money]:
        """All that is confirmed, by currency."""
        return total(self.spent.values())

    def pay(self, cost: Money | None, model: str, day: str) -> None:
        """Add one confirmed Charge; None is one of unknown price."""
        if cost is None:
            self.unpriced += 1
        else:
            place = (model, day, cost.currency)
            known = self.spent.get(place)
            self.spent[place] = cost if known is None else known + cost

    def take_back(self, cost: Money | None, model: str, day: str) -> None:
        """Undo `pay`."""
        if cost is None:
            self.unpriced -= 1
        else:
            self.pay(Money(-cost.amount, cost.currency), model, day)

    def count(self, usage: UsageRecord | None, kept: int) -> None:
        """Add what one charged Attempt used; `kept` pictures where the server counted none."""
        said = usage or UsageRecord()
        self.images += kept if said.images is None else said.images
        self.input_tokens += said.input_tokens or 0
        self.output_tokens += said.output_tokens or 0
        self.total_tokens += said.total_tokens or 0
