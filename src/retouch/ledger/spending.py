"""What one part of a ledger alone says of money: what budgets of shards are kept by.

An Attempt counts where it was begun, at its ceiling for as long as that part does not say how it
ended; what another part says of it counts there. So the parts together count at least what was
spent, and none of them needs another's to be right.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, localcontext

from retouch.ledger.charges import Charge, Charges
from retouch.ledger.outcome import Totals
from retouch.ledger.records import AnyRecord
from retouch.money import EXACT, Money

_SHARE_DIGITS = Decimal("1e-12")


class Spending:
    """The money of one part; `apply` takes its next Record."""

    def __init__(self) -> None:
        self._charges = Charges()
        self._totals = Totals()

    @property
    def open(self) -> dict[tuple[str, int], Charge]:
        """What this part alone leaves open, by key and attempt."""
        return self._charges.open

    def apply(self, record: AnyRecord) -> None:
        """Take in one Record."""
        posting = self._charges.apply(record)
        if posting is None:
            return
        model, day = posting.charge.model, posting.charge.day
        former = posting.former
        if former is not None and former.verdict == "charged":
            self._totals.take_back(former.paid.money if former.paid else None, model, day)
        if posting.verdict == "charged":
            self._totals.pay(posting.paid.money if posting.paid else None, model, day)

    def counted(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """What counts towards a budget: the confirmed, and what is open at its ceiling."""
        with localcontext(EXACT):
            spent = (
                money.amount
                for (of_model, of_day, code), money in self._totals.spent.items()
                if code == currency and model in (None, of_model) and day in (None, of_day)
            )
            reserved = (
                charge.ceiling.amount
                for charge in self.open.values()
                if charge.ceiling and charge.ceiling.currency == currency
                if model in (None, charge.model) and day in (None, charge.day)
            )
            return sum(spent, Decimal(0)) + sum(reserved, Decimal(0))


class SharedSpending:
    """What counts towards the share of one of `shards`: its own part, and an equal share of what
    parts of runs that were divided otherwise have counted, rounded up."""

    def __init__(self, shards: int) -> None:
        self.own = Spending()
        self._others: dict[int, Spending] = {}
        self._shards = shards

    def of(self, other: int | None) -> Spending:
        """The money of its own part (None), or of another one by its number."""
        return self.own if other is None else self._others.setdefault(other, Spending())

    def counted(self, currency: str, model: str | None = None, day: str | None = None) -> Money:
        """As Replay's."""
        with localcontext(EXACT):
            others = sum(
                (each.counted(currency, model, day) for each in self._others.values()), Decimal(0)
            )
        share = (others / self._shards).quantize(_SHARE_DIGITS, ROUND_CEILING, EXACT)
        return Money(self.own.counted(currency, model, day), currency) + Money(share, currency)

    def spent(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """The same as an amount: what is confirmed and what is open are not told apart."""
        return self.counted(currency, model, day).amount

    def reserved(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:  # noqa: ARG002 - as Replay's
        """Nothing: it is counted as spent."""
        return Decimal(0)

    def spent_by_day(self, currency: str, model: str | None = None) -> dict[str, Decimal]:  # noqa: ARG002 - as Replay's
        """Nothing: how fast money goes is told of all shards together."""
        return {}
