"""Legal ledgers, made up: the lives of Jobs as `run` and `resolve` may write them, told twice.

A Teller writes Records and keeps, beside them and knowing nothing of `replay`, what the world
knows of each Attempt: where it stands and what it may have cost. Tests compare the two.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    FileRecord,
    Resolved,
    Reused,
    Started,
    TaskAccepted,
    Unknown,
    Unsent,
    UsageRecord,
)

CEILING = AmountRecord(amount="0.500000", currency="CNY")
AT = "2026-03-01T12:00:00.000000Z"
ERROR = ErrorRecord(kind="network", message="broken off")
Stands = Literal["sent", "unsent", "task", "done", "failed", "unknown", "resolved", "reused"]


def cost(amount: str) -> CostRecord:
    return CostRecord(amount=amount, currency="CNY", basis="tokens", price="p")


def file_of(key: str, attempt: int) -> FileRecord:
    return FileRecord(
        path=f"images/{key}-{attempt}.png", sha256="0" * 64, bytes=1, media_type="image/png",
        width=1, height=1,
    )  # fmt: skip


@dataclass(slots=True)
class Bought:
    """One Attempt as the world knows it. `paid` None: not known; `closed`: it is."""

    priced: bool
    task: str | None = None
    paid: Decimal | None = None
    closed: bool = False


@dataclass(slots=True)
class Life:
    """One Job: its Attempts by number, how it stands, and what may be done next."""

    key: str
    stands: Stands | None = None
    last: int = 0
    attempts: dict[int, Bought] = field(default_factory=dict)
    may_resend: bool = True

    @property
    def task(self) -> str | None:
        bought = self.attempts.get(self.last)
        return bought.task if bought else None


class Teller:
    """Writes legal Records, one at a time, and keeps the world's own book of them."""

    def __init__(self, keys: int | Iterable[str] = 3) -> None:
        names = (f"k{number}" for number in range(keys)) if isinstance(keys, int) else keys
        self.lives = {name: Life(name) for name in names}
        self.records: list[AnyRecord] = []
        self.unpriced = 0

    def choices(self, life: Life) -> list[str]:
        """What may legally be written next about a Job."""
        match life.stands:
            case None | "unsent":
                return ["start", "reuse"] if life.stands is None else ["start", "give_up"]
            case "sent":
                return ["unsend", "accept", "finish", "finish_uncounted", "refuse", "refuse_paid",
                        "refuse_unsure", "lose"]  # fmt: skip
            case "task":
                return ["finish", "finish_uncounted", "refuse", "refuse_unsure", "lose"]
            case "unknown":
                polled = ("finish", "refuse", "lose") if life.task else ()
                settled = ("resolve_charged", "resolve_open", "resolve_free")
                return ["start", "reuse", *settled, *polled]
            case "failed" | "resolved" | "done" | "reused":
                return ["start", "reuse"] if life.stands != "failed" else ["start"]
        return []

    def tell(self, life: Life, choice: str, *, priced: bool = True) -> None:
        """Write one Record and keep the book."""
        getattr(self, f"_{choice}")(life, priced) if choice == "start" else getattr(
            self, f"_{choice}"
        )(life)

    def random_step(self, chance: random.Random) -> None:
        life = chance.choice(list(self.lives.values()))
        self.tell(life, chance.choice(self.choices(life)), priced=chance.random() < 0.8)

    def _start(self, life: Life, priced: bool) -> None:
        life.last += 1
        life.attempts[life.last] = Bought(priced)
        life.stands = "sent"
        self.records.append(
            Started(
                key=life.key,
                attempt=life.last,
                model="m",
                prompt="p",
                source="s",
                at=AT,
                ceiling=CEILING if priced else None,
            )
        )

    def _close(self, life: Life, paid: str | None) -> None:
        """The Attempt's cost is known; None where it is charged and no price is known."""
        bought = life.attempts[life.last]
        bought.closed = True
        if paid is None:
            self.unpriced += 1
        bought.paid = Decimal(paid or 0)

    def _unsend(self, life: Life) -> None:
        self._close(life, "0")
        life.stands = "unsent"
        self.records.append(Unsent(key=life.key, attempt=life.last, error=ERROR, at=AT))

    def _give_up(self, life: Life) -> None:
        life.stands = "failed"
        self._failed(life, "no", final=False)

    def _accept(self, life: Life) -> None:
        life.stands = "task"
        life.attempts[life.last].task = f"t-{life.key}-{life.last}"
        self.records.append(
            TaskAccepted(key=life.key, attempt=life.last, task=life.task or "", at=AT)
        )

    def _finish(self, life: Life) -> None:
        priced = life.attempts[life.last].priced
        self._close(life, "0.28" if priced else None)
        self._done(life, cost("0.28") if priced else None)

    def _finish_uncounted(self, life: Life) -> None:
        """A picture came, and no word of what it used: charged, nobody knows how much."""
        if not life.attempts[life.last].priced:
            self._close(life, None)
        self._done(life, None)

    def _done(self, life: Life, paid: CostRecord | None) -> None:
        life.stands = "done"
        usage = UsageRecord(total_tokens=10) if paid else None
        self.records.append(
            Done(
                key=life.key,
                attempt=life.last,
                model="m",
                prompt="p",
                source="s",
                at=AT,
                task=life.task,
                usage=usage,
                cost=paid,
                files=(file_of(life.key, life.last),),
                seconds=1.0,
            )
        )

    def _refuse(self, life: Life) -> None:
        self._close(life, "0")
        life.stands = "failed"
        self._failed(life, "no", final=True)

    def _refuse_paid(self, life: Life) -> None:
        priced = life.attempts[life.last].priced
        self._close(life, "0.1" if priced else None)
        life.stands = "failed"
        self._failed(life, "yes", final=True, paid=cost("0.1") if priced else None)

    def _refuse_unsure(self, life: Life) -> None:
        life.stands = "failed"
        self._failed(life, "unknown", final=True)

    def _failed(
        self,
        life: Life,
        billed: Literal["no", "yes", "unknown"],
        *,
        final: bool,
        paid: CostRecord | None = None,
    ) -> None:
        self.records.append(
            Failed(
                key=life.key,
                attempt=life.last,
                model="m",
                prompt="p",
                source="s",
                at=AT,
                error=ERROR,
                billed=billed,
                cost=paid,
                task=life.task,
                final=final,
                ceiling=None if billed == "no" else CEILING,
            )
        )

    def _lose(self, life: Life) -> None:
        life.stands = "unknown"
        priced = life.attempts[life.last].priced
        self.records.append(
            Unknown(
                key=life.key,
                attempt=life.last,
                model="m",
                prompt="p",
                source="s",
                at=AT,
                error=ERROR,
                ceiling=CEILING if priced else None,
                task=life.task,
            )
        )

    def _resolve_charged(self, life: Life) -> None:
        self._close(life, "0.4")
        self._resolve(life, "charged", AmountRecord(amount="0.4", currency="CNY"))

    def _resolve_open(self, life: Life) -> None:
        """Charged, says the user, but not how much."""
        if not life.attempts[life.last].priced:
            self._close(life, None)
        self._resolve(life, "charged", None)

    def _resolve_free(self, life: Life) -> None:
        self._close(life, "0")
        self._resolve(life, "not_charged", None)

    def _resolve(
        self, life: Life, verdict: Literal["charged", "not_charged"], amount: AmountRecord | None
    ) -> None:
        life.stands = "resolved"
        self.records.append(
            Resolved(key=life.key, attempt=life.last, verdict=verdict, amount=amount, at=AT)
        )

    def _reuse(self, life: Life) -> None:
        life.stands = "reused"
        self.records.append(
            Reused(key=life.key, source_ledger="other", files=(file_of(life.key, 0),), at=AT)
        )

    @property
    def confirmed(self) -> Decimal:
        """What is known to have been paid."""
        paid = (bought.paid for life in self.lives.values() for bought in life.attempts.values())
        return sum((amount for amount in paid if amount is not None), Decimal(0))

    @property
    def open(self) -> set[tuple[str, int]]:
        """Attempts of which nobody knows yet what they cost."""
        return {
            (life.key, number)
            for life in self.lives.values()
            for number, bought in life.attempts.items()
            if not bought.closed
        }
