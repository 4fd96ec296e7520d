"""The bytes of all that is in flight, under one cap: who wants to send waits, a reply never does.

A lease is taken before a Job's files are read, first come first served; one that is larger than
the cap passes alone. It is given back when the files were sent. What a reply brings is paid for:
it takes what is free, and what finds no room goes to the disk as it comes. So nobody who holds
memory ever waits for more of it.

Beside it some megabytes keep what the last Jobs needed for the next: the Jobs of a source follow
one another, and the way to a thread and back costs more than what it does there for a small file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from retouch.job import Job, Picture
from retouch.storage.gathered import Part

RECENT_BYTES = 8 << 20  # of all sources together
_RECENT_OWN_BYTES = 256  # of each, for its place among them
RECENT_EACH_BYTES = 1 << 20
READY_SECONDS = 0.5  # how long what was seen of folders and of the disk's room is taken as so
_PIXEL_BYTES = 8  # of a picture that is turned or converted: decoded, and written anew


@dataclass(slots=True)
class _Waiting:
    count: int
    granted: anyio.Event = field(default_factory=anyio.Event)


class Memory:
    """`cap_bytes` for all lanes of a run. `large`: held while a picture that went to disk is
    looked through, one at a time."""

    def __init__(self, cap_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self.used_bytes = 0
        self.large = anyio.Lock()
        self._waiting: deque[_Waiting] = deque()

    @asynccontextmanager
    async def lease(self, count: int, part: Callable[[], Part]) -> AsyncIterator[Lease]:
        """So many bytes, when they are free; `part` makes a file for what a reply brings beyond.
        All is given back at the block's end, and files without a name of their own removed."""
        await self._acquire(count)
        lease = Lease(self, count, part)
        try:
            yield lease
        finally:
            lease.close()

    async def _acquire(self, count: int) -> None:
        if not count or (not self._waiting and self._fits(count)):
            self.used_bytes += count
            return
        waiting = _Waiting(count)
        self._waiting.append(waiting)
        try:
            await waiting.granted.wait()
        except BaseException:
            if waiting.granted.is_set():
                self.give(count)
            else:
                self._waiting.remove(waiting)
                self._grant()
            raise

    def _fits(self, count: int) -> bool:
        return not self.used_bytes or self.used_bytes + count <= self.cap_bytes

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0].count):
            waiting = self._waiting.popleft()
            self.used_bytes += waiting.count
            waiting.granted.set()

    def take(self, count: int) -> bool:
        """So many bytes if they are free now."""
        if self.used_bytes + count > self.cap_bytes:
            return False
        self.used_bytes += count
        return True

    def give(self, count: int) -> None:
        """So many bytes back."""
        self.used_bytes -= count
        self._grant()


class Lease:
    """What one Job holds of a Memory: a Room for its exchange."""

    __slots__ = ("_came", "_memory", "_part", "_parts", "_to_send")

    def __init__(self, memory: Memory, count: int, part: Callable[[], Part]) -> None:
        self._memory = memory
        self._to_send = count
        self._came = 0
        self._part = part
        self._parts: list[Part] = []

    def sent(self) -> None:
        """The files were handed over, and are let go."""
        count, self._to_send = self._to_send, 0
        self._memory.give(count)

    def take(self, count: int) -> bool:
        """Whether so many bytes more of a reply may be held in memory."""
        if not self._memory.take(count):
            return False
        self._came += count
        return True

    def give(self, count: int) -> None:
        """So many bytes of a reply are held no more."""
        self._came -= count
        self._memory.give(count)

    def part(self) -> Part:
        """A file for what may not. Raises StorageFailed."""
        part = self._part()
        self._parts.append(part)
        return part

    def close(self) -> None:
        """Give back all that is held."""
        self.sent()
        self.give(self._came)
        for part in self._parts:
            part.discard()


def bytes_to_send(job: Job) -> int:
    """What the Job's files take while they are read and sent; of one that is turned or converted,
    its pixels too."""
    files = {picture for picture in job.sent_pictures if picture.url is None}
    pixels = sum((f.width or 0) * (f.height or 0) for f in files if f.transforms)
    return sum(file.bytes or 0 for file in files) + pixels * _PIXEL_BYTES


class Recent:
    """The latest small sources, each with the digest that it was planned with, and when the
    folders of their results were ready."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[Picture, bytes] = OrderedDict()
        self._bytes = 0
        self._ready: dict[str, float] = {}  # when a folder was, by the backend's clock

    def all_of(self, pictures: Collection[Picture], folder: str) -> dict[Picture, bytes] | None:
        """These pictures' bytes; None unless all are here, and the folder was ready just now."""
        if anyio.current_time() >= self._ready.get(folder, float("-inf")) + READY_SECONDS:
            return None
        found = {}
        for picture in pictures:
            data = self._pictures.get(picture)
            if data is None:
                return None
            self._pictures.move_to_end(picture)
            found[picture] = data
        return found

    def note(self, pictures: dict[Picture, bytes], folder: str, asked: float) -> None:
        """These were read, and the folder was ready, not before `asked`."""
        self._ready[folder] = asked
        if len(self._ready) > 4096:
            self._ready.clear()
        for picture, data in pictures.items():
            if len(data) > RECENT_EACH_BYTES or picture in self._pictures:
                continue
            self._pictures[picture] = data
            self._bytes += len(data) + _RECENT_OWN_BYTES
            while self._bytes > RECENT_BYTES:
                _, oldest = self._pictures.popitem(last=False)
                self._bytes -= len(oldest) + _RECENT_OWN_BYTES
