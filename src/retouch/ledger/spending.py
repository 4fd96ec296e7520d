"""What Records say of money: what is confirmed, what is open, by model and by day.

Of a ledger in parts, each says it for itself (see `SharedSpending`): an Attempt counts where it was
begun, at its ceiling for as long as that part does not say how it ended; what another part says of
it counts there. So the parts together count at least what was spent, and none of them needs
another's to be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal, localcontext

from retouch.ledger.charges import Charge, Charges, Posting
from retouch.ledger.outcome import Totals
from retouch.ledger.records import AnyRecord
from retouch.money import EXACT, Money, total

_SHARE_DIGITS = Decimal("1e-12")


class Spending:
    """The money of some Records; `apply` takes the next one."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._charges = Charges()

    @property
    def open_charges(self) -> dict[tuple[str, int], Charge]:
        """What is not settled, by key and attempt."""
        return self._charges.open

    @property
    def verdicts(self) -> dict[tuple[str, int], Posting]:
        """What the user's word settled, by key and attempt."""
        return self._charges.verdicts

    def apply(self, record: AnyRecord) -> Posting | None:
        """Take in one Record; what it did to its Attempt's Charge."""
        posting = self._charges.apply(record)
        if posting is not None:
            self._pay(posting)
        return posting

    def _pay(self, posting: Posting) -> None:
        """Add to the totals what a Charge was settled at."""
        begun, former = posting.charge.begun, posting.former
        if former is not None and former.verdict == "charged":
            self.totals.take_back(former.paid, begun.model, begun.at[:10])
        if posting.verdict == "charged":
            self.totals.pay(posting.paid, begun.model, begun.at[:10])

    def counted(self, currency: str, model: str | None = None, day: str | None = None) -> Money:
        """What counts towards a budget: the confirmed, and what is unknown at its ceiling."""
        spent = Money(self.spent(currency, model, day), currency)
        return spent + Money(self.reserved(currency, model, day), currency)

    def spent(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """What is confirmed, of one model and of one UTC day or of all."""
        days = self.spent_by_day(currency, model)
        return days.get(day, Decimal(0)) if day else _sum(days.values())

    def spent_by_day(self, currency: str, model: str | None = None) -> dict[str, Decimal]:
        """What is confirmed by the UTC day (YYYY-MM-DD) on which its Attempts began."""
        days: dict[str, list[Decimal]] = {}
        for (of_model, day, code), money in self.totals.spent.items():
            if code == currency and model in (None, of_model):
                days.setdefault(day, []).append(money.amount)
        return {day: _sum(amounts) for day, amounts in sorted(days.items())}

    def reserved(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """What is open, at its ceiling."""
        return _sum(
            charge.ceiling.amount
            for charge in self.open_charges.values()
            if charge.ceiling and charge.ceiling.currency == currency
            if model in (None, charge.model) and day in (None, charge.day)
        )

    @property
    def unknown_high(self) -> dict[str, Money]:
        """What open Charges may come to at most, by currency."""
        ceilings = (charge.ceiling for charge in self.open_charges.values())
        return total(ceiling for ceiling in ceilings if ceiling is not None)

    def open_currencies(self, model: str | None = None) -> set[str]:
        """The currencies that open Charges are bounded in."""
        return {
            charge.ceiling.currency
            for charge in self.open_charges.values()
            if charge.ceiling and model in (None, charge.model)
        }

    def currencies(self, model: str | None = None) -> set[str]:
        """The currencies of all that is confirmed or open."""
        spent = {code for of_model, _, code in self.totals.spent if model in (None, of_model)}
        return spent | self.open_currencies(model)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(amounts, Decimal(0))


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
        others = _sum(each.counted(currency, model, day).amount for each in self._others.values())
        with localcontext(EXACT):
            share = (others / self._shards).quantize(_SHARE_DIGITS, ROUND_CEILING)
        return self.own.counted(currency, model, day) + Money(share, currency)

    def spent(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:
        """The same as an amount: what is confirmed and what is open are not told apart."""
        return self.counted(currency, model, day).amount

    def reserved(self, currency: str, model: str | None = None, day: str | None = None) -> Decimal:  # noqa: ARG002 - as Replay's
        """Nothing: it is counted as spent."""
        return Decimal(0)

    def spent_by_day(self, currency: str, model: str | None = None) -> dict[str, Decimal]:  # noqa: ARG002 - as Replay's
        """Nothing: how fast money goes is told of all shards together."""
        return {}
