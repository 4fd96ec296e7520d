"""`--since` and `--until`: the days that a command looks at."""

from __future__ import annotations

import argparse
import re
from datetime import date

from retouch.errors import InputRefused
from retouch.report import Period
from retouch.text import one_clean_line

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def add_period(parser: argparse.ArgumentParser) -> None:
    """The two flags."""
    parser.add_argument("--since", metavar="DAY", default="", help="first day, like 2025-10-02")
    parser.add_argument("--until", metavar="DAY", default="", help="last day")


def period_of(arguments: argparse.Namespace) -> Period:
    """The period they name. Raises InputRefused for what is no day."""
    for option, text in (("--since", arguments.since), ("--until", arguments.until)):
        if text and not _is_day(text):
            raise InputRefused(
                f"{option} {one_clean_line(text, 40)}: write a day like 2025-10-02; days are whole"
            )
    if arguments.until and arguments.since > arguments.until:
        raise InputRefused(
            f"--since {arguments.since} --until {arguments.until}: the first day is after the last"
        )
    return Period(arguments.since, arguments.until)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return _DAY.fullmatch(text) is not None
