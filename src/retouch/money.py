"""Money: a Decimal amount with its currency; never a float, never two currencies in one sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

EXACT = Context(prec=60)  # 10^12 with 12 decimals, over 10^9 records, is 33 digits


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An exact amount in one currency (ISO 4217 code)."""

    amount: Decimal
    currency: str

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(EXACT.add(self.amount, other.amount), self.currency)

    def __str__(self) -> str:
        return f"{shown(self.amount)} {self.currency}"


def total(amounts: Iterable[Money]) -> dict[str, Money]:
    """The sums by currency: mixed currencies are never added."""
    sums: dict[str, Money] = {}
    for money in amounts:
        known = sums.get(money.currency)
        sums[money.currency] = money if known is None else known + money
    return sums


def exact(amount: Decimal) -> str:
    """The amount in full, never in exponent form, with at least six decimals: for the ledger."""
    exponent = amount.as_tuple().exponent
    places = max(6, -exponent) if isinstance(exponent, int) else 6
    with localcontext(EXACT):
        return f"{amount:.{places}f}"


def shown(amount: Decimal) -> str:
    """The amount rounded for people: two decimals, more where the amount is small."""
    places = 2 if amount == 0 or abs(amount) >= 1 else 4
    if amount and abs(amount) < Decimal("0.001"):
        places = 6
    return f"{amount:,.{places}f}"
