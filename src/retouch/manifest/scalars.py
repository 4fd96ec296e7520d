"""What an unquoted YAML scalar means in a manifest: a stricter reading than YAML 1.1's.

Only what reads the same to everybody is taken: null, true, false, decimal numbers, days
(YYYY-MM-DD) and text. What YAML 1.1 would turn into something else than it looks like (`no`,
`16:9`, `010`, `1_000`) is refused with the advice to quote it. A number with a fraction becomes a
Decimal of the very digits written, so that money never passes through a float.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

Scalar = str | int | Decimal | bool | date | None

NUMBER_CHARACTERS = 40

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUES = frozenset({"true", "True", "TRUE"})
_FALSES = frozenset({"false", "False", "FALSE"})
_OLD_BOOLEANS = frozenset({"yes", "no", "on", "off"})
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]{1,2})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[Zz]|[-+][0-9]{2}:[0-9]{2})"
)
_DATE = "is a date"
_TRAPS = (
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), "is not a finite number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), "is a base-60 number"),
    (re.compile(r"[-+]?0o?[0-9_]+"), "may be read as an octal number"),
    (re.compile(r"[-+]?0x[0-9a-fA-F_]+"), "is a hexadecimal number"),
    (re.compile(r"[-+]?0b[01_]+"), "is a binary number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"), "is no plain number"),
    (
        re.compile(
            r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
            r"(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?.*)?"
        ),
        _DATE,
    ),
)


@dataclass(frozen=True, slots=True)
class Trap:
    """A scalar that YAML takes for something else than it looks like, and what to write."""

    what: str
    remedy: str


def read_scalar(text: str) -> Scalar | Trap:
    """What the unquoted scalar `text` means, or why it is refused."""
    if text in _NULLS:
        return None
    if text in _TRUES or text in _FALSES:
        return text in _TRUES
    if text.lower() in _OLD_BOOLEANS:
        return Trap(
            f"`{text}` means true or false in YAML",
            f'quote it if the word is meant ("{text}"), else write true or false',
        )
    if text[0] in "0123456789+-.":
        return _numeric(text)
    return text


def _numeric(text: str) -> Scalar | Trap:
    if _WHOLE.fullmatch(text) and len(text) <= NUMBER_CHARACTERS:
        return int(text)
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            return Trap(f"`{text}` is no day of the calendar", "quote it if a text is meant")
    if _INSTANT.fullmatch(text):  # an instant with its offset stays text; its reader parses it
        return text
    leading_zero = text.lstrip("+-").startswith("0") and text.lstrip("+-")[1:2].isdigit()
    if _NUMBER.fullmatch(text) and len(text) <= NUMBER_CHARACTERS and not leading_zero:
        return Decimal(text)
    for pattern, reason in _TRAPS:
        if pattern.fullmatch(text):
            shown = text if len(text) <= NUMBER_CHARACTERS else text[:NUMBER_CHARACTERS] + "…"
            instead = "a day like 2025-10-02" if reason == _DATE else "a plain decimal number"
            return Trap(
                f"`{shown}` {reason} in YAML",
                f'quote it if the text is meant ("{shown}"), else write {instead}',
            )
    return text
