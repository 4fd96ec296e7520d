"""What the last Jobs needed, for the next: small sources, and which folders were ready.

The Jobs of a source follow one another, and each would have a thread read the same file, compare
its digest and open the folders that it writes to; the way to that thread and back costs more than
all of this.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

import anyio

from retouch.job import Picture

MOST_BYTES = 8 << 20  # of all sources together
EACH_BYTES = 1 << 20
READY_SECONDS = 0.5  # how long what was seen of folders and of the disk's room is taken as so


class Recent:
    """Sources by what they are, each with the digest that it was planned with."""

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
            if len(data) > EACH_BYTES or picture in self._pictures:
                continue
            self._pictures[picture] = data
            self._bytes += len(data)
            while self._bytes > MOST_BYTES:
                _, oldest = self._pictures.popitem(last=False)
                self._bytes -= len(oldest)
