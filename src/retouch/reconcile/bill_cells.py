"""What is written in one cell of a bill: a number, a currency (a day or time: `dialects.bill`).

Nothing is guessed silently: what could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from retouch.dialects.bill import UnreadableCell
from retouch.errors import InputRefused
from retouch.money import CODES, currency_meant
from retouch.text import one_clean_line

SIGNS: Mapping[str, frozenset[str]] = {
    "¥": frozenset({"CNY", "JPY"}),
    "￥": frozenset({"CNY", "JPY"}),
    "元": frozenset({"CNY"}),
    "$": frozenset({"USD", "AUD", "CAD", "HKD", "MXN", "NZD", "SGD", "TWD"}),
    "€": frozenset({"EUR"}),
    "£": frozenset({"GBP"}),
}
"""Currency signs, and the currencies they stand for."""
_NUMBER = re.compile(
    r"[+-]?(\d{1,15}|[1-9]\d{0,2}(,\d{3}){1,4})?(\.\d{0,18})?([eE][+-]?0?\d)?", re.ASCII
)
_NOTHING = ("", "-", "--", "—")


def number(text: str, role: str) -> Decimal | None:
    """A number as written, with commas between thousands, a sign of its currency, and a minus or
    brackets where it is less than zero; None for an empty cell."""
    bare = "".join(one for one in text if one not in SIGNS and not one.isspace())
    if bare in _NOTHING:
        return None
    in_brackets = bare.startswith("(") and bare.endswith(")")
    bare = ("-" + bare[1:-1] if in_brackets else bare).replace("\u2212", "-")
    if not _NUMBER.fullmatch(bare) or not any(map(str.isdigit, bare)):
        remedy = "write it like 1,234.56" if re.search(r"\d", text) else "check --columns"
        raise UnreadableCell(f"`{one_clean_line(text, 40)}` is no number ({role})", remedy)
    return Decimal(bare.replace(",", ""))


def currency(text: str) -> str | None:
    """A currency's code, also where it is written in another usual way; None for an empty cell."""
    if text in _NOTHING:
        return None
    code = currency_meant(text)
    if code not in CODES:
        what = f"`{one_clean_line(text, 20)}` is no currency"
        raise UnreadableCell(what, "write three letters, like CNY")
    return code


def zone_of(offset: str) -> timezone:
    """`+08:00` as a zone; raises InputRefused."""
    try:
        moment: datetime | None = datetime.fromisoformat(f"2025-01-01T00:00:00{offset or '+00:00'}")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputRefused(f"--utc-offset {offset}: write an offset like +08:00")
    return timezone(moment.utcoffset() or timedelta(0))
