"""A Job seen as a whole, in few bytes: where its charged Attempts were counted, and its results."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from retouch.ledger.charges import Charge, Posting
from retouch.report.breakdown import Spot
from retouch.report.waste import Example


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a charged Attempt: where it was counted, what for, and its result, by
    which so many pictures still stand."""

    attempt: int
    spot: Spot
    paid: Decimal | None
    is_unpriced: bool
    standing: int
    result: Example | None


class WholeJob:
    """The charged Attempts of one Job, and those of which nobody knows the end."""

    __slots__ = ("charged", "open")

    def __init__(self) -> None:
        self.charged: list[Spent] = []
        self.open: list[Charge] = []

    @property
    def is_unsure(self) -> bool:
        """Whether its cost is not known in full."""
        return bool(self.open) or any(each.is_unpriced for each in self.charged)

    def take(self, posting: Posting, spent: Spent) -> None:
        """One Charge that was settled, or is known to be one."""
        if posting.former is not None:
            self.charged = [each for each in self.charged if each.attempt != spent.attempt]
        if posting.verdict != "free":
            self.charged.append(spent)

    def leave_open(self, charge: Charge) -> None:
        """One Charge of which nobody knows the end."""
        self.open.append(charge)
