"""A damaged ledger's good beginning, and what may have come after it.

What follows the damage is looked at line by line, though its chain is broken: every Attempt that
it names may have been charged, and is held. Lines of which nothing can be read may have been any
Job's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from retouch.errors import LedgerDamaged
from retouch.ledger.head import read_head
from retouch.ledger.reading import End, Reader, take_in
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    Done,
    ErrorRecord,
    Failed,
    Started,
    TaskAccepted,
    Unknown,
    decode,
)
from retouch.ledger.state import Replay

SALVAGED = "salvaged"
_KEY = re.compile(rb'"key":"([0-9a-f]{64})"')
_ATTEMPT = re.compile(rb'"attempt":(\d{1,6})')
_NO_PLACE = "not readable"


@dataclass(frozen=True, slots=True)
class Salvage:
    """The good `end`, why it ends there, the Attempts after it that are held, the Tasks among
    them, and how many lines are lost: nothing says whose they were."""

    end: End
    damage: str
    held: tuple[Unknown, ...]
    tasks: tuple[TaskAccepted, ...]
    lost_lines: int


def salvage(path: Path) -> Salvage | None:
    """What can be kept of a damaged ledger; None where it is not damaged.

    Raises LedgerDamaged for what a newer retouch wrote, StorageFailed.
    """
    reader, state = Reader(path), Replay()
    try:
        take_in(reader, state)
    except LedgerDamaged as damaged:
        if "newer retouch" in damaged.message:
            raise
        return _salvaged(path, reader.end, state, damaged.message)
    return None


def _salvaged(path: Path, end: End, state: Replay, damage: str) -> Salvage:
    with path.open("rb") as file:
        file.seek(end.size)
        rest = [line for line in file.read().split(b"\n") if line]
    known = _Rest(state)
    lost = sum(not known.take(line) for line in rest)
    with suppress(LedgerDamaged):
        head = read_head(path)
        if head is not None:
            lost += max(0, head.lines - end.lines - len(rest))
    return Salvage(end, damage, tuple(known.held()), tuple(known.tasks.values()), lost)


class _Rest:
    """The Attempts that the lines after the damage name."""

    def __init__(self, state: Replay) -> None:
        self._state = state
        self._named: dict[tuple[str, int], AnyRecord | None] = {}
        self.tasks: dict[tuple[str, int], TaskAccepted] = {}

    def take(self, line: bytes) -> bool:
        """Take in one line; whether it tells whose it was."""
        try:
            record = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._take_pieces(line)
        if isinstance(record, TaskAccepted):
            self.tasks[record.key, record.attempt] = record
        if isinstance(record, Started | TaskAccepted | Unknown | Done | Failed):
            place = (record.key, record.attempt)
            if not isinstance(record, TaskAccepted) or place not in self._named:
                self._named[place] = record
        return True

    def _take_pieces(self, line: bytes) -> bool:
        key, attempt = _KEY.search(line), _ATTEMPT.search(line)
        if key is not None:
            place = (key[1].decode(), int(attempt[1]) if attempt else self._last(key[1].decode()))
            self._named.setdefault(place, None)
        return key is not None

    def _last(self, key: str) -> int:
        known = self._state.outcomes.get(key)
        return known.attempt if known else 1

    def held(self) -> Iterable[Unknown]:
        """Each as unknown, up to the ceiling it was begun with."""
        for (key, attempt), record in self._named.items():
            said = record if isinstance(record, Started | Unknown | Done | Failed) else None
            known = self._state.outcomes.get(key)
            began = said or (known.began if known else None)
            yield Unknown(
                key=key,
                attempt=attempt,
                model=began.model if began else _NO_PLACE,
                prompt=began.prompt if began else _NO_PLACE,
                source=began.source if began else _NO_PLACE,
                error=ErrorRecord(
                    kind="broken_reply",
                    code=SALVAGED,
                    message="named after the damage of a ledger that was salvaged",
                ),
                ceiling=_ceiling(said, known.began if known else None),
                task=self.tasks[key, attempt].task if (key, attempt) in self.tasks else None,
            )


def _ceiling(
    said: Started | Unknown | Done | Failed | None, began: Started | None
) -> AmountRecord | None:
    if isinstance(said, Done):
        return (
            AmountRecord(amount=said.cost.amount, currency=said.cost.currency)
            if said.cost
            else None
        )
    if said is not None and said.ceiling is not None:
        return said.ceiling
    return began.ceiling if began else None
