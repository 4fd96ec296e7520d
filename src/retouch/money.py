"""Money: a Decimal amount with its currency; never a float, never two currencies in one sum.

`CODES` are the currencies in use: ISO 4217, list one of 2024-06, without funds, metals and tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

NO_CURRENCY = "XXX"
"""ISO 4217's code where no currency is involved: what a server of one's own charges, nothing."""
NONE_LOCAL = "none: local"
EXACT = Context(prec=60)  # 10^12 with 12 decimals, over 10^9 records, is 33 digits

CODES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP
    BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
    GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
    KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
    MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS
    UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a table of codes reads best as one
)

_OTHER_NAMES = {
    "RMB": "CNY", "CNH": "CNY", "YUAN": "CNY", "¥": "CNY", "￥": "CNY", "元": "CNY",
    "人民币": "CNY", "$": "USD", "US$": "USD", "DOLLAR": "USD", "€": "EUR", "EURO": "EUR",
    "£": "GBP",
}  # fmt: skip


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
        if self.currency == NO_CURRENCY and not self.amount:
            return NONE_LOCAL
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


def currency_meant(text: str) -> str:
    """The code somebody who wrote `text` probably meant; empty if there is no telling."""
    upper = text.strip().upper()
    return upper if upper in CODES else _OTHER_NAMES.get(upper, "")
