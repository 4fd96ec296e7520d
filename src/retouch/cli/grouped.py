"""Problems told once and short: those alike are three examples and a count, and where there are
more than can be read at a glance, the whole list is in a file that is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from retouch.errors import Problem

EXAMPLES = 3
TOLD_IN_FULL = 8
_NUMBERS = re.compile(r"\d[\d,.]*")


def grouped(problems: Iterable[Problem], list_file: Path) -> list[Problem]:
    """The problems, those alike as one; with more than TOLD_IN_FULL the whole list goes to
    `list_file` (a convenience: a disk that refuses it stops nothing)."""
    found = list(dict.fromkeys(problems))
    if len(found) <= TOLD_IN_FULL:
        return found
    kinds: dict[tuple[str, ...], list[Problem]] = {}
    for problem in found:
        kinds.setdefault(_kind(problem), []).append(problem)
    told: list[Problem] = []
    for alike in kinds.values():
        if len(alike) <= EXAMPLES:
            told.extend(alike)
        else:
            told.append(_as_one(alike))
    if len(told) == len(found):
        return found
    where = _written(found, list_file)
    if where:
        what = f"all {len(found):,} problems are listed in {where}"
        told.append(Problem(told[0].file, 0, 0, what, severity="warning"))
    return told


def _kind(problem: Problem) -> tuple[str, ...]:
    """What problems alike have in common: all but their place and the numbers in them."""
    file = problem.file if problem.line else ""
    return (problem.severity, file, _NUMBERS.sub("0", problem.what), problem.remedy)


def _as_one(alike: Sequence[Problem]) -> Problem:
    first = alike[0]
    if first.line:
        places = ", ".join(f"{each.line}:{each.column}" for each in alike[1:EXAMPLES])
        what = f"{first.what} (and {len(alike) - 1:,} more alike, at {places}, ...)"
        return Problem(first.file, first.line, first.column, what, first.remedy, first.severity)
    names = ", ".join(each.file for each in alike[:EXAMPLES])
    return Problem(
        f"{len(alike):,} sources ({names}, ...)", 0, 0, first.what, first.remedy, first.severity
    )


def _written(problems: Sequence[Problem], path: Path) -> str:
    """The list's file; "" where it could not be written."""
    text = "".join(f"{problem}\n" for problem in problems)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o644), "w", encoding="utf-8",
                       errors="backslashreplace") as file:  # fmt: skip
            file.write(text)
    except OSError:
        return ""
    return str(path)
