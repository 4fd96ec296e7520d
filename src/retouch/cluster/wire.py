"""What a worker and the holder of purse and limits tell each other.

A worker sends one `Report` at a time: all that has gathered since the last, in order, with what it
asks for. Everything asked for is answered in the reply, with `Wait` where there is no room now.
Times are seconds of the holder's clock; a worker works out its own from them (`Offset`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from retouch import errors
from retouch.engine.breaker import Outage
from retouch.engine.budget import Attempt
from retouch.errors import BudgetReached, Refused, RetouchError
from retouch.money import Money

BUDGET = "budget"  # the purse of the run's budgets
AGAIN = "again"  # the purse of `run.on_unknown.up_to`
# A worker that heard nothing from the holder for so long sends nothing any more, and nobody else
# takes over its shard before that.
LEASE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Reserve:
    """Asks to hold the most that an attempt may cost."""

    purse: str
    attempt: Attempt
    lane: str
    ceiling: Money | None
    is_learnt: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Holds the most that an attempt of an earlier run, or of a lost worker, may still cost."""

    purse: str
    attempt: Attempt
    lane: str
    ceiling: Money | None
    day: str | None


@dataclass(frozen=True, slots=True)
class Settle:
    """Gives back what an attempt held, less what it cost; None: all of it counts. `day`: when it
    was sent, as the ledger has it."""

    purse: str
    attempt: Attempt
    charged: Decimal | None
    day: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Keeps so many places in flight, gives back those above, and asks for `wanted` more."""

    lane: str
    kept: int
    wanted: int


@dataclass(frozen=True, slots=True)
class WantSlot:
    """Asks for leave to send one request."""

    lane: str
    images: int
    tokens: float


@dataclass(frozen=True, slots=True)
class Left:
    """The request of a slot was sent, at the latest at `at`."""

    lane: str
    slot: int
    at: float


@dataclass(frozen=True, slots=True)
class NotUsed:
    """A slot is given back: nothing was, nor will be sent in it."""

    lane: str
    slot: int


@dataclass(frozen=True, slots=True)
class Used:
    """What the request of a slot counted."""

    lane: str
    slot: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Penalized:
    """The server asked to be left alone for so long."""

    lane: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Overrun:
    """The server has too much; `cuts` were known when the request left."""

    lane: str
    cuts: int


@dataclass(frozen=True, slots=True)
class Unserved:
    """A request that left then was not served."""

    lane: str
    left_at: float
    is_limit: bool


@dataclass(frozen=True, slots=True)
class Served:
    """The server answered; `took` a request: it may have more at once."""

    lane: str
    took: bool


@dataclass(frozen=True, slots=True)
class Retried:
    """A retry was taken from the lane's budget of them."""

    lane: str


@dataclass(frozen=True, slots=True)
class Streak:
    """An answer that may have been charged for no picture (`lost`), or a picture."""

    lane: str
    lost: bool


Told = (
    Settle
    | Places
    | Resume
    | Left
    | NotUsed
    | Used
    | Penalized
    | Overrun
    | Unserved
    | Served
    | Retried
    | Streak
)
Asked = Reserve | Places | WantSlot


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no room now; ask again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Granted:
    """The amount is held."""


@dataclass(frozen=True, slots=True)
class MorePlaces:
    """So many places more; `share`: above how many they are to be given back as they get free."""

    more: int
    share: int


@dataclass(frozen=True, slots=True)
class SlotGiven:
    """Leave to send one request, between two moments of the holder's clock."""

    slot: int
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run or a lane is stopped, as it is told elsewhere."""

    kind: str
    message: str
    hint: str
    model: str | None = None

    @classmethod
    def of(cls, error: RetouchError) -> Reason:
        """The same as plain data."""
        model = error.model if isinstance(error, BudgetReached) else None
        return cls(type(error).__name__, error.message, error.hint, model)

    @property
    def error(self) -> RetouchError:
        """The error it was."""
        if self.kind == BudgetReached.__name__:
            return BudgetReached(self.message, hint=self.hint, model=self.model)
        kind = getattr(errors, self.kind, None)
        is_one = isinstance(kind, type) and issubclass(kind, RetouchError)
        made: RetouchError = (kind if is_one and kind is not None else Refused)(
            self.message, hint=self.hint
        )
        return made


Answer = Wait | Granted | MorePlaces | SlotGiven | Reason


@dataclass(frozen=True, slots=True)
class LaneView:
    """How a lane stands at the holder: what every worker must know to behave as one."""

    cuts: int
    outage: Outage
    requests: int
    retries: int
    losses: int


@dataclass(frozen=True, slots=True)
class Report:
    """One message of the worker that has the holding `holding` of a shard.

    `events`: what its observer was told, for the driver alone. `observed`: the most tokens a
    model's requests have counted, as (input, output an image).
    """

    shard: int
    holding: int
    told: tuple[Told, ...] = ()
    asked: tuple[Asked, ...] = ()
    stops: tuple[tuple[str | None, Reason], ...] = ()
    observed: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the holder says to a Report; `is_over`: the holding was taken from the worker, which
    sends nothing any more. `now`: end at once, what is in flight is unknown."""

    at: float
    answers: tuple[Answer, ...] = ()
    lanes: dict[str, LaneView] = field(default_factory=dict)
    stops: tuple[tuple[str | None, Reason], ...] = ()
    observed: dict[str, tuple[int, int]] = field(default_factory=dict)
    now: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A shard's new holding; `open`: what a worker that was lost had reserved for it."""

    holding: int
    open: tuple[tuple[str, Attempt], ...] = ()


class Offset:
    """How far the holder's clock is ahead of one's own, from calls to it: never known exactly, but
    to lie between what a call's beginning and its end allow. Old calls are forgotten, for clocks
    drift."""

    def __init__(self, kept: int = 64) -> None:
        self._calls: deque[tuple[float, float]] = deque(maxlen=kept)
        self.least = self.most = 0.0

    def heard(self, asked: float, at: float, answered: float) -> None:
        """A call that was made at `asked` and over at `answered`, by one's own clock; in between
        the holder's showed `at`."""
        self._calls.append((at - answered, at - asked))
        self.least = max(low for low, _ in self._calls)
        self.most = min(high for _, high in self._calls)
        if self.least > self.most:  # a clock was set, or a machine slept: begin anew
            self._calls.clear()
            self._calls.append((at - answered, at - asked))
            self.least, self.most = at - answered, at - asked

    def not_before(self, theirs: float) -> float:
        """One's own time at which it is surely `theirs` there."""
        return theirs - self.least

    def not_after(self, theirs: float) -> float:
        """One's own time until which it is surely not yet `theirs` there."""
        return theirs - self.most

    def theirs(self, own: float) -> float:
        """The latest that it can be there."""
        return own + self.most
