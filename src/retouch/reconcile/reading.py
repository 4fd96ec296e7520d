"""A bill from a file's bytes, whatever form it came in."""

from __future__ import annotations

from datetime import UTC, timezone

from retouch.dialects.bill import Bill, decoded
from retouch.dialects.qiniu.usage import usage_bill
from retouch.errors import InputRefused, Problem
from retouch.reconcile.csv_bill import read_csv


def read_bill(name: str, text: bytes, columns: str = "", zone: timezone = UTC) -> Bill:
    """A bill from a file's bytes: the usage JSON if it begins like one, else CSV.

    Raises InputRefused with file and line, also for a bill without lines.
    """
    words = decoded(name, text)
    is_json = words.lstrip()[:1] in ("{", "[")
    bill = usage_bill(name, [text], zone) if is_json else read_csv(name, words, columns, zone)
    if not bill.lines:
        raise InputRefused([Problem(name, 0, 0, "the bill has no lines", "export it again")])
    return bill
