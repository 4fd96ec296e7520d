"""Bytes that are still coming: in memory as long as there is room, then in a file.

What is paid for is never refused for want of memory: what finds no room goes to disk as it comes,
into the very file that it is to be kept in. Where the disk refuses, it stays in memory after all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from typing import Protocol

from retouch.errors import StorageFailed
from retouch.storage.durable import write_all

Buffer = bytes | mmap
SPILL_BYTES = 8_000_000  # more than this of one picture is written as it comes


class Part:
    """A file under a temporary name in a folder, which it holds open; `discard` removes that name
    and leaves any other one it was given."""

    def __init__(self, name: str, descriptor: int, folder: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.folder = folder

    def mapped(self) -> mmap:
        """All that was written, without a copy; it outlives the descriptor."""
        return mmap(self.descriptor, 0, access=ACCESS_READ)

    def discard(self) -> None:
        """Close it and remove its temporary name."""
        if self.descriptor < 0:
            return
        os.close(self.descriptor)
        with suppress(OSError):  # `verify` finds leftovers
            os.unlink(self.name, dir_fd=self.folder)
        os.close(self.folder)
        self.descriptor = self.folder = -1


class Room(Protocol):
    """Where the bytes of one exchange may stay."""

    def sent(self) -> None:
        """The request's pictures were handed over, and are let go."""
        ...

    def take(self, count: int) -> bool:
        """Whether so many bytes more may be held in memory; they are counted then."""
        ...

    def give(self, count: int) -> None:
        """So many bytes that were counted are held no more."""
        ...

    def part(self) -> Part:
        """A file for what may not. Raises StorageFailed."""
        ...


class Gathered:
    """Bytes in the order they came. Not to be added to once it was read."""

    def __init__(self, *pieces: bytes, room: Room | None = None) -> None:
        self._pieces = list(pieces)
        self._room = room
        self.size = sum(map(len, pieces))
        self.part: Part | None = None

    def add(self, piece: bytes) -> None:
        """Keep `piece` too: in memory, or in the file."""
        self.size += len(piece)
        if self.part is None and self._is_over(len(piece)):
            self._spill()
        if self.part is not None:
            try:
                write_all(self.part.descriptor, piece)
            except OSError:
                self._take_back(self.size - len(piece))
            else:
                return
        self._pieces.append(piece)

    def _is_over(self, count: int) -> bool:
        """Whether it is to go to a file from here on."""
        if self._room is None:
            return False
        return self.size > SPILL_BYTES or not self._room.take(count)

    def _spill(self) -> None:
        assert self._room is not None  # noqa: S101 - for the type checker
        try:
            part = self._room.part()
        except StorageFailed:  # it is told when the picture is to be kept
            self._room = None
            return
        try:
            for piece in self._pieces:
                write_all(part.descriptor, piece)
        except OSError:
            part.discard()
            self._room = None
            return
        self.part = part
        self._room.give(sum(map(len, self._pieces)))
        self._pieces.clear()

    def _take_back(self, written: int) -> None:
        """The disk is full: what it holds is read back, and memory takes the rest."""
        part, self.part, self._room = self.part, None, None
        if part is not None:
            self._pieces = [os.pread(part.descriptor, written, 0)] if written else []
            part.discard()

    def data(self) -> Buffer:
        """All of it: as one piece of memory, or as the file's own pages."""
        if self.part is not None:
            return self.part.mapped() if self.size else b""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def pieces(self) -> Iterator[Buffer]:
        """All of it, in pieces of any size."""
        yield from ((self.part.mapped(),) if self.part is not None else self._pieces)

    def discard(self) -> None:
        """Let go of it."""
        self._pieces.clear()
        if self.part is not None:
            self.part.discard()
