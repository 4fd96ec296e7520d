"""Marks: what a person says of a picture, in `review.jsonl` beside the ledger.

Append-only, a JSON object a line, last wins. A line whose `index` is null speaks of every picture
of its Job, and of those that come later under the same Key.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from retouch.errors import InputRefused
from retouch.ledger.state import Replay
from retouch.storage.durable import (
    open_regular,
    require_regular,
    storage_failed,
    sync_folder,
    write_all,
)

NAME = "review.jsonl"
REASON_CHARACTERS = 500
Verdict = Literal["keep", "reject", "none"]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One line: `index` counts a Job's pictures from 0 (None: all of them), `at` is UTC."""

    v: int = 1
    at: str
    key: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    index: Annotated[int, msgspec.Meta(ge=0)] | None = None
    mark: Verdict
    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARACTERS)] = ""


_decoder = msgspec.json.Decoder(Mark)
_encoder = msgspec.json.Encoder()


def mark_now(key: str, index: int | None, verdict: Verdict, reason: str = "") -> Mark:
    """A mark of this moment; a long reason is cut."""
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Mark(at=at, key=key, index=index, mark=verdict, reason=reason[:REASON_CHARACTERS])


@dataclass(slots=True)
class Marks:
    """What stands of all marks: of each picture the last that speaks of it."""

    _jobs: dict[str, Mark] = field(default_factory=dict)
    _pictures: dict[str, dict[int, Mark]] = field(default_factory=dict)

    def take(self, mark: Mark) -> None:
        """One more mark; it supersedes what was said before."""
        if mark.index is None:
            self._jobs[mark.key] = mark
            self._pictures.pop(mark.key, None)
        else:
            self._pictures.setdefault(mark.key, {})[mark.index] = mark

    def of(self, key: str, index: int) -> Mark | None:
        """What stands of a picture; None where nothing was said, or it was taken back."""
        mark = self._pictures.get(key, {}).get(index) or self._jobs.get(key)
        return None if mark is None or mark.mark == "none" else mark

    def rejects(self, key: str, index: int) -> bool:
        """Whether a picture is rejected."""
        mark = self.of(key, index)
        return mark is not None and mark.mark == "reject"

    @property
    def rejected_keys(self) -> frozenset[str]:
        """Jobs to be done again: some picture is rejected, and none was said to be kept.

        Where one of several variants is kept by name, the Job has given what it is for.
        """
        return frozenset(key for key in {*self._jobs, *self._pictures} if self._is_rejected(key))

    def _is_rejected(self, key: str) -> bool:
        whole = self._jobs.get(key)
        said = {mark.mark for mark in self._pictures.get(key, {}).values()}
        said |= {whole.mark} if whole else set()
        return "reject" in said and "keep" not in said

    def standing(self) -> Iterator[Mark]:
        """The marks that stand, oldest first: replayed, they say the same."""
        pictures = (mark for of_job in self._pictures.values() for mark in of_job.values())
        yield from sorted((*self._jobs.values(), *pictures), key=lambda mark: mark.at)


def counts_with(state: Replay, rejected: frozenset[str]) -> dict[str, int]:
    """Jobs by outcome, as the plan sees them: one that was rejected counts as such until another
    stands in its place, which then counts alone."""
    counts = state.place_counts()
    replaced = state.outcomes.replaced() if rejected else set()
    for key in rejected:
        outcome = state.outcomes.get(key)
        if outcome is not None and outcome.has_files:
            counts[outcome.state] -= 1
            counts["rejected"] += key not in replaced
    return {name: count for name, count in sorted(counts.items()) if count}


def read_marks(folder: Path) -> Marks:
    """The marks in an outputs folder. A last line that was cut short is none.

    Raises InputRefused with file and line for what is no mark, StorageFailed.
    """
    path = folder / NAME
    marks = Marks()
    descriptor = open_regular(path)
    if descriptor is None:
        return marks
    with os.fdopen(descriptor, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            if line.strip():
                marks.take(_parsed(line, f"{path}:{number}"))
    return marks


def parsed_mark(data: bytes) -> Mark:
    """A mark from outside. Raises msgspec.MsgspecError, a ValueError."""
    return _decoder.decode(data)


def _parsed(line: bytes, place: str) -> Mark:
    try:
        mark = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputRefused(f"{place}: not a mark ({error}); remove or mend the line") from None
    if mark.v != 1:
        raise InputRefused(f"{place}: written by a newer retouch (v {mark.v})")
    return mark


def append_marks(folder: Path, marks: Iterable[Mark]) -> None:
    """Add marks, durable on return; several writers take turns. Raises StorageFailed.

    What a crash left of a line is cut off first: it was never acknowledged.
    """
    data = b"".join(_encoder.encode(mark) + b"\n" for mark in marks)
    path = folder / NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        is_new = not path.exists()
        descriptor = require_regular(os.open(path, flags, 0o644), path)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _cut_torn_line(file.fileno())
            write_all(file.fileno(), data)
            os.fdatasync(file.fileno())
        if is_new:
            sync_folder(folder)
    except OSError as error:
        raise storage_failed(path, error) from error


def _cut_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
