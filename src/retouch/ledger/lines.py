"""Where Records stand in a ledger's files, and reading one of them back.

A Position is 12 bytes: part (2) and byte (6) where the line begins, and the first 4 bytes of its
digest. So what is read back is known to be the very line that was replayed: a file that was
changed, cut or replaced underneath is damage, and never an answer. A ledger spread over several
files has as many parts.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger.records import AnyRecord, decode
from retouch.storage.durable import open_regular

Position = bytes
NOWHERE: Position = b""
"""Of a Record that is in no file, or nobody knows where."""
_POSITION = struct.Struct("<Q4s")
POSITION_BYTES = _POSITION.size
_PART_SHIFT = 48
_OFFSET_BITS = (1 << _PART_SHIFT) - 1
_NEAR_BYTES = 4096  # read for a line that is asked for alone
_AHEAD_BYTES = 1 << 18  # read where lines are asked for in their order
_WINDOWS = 4  # lines are asked for in several orders at once: what decided, what began
_CHUNK_BYTES = 1 << 20
_REMEMBERED = 64  # Records just read: one Job is asked about several times over
_Window = tuple[int, int, bytes]  # part, byte where it begins, its bytes
_PATH = re.compile(rb'"path":"((?:[^"\\]|\\.)*)"')


def position(base: int, offset: int, digest: bytes) -> Position:
    """Where a line begins: `base` is its part's, `digest` the line's SHA-256."""
    return _POSITION.pack(base | offset, digest)


class Lines:
    """The lines of a ledger's parts, by their Positions."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._sizes: list[int] = []
        self._windows: list[_Window] = []
        self._recent: dict[Position, AnyRecord] = {}

    def part(self, path: Path) -> int:
        """Take in one more file; the base of its Positions."""
        self._paths.append(path)
        self._sizes.append(0)
        return len(self._paths) - 1 << _PART_SHIFT

    def reach(self, base: int, size: int) -> None:
        """A part was replayed so far: what comes after is not looked at."""
        self._sizes[base >> _PART_SHIFT] = size

    def move(self, base: int, path: Path) -> None:
        """A part goes on in a copy of itself."""
        self._paths[base >> _PART_SHIFT] = path
        self._windows.clear()

    def read(self, where: Position) -> AnyRecord:
        """The Record that was replayed there.

        Raises LedgerDamaged where it is another now, StorageFailed.
        """
        known = self._recent.get(where)
        if known is not None:
            return known
        number = int.from_bytes(where[:8], "little")
        part, offset = number >> _PART_SHIFT, number & _OFFSET_BITS
        body = self._body(part, offset)
        if hashlib.sha256(body).digest()[:4] != where[8:]:
            raise self._changed(part, offset)
        try:
            record = decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._changed(part, offset) from None
        if len(self._recent) >= _REMEMBERED:
            self._recent.clear()
        self._recent[where] = record
        return record

    def paths(self) -> Iterator[str]:
        """Every picture that a line names, as far as the parts were replayed. Raises
        StorageFailed."""
        for path, size in zip(self._paths, self._sizes, strict=True):
            rest = b""
            for chunk in self._chunks(path, size):
                whole, _, rest = (rest + chunk).rpartition(b"\n")
                yield from _named(whole)
            yield from _named(rest)

    def _body(self, part: int, offset: int) -> bytes:
        """The line that begins there, without its newline."""
        is_next = False
        for window in self._windows:
            of, begin, data = window
            if of == part and begin <= offset < begin + len(data):
                end = data.find(b"\n", offset - begin)
                if end >= 0:
                    return data[offset - begin : end]
            if of == part and 0 <= offset - begin < len(data) + _AHEAD_BYTES:
                is_next = True
                self._windows.remove(window)
                break
        length = _AHEAD_BYTES if is_next else _NEAR_BYTES
        while True:
            data = self._read(self._paths[part], offset, length)
            end = data.find(b"\n")
            if end >= 0 or len(data) < length:
                break
            length *= 8
        self._windows.insert(0, (part, offset, data))
        del self._windows[_WINDOWS:]
        return data[:end] if end >= 0 else data.rstrip(b"\0")  # the last may lack its newline

    def _chunks(self, path: Path, size: int) -> Iterator[bytes]:
        for offset in range(0, size, _CHUNK_BYTES):
            yield self._read(path, offset, min(_CHUNK_BYTES, size - offset))

    def _read(self, path: Path, offset: int, length: int) -> bytes:
        """Opened each time: nothing is to be closed, and a state may be kept as long as one likes.
        No more than `length` bytes; fewer at the file's end."""
        descriptor = open_regular(path)
        if descriptor is None:
            raise StorageFailed(f"{path}: cannot be read: it is gone")
        try:
            return os.pread(descriptor, length, offset)
        except OSError as error:
            raise StorageFailed(f"{path}: cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def _changed(self, part: int, offset: int) -> LedgerDamaged:
        path = self._paths[part]
        number = 1 + sum(chunk.count(b"\n") for chunk in self._chunks(path, offset))
        return LedgerDamaged(
            f"{path}:{number}: was changed while it was in use",
            hint="nothing was done on its account; let one program write a ledger, and "
            "`retouch verify` it",
        )


class NamedPaths:
    """Paths that are only asked for, in 8 bytes each: their hashes. Of a million, one that is not
    among them is taken for one that is with a chance of one in 10^13."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._hashes = array("q", map(hash, paths))
        self._is_sorted = False

    def add(self, paths: Iterable[str]) -> None:
        """Take in some more."""
        self._hashes.extend(map(hash, paths))
        self._is_sorted = False

    def __contains__(self, path: str) -> bool:
        every = self._sorted()
        at = bisect_left(every, hash(path))
        return at < len(every) and every[at] == hash(path)

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def hashes_named_twice(self) -> frozenset[int]:
        """The `hash()` of every path that was taken in more than once."""
        every = self._sorted()
        pairs = zip(every, islice(every, 1, None), strict=False)
        return frozenset(one for one, other in pairs if one == other)

    def _sorted(self) -> array[int]:
        if not self._is_sorted:
            self._hashes = array("q", sorted(self._hashes))
            self._is_sorted = True
        return self._hashes


def _named(lines: bytes) -> Iterator[str]:
    """The paths in whole lines. A quote within a string is escaped, so that none is mistaken."""
    for found in _PATH.findall(lines):
        yield msgspec.json.decode(b'"%b"' % found)
