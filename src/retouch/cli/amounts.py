"""An amount of money as it is written on a command line: 50, 0.28 or 50CNY."""

from __future__ import annotations

import re
from decimal import Decimal

from retouch.errors import InputRefused
from retouch.manifest.currencies import CODES
from retouch.text import one_clean_line

_AMOUNT = re.compile(r"(\d{1,13}(?:\.\d{1,12})?) ?([A-Z]{3})?", re.ASCII)


def amount_of(option: str, said: str) -> tuple[Decimal, str]:
    """The amount, and its currency ("" where none is written). Raises InputRefused."""
    found = _AMOUNT.fullmatch(said.strip())
    if found is None:
        raise InputRefused(
            f"{option} {one_clean_line(said, 40)}: write an amount like 0.28 or 0.28CNY"
        )
    if found[2] and found[2] not in CODES:
        raise InputRefused(f"{option} {said}: {found[2]} is no currency; write a code like CNY")
    return Decimal(found[1]), found[2] or ""
