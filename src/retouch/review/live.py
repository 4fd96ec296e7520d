"""The ledger followed while a run goes on: what was appended is read, nothing is locked or written.

The whole lines alone are taken, each checked to follow the one before; what a crash leaves of a
line is cut off by the next run, and was never taken.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from retouch.errors import LedgerDamaged
from retouch.ledger import FIRST_PREV, Reader, digest_of
from retouch.ledger.parts import in_order, part_paths
from retouch.ledger.records import (
    AnyRecord,
    Done,
    Failed,
    FileRecord,
    RunBegins,
    RunEnds,
    decode,
)
from retouch.money import exact
from retouch.review.gallery import Known, Original
from retouch.review.index import place_of
from retouch.review.indexed import IndexedGallery
from retouch.review.marks import NAME as MARKS
from retouch.review.marks import Mark, Marks, append_marks, read_marks
from retouch.review.thumbnails import NAME_DIGITS
from retouch.storage.durable import open_regular
from retouch.storage.part import WHOLE, part_of

RATE_SECONDS = 60
LAST_SHOWN = 8
READ_EVERY_SECONDS = 0.3
_RATED = 20_000  # answers that a rate may be made of


class Tail:
    """The Records of a ledger file as they come; `read` gives those since it was last called, each
    after the byte at which its line begins.

    Raises LedgerDamaged where what was read before is no longer there, or what follows does not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._prev = FIRST_PREV
        self._inode: int | None = None

    def read(self) -> Iterator[tuple[int, AnyRecord]]:
        """What is new. Raises LedgerDamaged, StorageFailed."""
        if self._inode is None:
            yield from self._first()
            return
        descriptor = open_regular(self._path)
        if descriptor is None:
            raise LedgerDamaged(f"{self._path}: is gone")
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_ino != self._inode or status.st_size < self._size - 1:
                raise LedgerDamaged(f"{self._path}: was replaced or cut while it was read")
            file.seek(self._size)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                begun = self._size
                yield begun, self._parsed(line)

    def _first(self) -> Iterator[tuple[int, AnyRecord]]:
        """All of it, read with suspicion."""
        try:
            inode = self._path.stat().st_ino
        except (FileNotFoundError, NotADirectoryError):
            return
        reader = Reader(self._path)
        begun = 0
        for record in reader:
            yield begun, record
            begun = reader.end.size
        # Of a last line that lacks its newline alone, the newline is still to come.
        size = reader.end.size + reader.end.unfinished
        self._inode, self._size, self._prev = inode, size, reader.end.prev

    def _parsed(self, line: bytes) -> AnyRecord:
        body = line[:-1]
        try:
            record = decode(body)
        except msgspec.MsgspecError as error:
            raise LedgerDamaged(f"{self._path}: not a record ({error})") from None
        if record.prev != self._prev:
            raise LedgerDamaged(f"{self._path}: was changed while it was read")
        self._size += len(line)
        self._prev = digest_of(body)
        return record


class Tails:
    """The Records of all parts of a ledger as they come, in their order as far as they are there;
    `ledgers` are the parts, those that begin while one looks on among them."""

    def __init__(self, path: Path) -> None:
        self.ledgers: list[Path] = []
        self.running: set[Path] = set()
        self._path = path
        self._tails: list[Tail] = []

    def read(self) -> Iterator[tuple[int, AnyRecord]]:
        """What is new, each with its place. Raises LedgerDamaged, StorageFailed."""
        for each in part_paths(self._path):
            if each not in self.ledgers:
                self.ledgers.append(each)
                self._tails.append(Tail(each))
        for number, offset, record in in_order([tail.read() for tail in self._tails]):
            self._note(number, record)
            yield place_of(number, offset), record

    def _note(self, number: int, record: AnyRecord) -> None:
        """Which parts are written: what one that begins excludes was left without an end."""
        path = self.ledgers[number]
        if isinstance(record, RunBegins):
            part = part_of(path) or WHOLE
            others = {each for each in self.running if (part_of(each) or WHOLE).excludes(part)}
            self.running = self.running - others | {path}
        elif isinstance(record, RunEnds):
            self.running.discard(path)


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run goes: Jobs by outcome, money, answers a minute, seconds since the last Record."""

    outcomes: dict[str, int]
    planned: int | None
    confirmed: list[str]
    unknown: list[str]
    per_minute: int
    refusals: int
    idle_seconds: int
    has_begun: bool
    is_running: bool
    last: list[tuple[str, int]]

    def document(self) -> dict[str, object]:
        """As a page takes it."""
        return {
            "outcomes": self.outcomes,
            "planned": self.planned,
            "confirmed": self.confirmed,
            "unknown": self.unknown,
            "per_minute": self.per_minute,
            "refusals": self.refusals,
            "idle_seconds": self.idle_seconds,
            "has_begun": self.has_begun,
            "is_running": self.is_running,
            "last": [{"key": key, "index": index} for key, index in self.last],
        }


class Following:
    """A gallery kept up with its ledger and its marks; safe to ask from several threads.

    Whoever asks holds `lock` while using `gallery` and `marks`.
    """

    def __init__(self, ledger: Path, known: Known, planned: int | None) -> None:
        self.lock = threading.RLock()
        self._tail = Tails(ledger)
        self.gallery = IndexedGallery(self._tail.ledgers, known)
        self.marks = Marks()
        self.marks_taken: list[Mark] = []
        self._folder = ledger.parent
        self._planned = planned
        self._answers: deque[float] = deque(maxlen=_RATED)
        self._last: deque[tuple[str, int]] = deque(maxlen=LAST_SHOWN)
        self._last_at = 0.0
        self._looked_at = 0.0
        self._marks_stamp: tuple[int, int] | None = None
        self._originals = {
            each.digest[:NAME_DIGITS]: each
            for each in known.originals.values()
            if each.path is not None
        }
        self._trouble: LedgerDamaged | None = None

    def refresh(self) -> None:
        """Take in what is new; at most some times a second. Raises LedgerDamaged, StorageFailed,
        InputRefused."""
        with self.lock:
            if self._trouble is not None:
                raise self._trouble
            now = time.monotonic()
            if now - self._looked_at < READ_EVERY_SECONDS:
                return
            self._looked_at = now
            try:
                for record in self.gallery.take(self._tail.read()):
                    self._rate(record)
            except LedgerDamaged as error:
                self._trouble = error  # records that were read stay shown; none is read twice
                raise
            self._read_marks()

    def mark(self, mark: Mark) -> None:
        """Write a mark and take it in. Raises StorageFailed."""
        with self.lock:
            self._read_marks()
            append_marks(self._folder, [mark])
            self._read_marks()

    def progress(self) -> Progress:
        """How it goes now."""
        with self.lock:
            gallery = self.gallery
            now = time.time()
            recent = sum(1 for at in self._answers if now - at <= RATE_SECONDS)
            planned = gallery.last_run.jobs if gallery.last_run else self._planned
            return Progress(
                outcomes={state: count for state, count in gallery.counts.items() if count},
                planned=planned,
                confirmed=_said(gallery.confirmed),
                unknown=_said({code: sum_ for code, sum_ in gallery.unknown.items() if sum_}),
                per_minute=recent,
                refusals=gallery.refusals,
                idle_seconds=max(0, round(now - self._last_at)) if self._last_at else 0,
                has_begun=gallery.last_run is not None,
                is_running=bool(self._tail.running),
                last=list(reversed(self._last)),
            )

    def file_at(self, path: str) -> FileRecord | None:
        """The picture that was last recorded under a path."""
        with self.lock:
            return self.gallery.file_at(path)

    def pictured(self, digest: str) -> FileRecord | Original | None:
        """The picture or source of which these are the first digits of the digest."""
        with self.lock:
            return self.gallery.file_of(digest) or self._originals.get(digest)

    def source(self, number: int) -> Original | None:
        """A source of the plan by its number, if it lies on this machine."""
        with self.lock:
            name = self.gallery.source_name(number)
            return None if name is None else self.gallery.known.originals.get(name)

    def _rate(self, record: AnyRecord) -> None:
        """What the run's pace is told by."""
        at = _seconds(record.at)
        self._last_at = at
        if isinstance(record, Done | Failed):
            self._answers.append(at)
        if isinstance(record, Done):
            self._last.extend((record.key, index) for index in range(len(record.files)))

    def _read_marks(self) -> None:
        """Read review.jsonl again if it has changed: another window may have written it."""
        try:
            status = (self._folder / MARKS).stat()
        except FileNotFoundError:
            return
        stamp = (status.st_size, status.st_mtime_ns)
        if stamp != self._marks_stamp:
            self._marks_stamp = stamp
            before = {(each.key, each.index): each for each in self.marks.standing()}
            self.marks = read_marks(self._folder)
            self.marks_taken += [
                each for each in self.marks.standing() if before.get((each.key, each.index)) != each
            ]


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at).astimezone(UTC).timestamp()
    except ValueError:
        return 0.0


def _said(sums: dict[str, Decimal]) -> list[str]:
    return [f"{exact(amount)} {code}" for code, amount in sums.items()]
