"""Currency codes in use (ISO 4217, list one of 2024-06, without funds, metals and tests)."""

from __future__ import annotations

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


def meant(text: str) -> str:
    """The code somebody who wrote `text` probably meant; empty if there is no telling."""
    upper = text.strip().upper()
    return upper if upper in CODES else _OTHER_NAMES.get(upper, "")
