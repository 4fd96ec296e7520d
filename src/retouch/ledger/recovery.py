"""What a crash can leave at the end of a ledger, told apart from damage.

A group of lines is written with one sync, and the next group only after it. So a crash can hurt
the last group alone: its bytes may be cut anywhere, and any sector of them may never have been
written, which reads as zeros. Such a group was never acknowledged, nobody acted on it, and it is
cut off. Lines of one group share `run` and `at` and no two neighbouring groups do: that is how
a hole in the last group is known from one before it. Whatever is not *proved* torn is damage.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from retouch.ledger.records import VERSION, AnyRecord, decode

SECTOR_BYTES = 512
GROUP_CAP_BYTES = 64 * 1024 * 1024
Place = tuple[str, str]
_HOLE = re.compile(rb"\0+")
_BEGINNING = re.compile(rb'\{"event":"[a-z]+","v":1,"at":"([^"\\]{1,64})","run":"([^"\\]{1,128})"')


def digest_of(line: bytes) -> str:
    """What the next line's `prev` must be."""
    return prev_of(hashlib.sha256(line).digest())


def prev_of(digest: bytes) -> str:
    """The same, from the line's SHA-256."""
    return digest[:8].hex()


def place_of(record: AnyRecord) -> Place:
    """What the lines of one group have in common."""
    return record.run, record.at


def is_beginning(tail: bytes) -> bool:
    """Whether a last line without newline is the mere beginning of a record, perhaps filled up
    with zeros by the file system."""
    text = tail.rstrip(b"\0")
    if text and not text.startswith(b"{"):
        return False
    for completion in (b"", b"0"):  # a number may be cut after its sign or point
        try:
            msgspec.json.decode(text + completion)
        except msgspec.DecodeError as error:
            if "truncated" in str(error):
                return True
        except (UnicodeDecodeError, RecursionError):
            return False
    return False


@dataclass(frozen=True, slots=True)
class _Segment:
    """The bytes up to a newline, where they begin in the file, and their record if they are one."""

    data: bytes
    offset: int
    ended: bool
    record: AnyRecord | None

    @property
    def has_hole(self) -> bool:
        """Whether whole sectors of it were never written."""
        return any(
            self._is_unwritten(hole.start(), hole.end()) for hole in _HOLE.finditer(self.data)
        )

    def _is_unwritten(self, begin: int, end: int) -> bool:
        """Zeros from a sector's start, or from where the last group ended, up to a sector's end
        or the file's."""
        starts = begin == 0 or (self.offset + begin) % SECTOR_BYTES == 0
        stops = (self.offset + end) % SECTOR_BYTES == 0 or (
            end == len(self.data) and not self.ended
        )
        return starts and stops

    @property
    def place(self) -> Place | None:
        """Its group, as far as its beginning still tells."""
        if self.record is not None:
            return place_of(self.record)
        found = _BEGINNING.match(self.data)
        return (found[2].decode(), found[1].decode()) if found else None


def is_torn_group(rest: bytes, offset: int, prev: str, before: Place | None) -> bool:
    """Whether `rest`, the end of a ledger from a bad line on, is a group that was never durable.

    `offset` is where it begins, `prev` and `before` the digest and group of the line before.
    """
    if len(rest) > GROUP_CAP_BYTES or b"\0" not in rest:
        return False
    segments = list(_segments(rest, offset))
    if not _chains(segments, prev) or not any(each.has_hole for each in segments):
        return False
    groups = {each.place for each in segments if each.place is not None}
    if len(groups) > 1:
        return False
    survivors = {each.place for each in segments if each.record is not None}
    # Where later lines survive, the first bad one must be shown to be of their group: it might
    # be the last one of a group that was acknowledged before theirs.
    return not survivors or segments[0].place is not None or survivors == {before}


def _segments(rest: bytes, offset: int) -> Iterator[_Segment]:
    *lines, tail = rest.split(b"\n")
    for line in lines:
        yield _Segment(line, offset, True, _record(line))
        offset += len(line) + 1
    if tail:
        yield _Segment(tail, offset, False, None)


def _record(line: bytes) -> AnyRecord | None:
    try:
        record = decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return record if record.v == VERSION else None


def _chains(segments: list[_Segment], prev: str) -> bool:
    """Whether every segment is a record that follows the one before it (where that is still
    there), or has a hole; or is the cut end."""
    known: str | None = prev
    for each in segments:
        if each.record is not None:
            if known is not None and each.record.prev != known:
                return False
            known = digest_of(each.data)
        elif each.has_hole or (not each.ended and is_beginning(each.data)):
            known = None
        else:
            return False
    return True
