"""Telling somebody that a budget comes to its end, or a run to its own (`run.notify`).

It never harms a run: what is due is queued without waiting, delivered by one task, tried once and
within NOTICE_SECONDS, and a failure is told once. A threshold of a budget is told once: within a
run by memory, over runs of one budget by NOTIFIED_FILE, which is written before it is told. What
leaves is scrubbed of secrets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import anyio
import msgspec

from retouch.engine.budget import Cap
from retouch.errors import RetouchError, StorageFailed
from retouch.money import Money, exact
from retouch.storage.durable import replace_whole
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line, without_secrets

NOTICE_SECONDS = 10.0
NOTIFIED_FILE = "notified.json"
_FULL = 100


class Notice(NamedTuple):
    """What goes out: a JSON document, and its `text`, the line for people."""

    document: bytes
    text: str


Deliver = Callable[[Notice], Awaitable[str | None]]
"""Says why a notice was not taken, if it was not."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: `outcome` as its last Record says it, Jobs by state, money by currency."""

    outcome: str
    exit_code: int
    counts: Mapping[str, int]
    confirmed: Mapping[str, Money]
    unknown_high: Mapping[str, Money]
    reason: RetouchError | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What every notice says of its run; `secrets` are cut from all of it."""

    manifest: str
    run: str
    secrets: tuple[str, ...] = ()


class _Mark(msgspec.Struct, frozen=True):
    """A threshold that was told: of which budget, on which day (UTC), at how many percent."""

    budget: str
    limit: str
    day: str | None
    percent: int


def _mark(cap: Cap, percent: int) -> _Mark:
    limit = f"{exact(cap.limit.amount)} {cap.limit.currency}"
    return _Mark(cap.name, limit, cap.day, percent)


@dataclass(slots=True)
class Notices:
    """The notices of one run: `watch` budgets, `sending` while it goes on, `end` after it.

    `at`: the words of the manifest, like `80%` and `end`. `folder`: where is written what was told,
    in `file`. `is_virtual`: nobody is paid.
    """

    at: Sequence[str]
    subject: Subject
    folder: Path
    deliver: Deliver
    say: Callable[[str], None]
    is_virtual: bool = False
    file: str = NOTIFIED_FILE
    _told: set[_Mark] = field(default_factory=set)
    _lasting: set[_Mark] = field(default_factory=set)
    _due: list[tuple[Cap, int]] = field(default_factory=list)
    _wake: anyio.Event = field(default_factory=anyio.Event)
    _has_failed: bool = False
    _is_closing: bool = False
    _is_closed: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self._lasting = _read(self.folder / self.file)
        self._told = set(self._lasting)

    @property
    def _percents(self) -> list[int]:
        return sorted({int(word[:-1]) for word in self.at if word.endswith("%")}, reverse=True)

    def watch(self, cap: Cap) -> None:
        """A budget has changed: what it passes for the first time is due, the highest alone."""
        passed = [percent for percent in self._percents if _is_passed(cap, percent)]
        new = [percent for percent in passed if _mark(cap, percent) not in self._told]
        if not new:
            return
        self._told.update(_mark(cap, percent) for percent in new)
        if new[0] == passed[0]:
            self._due.append((cap, new[0]))
            self._wake.set()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Deliver what is due until the end of the block, and what is left then, for so long as
        one may take."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._deliver_what_is_due)
            try:
                yield
            finally:
                self._is_closing = True
                self._wake.set()
                with anyio.move_on_after(NOTICE_SECONDS, shield=True):
                    await self._is_closed.wait()
                group.cancel_scope.cancel()

    async def end(self, ending: Ending) -> None:
        """Tell of the run's end, if that was asked for."""
        if "end" not in self.at:
            return
        reason = ending.reason.message if ending.reason else None
        done = ", ".join(f"{count:,} {word}" for word, count in sorted(ending.counts.items()))
        paid = ", ".join(map(str, ending.confirmed.values())) or "nothing"
        high = "".join(f", up to {money} unknown" for money in ending.unknown_high.values())
        document: dict[str, object] = {
            "outcome": ending.outcome,
            "exit_code": ending.exit_code,
            "counts": dict(ending.counts),
            "cost": {
                "confirmed": _amounts(ending.confirmed),
                "unknown_high": _amounts(ending.unknown_high),
            },
            "reason": reason,
        }
        why = f" ({reason})" if reason else ""
        text = f"{ending.outcome}{why}: {done or 'no jobs'}; {paid} confirmed{high}"
        await self._deliver("end", "end", text, document)

    async def _deliver_what_is_due(self) -> None:
        while self._due or not self._is_closing:
            await self._wake.wait()
            self._wake = anyio.Event()
            while self._due:
                cap, percent = self._due.pop(0)
                self._remember(cap)
                await self._deliver("budget", f"{percent}%", _text(cap, percent), _document(cap))
        self._is_closed.set()

    def _remember(self, cap: Cap) -> None:
        """Write down what is told of a budget that lasts longer than a run, before it is told."""
        if not cap.counts_history:
            return
        others = {mark for mark in self._lasting if mark.budget != cap.name or mark.day == cap.day}
        self._lasting = others | {
            mark for mark in self._told if (mark.budget, mark.day) == (cap.name, cap.day)
        }
        try:
            _write(self.folder / self.file, self._lasting)
        except StorageFailed as error:
            self._fail(error.message)

    async def _deliver(self, event: str, at: str, text: str, more: Mapping[str, object]) -> None:
        about = self.subject
        virtual = " (virtual)" if self.is_virtual else ""
        line = one_clean_line(self._clean(f"{about.manifest}: {text}{virtual}"))
        document = {
            "event": event,
            "at": at,
            "text": line,
            "manifest": about.manifest,
            "run": about.run,
            "virtual": self.is_virtual,
            "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            **more,
        }
        problem: str | None = f"not taken within {NOTICE_SECONDS:g} s"
        try:
            with anyio.move_on_after(NOTICE_SECONDS):
                written = msgspec.json.encode(self._scrubbed(document))
                problem = await self.deliver(Notice(written, line))
        except Exception as error:  # whatever a hook does, the run goes on
            problem = str(error)
        if problem:
            self._fail(problem)

    def _fail(self, problem: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.say(one_clean_line(self._clean(f"run.notify: {problem}; the run goes on")))

    def _clean(self, text: str) -> str:
        return without_secrets(text, self.subject.secrets)

    def _scrubbed(self, value: object) -> object:
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, Mapping):
            return {key: self._scrubbed(inner) for key, inner in value.items()}
        return value


def _is_passed(cap: Cap, percent: int) -> bool:
    limit = cap.limit.amount
    if percent == _FULL and cap.is_full:
        return True
    return limit > 0 and cap.counted * _FULL >= limit * percent


def _text(cap: Cap, percent: int) -> str:
    counted = Money(cap.counted, cap.limit.currency)
    if percent == _FULL:
        return f"{cap.name} is reached: {counted} of {cap.limit} counted"
    return f"{percent} % of {cap.name} are passed: {counted} of {cap.limit} counted"


def _document(cap: Cap) -> dict[str, object]:
    left = max(Decimal(0), cap.limit.amount - cap.counted)
    return {
        "budget": {
            "name": cap.name,
            "model": cap.model,
            "day": cap.day,
            "currency": cap.limit.currency,
            "limit": exact(cap.limit.amount),
            "counted": exact(cap.counted),
            "left": exact(left),
        }
    }


def _amounts(sums: Mapping[str, Money]) -> dict[str, str]:
    return {currency: exact(money.amount) for currency, money in sums.items()}


def _read(path: Path) -> set[_Mark]:
    """What was told by earlier runs; a file that cannot be read says nothing."""
    try:
        data = read_regular(path)
        return set(msgspec.json.decode(data, type=list[_Mark])) if data else set()
    except (OSError, UnreadableFile, msgspec.MsgspecError):
        return set()


def _write(path: Path, marks: set[_Mark]) -> None:
    ordered = sorted(marks, key=lambda each: (each.budget, each.limit, each.percent))
    replace_whole(path, msgspec.json.format(msgspec.json.encode(ordered)) + b"\n")
