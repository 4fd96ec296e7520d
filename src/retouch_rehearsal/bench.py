"""The bench: what takes much memory is done there, by one request at a time.

A large picture decoded, and the cut-out net with what it computes on, take some 250 MB each; two
of either would fill the house. So each has the bench to itself, and the net, which is kept for
the next picture, is put away while a large picture lies there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock

import cv2

from .sizes import Size

LARGE_PIXELS = 2048 * 2048


class Bench:
    """Lends itself to one thread at a time; a thread that has it may ask again."""

    def __init__(self) -> None:
        self._alone = RLock()
        self._net: cv2.dnn.Net | None = None

    @contextmanager
    def room_for(self, size: Size) -> Iterator[None]:
        """Room for a picture of this size: at once if it is small, else alone."""
        if size[0] * size[1] <= LARGE_PIXELS:
            yield
            return
        with self._alone:
            self._net = None
            yield

    @contextmanager
    def net(self, load: Callable[[], cv2.dnn.Net]) -> Iterator[cv2.dnn.Net]:
        """The net, alone: the one that was kept, else a new one."""
        with self._alone:
            if self._net is None:
                self._net = load()
            yield self._net


BENCH = Bench()
