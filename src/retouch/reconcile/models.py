"""Which model of ours a line of a bill means: by name, by what the user says, by its words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from retouch.dialects.bill import Bill, Line
from retouch.errors import InputRefused
from retouch.reconcile.lines import summed

_FILLER = frozenset(
    [
        "input",
        "output",
        "token",
        "tokens",
        "image",
        "images",
        "text",
        "generation",
        "online",
        "predictions",
        "prediction",
        "count",
        "per",
        "api",
        "call",
        "calls",
        "the",
        "of",
        "for",
        "model",
        "native",
        "batch",
    ]
)


def pairs_of(said: Iterable[str]) -> dict[str, str]:
    """`--models THEIRS=OURS`, where THEIRS may hold `*`. Raises InputRefused."""
    pairs = {}
    for each in said:
        theirs, separator, ours = each.rpartition("=")
        if not separator or not theirs.strip() or not ours.strip():
            raise InputRefused(f"--models {each}: write THEIRS=OURS, like openai/x=x")
        pairs[theirs.strip()] = ours.strip()
    return pairs


def with_our_models(bill: Bill, ours: Collection[str], said: Mapping[str, str]) -> Bill:
    """The bill with our names for its models, where they can be told; a note says which."""
    named: dict[str, str] = {}
    for theirs in dict.fromkeys(line.model for line in bill.lines if not line.category):
        meant = _meant(theirs, ours, said, by_words=bill.by_words)
        if meant != theirs:
            named[theirs] = meant
    if not named:
        return bill
    lines = tuple(replace(line, model=named.get(line.model, line.model)) for line in bill.lines)
    notes = tuple(f"{bill.name}: `{theirs}` is {meant}" for theirs, meant in named.items())
    return replace(bill, lines=_joined(lines, bill), notes=(*bill.notes, *notes))


def _joined(lines: tuple[Line, ...], bill: Bill) -> tuple[Line, ...]:
    """Sums of one model under several names are one sum."""
    return tuple(summed(lines)) if bill.is_itemised is False else lines


def _meant(theirs: str, ours: Collection[str], said: Mapping[str, str], *, by_words: bool) -> str:
    for pattern, model in said.items():
        if pattern == theirs or fnmatchcase(theirs, pattern):
            return model
    if theirs in ours:
        return theirs
    for short in (theirs.rpartition("/")[2], theirs.partition(", ")[0]):
        same = [each for each in ours if each.lower() == short.lower()]
        if len(same) == 1:
            return same[0]
    if by_words:
        words = _words(theirs)
        alike = [each for each in ours if _words(each) and _words(each) <= words]
        most = max((len(_words(each)) for each in alike), default=0)
        best = [each for each in alike if len(_words(each)) == most]
        if len(best) == 1:
            return best[0]
    return theirs


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+|\d+(?:\.\d+)*", name.lower())) - _FILLER
