"""Where one Job stands, and what the settled Charges add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from retouch.dialects.base import Billed
from retouch.ledger.charges import Charge
from retouch.ledger.lines import NOWHERE, Lines, Position
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    Done,
    Failed,
    FileRecord,
    Resolved,
    Reused,
    Started,
    UsageRecord,
)
from retouch.money import EXACT, Money, total

State = Literal[
    "sent", "unsent", "accepted", "done", "failed", "unknown", "resolved", "reused"
]  # fmt: skip


class Verdict(NamedTuple):
    """What is known of an ended Job without its Records: whether it failed for good and was
    billed, what the user said of its Charge, and how many pictures were kept."""

    is_final: bool = False
    billed: Billed | None = None
    is_charged: bool = True
    pictures: int = 0


class OnlyPicture(NamedTuple):
    """What is known of the one picture of an ended Job without its Records: `hash()` of its path
    before its last dot, what comes after it, and its length."""

    stem_hash: int
    suffix: str
    bytes: int


class Outcome:
    """Where one Job stands: its state and the attempt that decided it.

    `began` is the latest `started` record (None after `reused`), `decided` the record that made
    the state; of a Job that has ended they are read from the ledger when asked for, which raises
    LedgerDamaged where it is another now, and StorageFailed. `task` is known from `accepted` on.
    `charge` is that attempt's, while it is open.
    """

    __slots__ = (
        "_began", "_decided", "_lines", "_task", "_verdict", "attempt", "began_at", "charge",
        "decided_at", "number", "only_picture", "state",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - made of every Record: as cheap as can be
        self,
        state: State,
        attempt: int,
        decided: AnyRecord | None,
        began: Started | None = None,
        task: str | None = None,
        charge: Charge | None = None,
    ) -> None:
        self.state: State = state
        self.attempt = attempt
        self.charge = charge
        self.decided_at: Position = NOWHERE
        self.began_at: Position = NOWHERE
        self.number = -1
        self.only_picture: OnlyPicture | None = None
        self._decided = decided
        self._began = began
        self._task: str | bool | None = task  # True: it is the deciding record's
        self._verdict: Verdict | None = None
        self._lines: Lines | None = None

    @classmethod
    def on_file(
        cls,
        state: State,
        attempt: int,
        lines: Lines,
        places: tuple[Position, Position],
        verdict: Verdict,
        *,
        has_task: bool,
    ) -> Outcome:
        """One whose Records (what decided, what began) stand in a ledger and were not read."""
        outcome = cls(state, attempt, None)
        outcome.decided_at, outcome.began_at = places
        outcome._lines, outcome._verdict = lines, verdict
        outcome._task = has_task or None
        return outcome

    @property
    def decided(self) -> AnyRecord:
        """The record that made the state."""
        if self._decided is None:
            self._decided = self._read(self.decided_at)
        return self._decided

    @property
    def began(self) -> Started | None:
        """The latest `started` record."""
        if self._began is None and self.began_at:
            began = self._read(self.began_at)
            self._began = began if isinstance(began, Started) else None
        return self._began

    @property
    def has_begun(self) -> bool:
        """Whether a `started` record is known."""
        return self._began is not None or bool(self.began_at)

    @property
    def task(self) -> str | None:
        """The server's id of the Task."""
        if self._task is True:
            self._task = getattr(self.decided, "task", None)
        return self._task or None

    @property
    def is_polled(self) -> bool:
        """Whether a Task is on file that the next run asks for."""
        return self.state in ("accepted", "sent", "unknown") and bool(self._task)

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The pictures kept for this Job."""
        if not self.has_files:
            return ()
        decided = self.decided
        return decided.files if isinstance(decided, Done | Reused) else ()

    @property
    def has_files(self) -> bool:
        """Whether a picture was kept."""
        return self.state in ("done", "reused") and self.verdict.pictures > 0

    @property
    def verdict(self) -> Verdict:
        """What decides over what is done next, without reading its Records."""
        if self._verdict is None:
            self._verdict = verdict_of(self.decided)
        return self._verdict

    def went_on(self, other: Outcome) -> None:
        """Take over what began another Outcome of the same Attempt, read or not."""
        self._began, self.began_at, self._lines = other._began, other.began_at, other._lines

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcome) and self._parts() == other._parts()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Outcome{self._parts()}"

    def _parts(self) -> tuple[object, ...]:
        return self.state, self.attempt, self.decided, self.began, self.task, self.charge

    def _read(self, where: Position) -> AnyRecord:
        if self._lines is None:
            raise ValueError("an outcome without its record")
        return self._lines.read(where)


def verdict_of(decided: AnyRecord) -> Verdict:
    """The same, from the record that made the state."""
    match decided:
        case Failed():
            return Verdict(is_final=decided.final, billed=decided.billed)
        case Resolved():
            return Verdict(is_charged=decided.verdict == "charged")
        case Done() | Reused():
            return Verdict(pictures=len(decided.files))
    return Verdict()


@dataclass(slots=True)
class Totals:
    """What settled Charges add up to. `unpriced` counts charged attempts whose price is not known,
    `images` the pictures the server says it made (else those kept)."""

    unpriced: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    _paid: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)

    @property
    def spent(self) -> dict[tuple[str, str, str], Money]:
        """Money by model, day and currency."""
        return {place: Money(amount, place[2]) for place, amount in self._paid.items()}

    @property
    def confirmed(self) -> dict[str, Money]:
        """All that is confirmed, by currency."""
        return total(self.spent.values())

    def pay(self, cost: AmountRecord | None, model: str, day: str) -> None:
        """Add one confirmed Charge; None is one of unknown price."""
        if cost is None:
            self.unpriced += 1
        else:
            self._add(Decimal(cost.amount), (model, day, cost.currency))

    def take_back(self, cost: AmountRecord | None, model: str, day: str) -> None:
        """Undo `pay`."""
        if cost is None:
            self.unpriced -= 1
        else:
            self._add(Decimal(cost.amount).copy_negate(), (model, day, cost.currency))

    def _add(self, amount: Decimal, place: tuple[str, str, str]) -> None:
        known = self._paid.get(place)
        self._paid[place] = amount if known is None else EXACT.add(known, amount)

    def count(self, usage: UsageRecord | None, kept: int) -> None:
        """Add what one charged Attempt used; `kept` pictures where the server counted none."""
        if usage is None:
            self.images += kept
            return
        self.images += kept if usage.images is None else usage.images
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        self.total_tokens += usage.total_tokens or 0
