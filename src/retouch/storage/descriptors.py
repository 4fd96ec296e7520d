"""Descriptors, where a process may have few: how many it may open, and waiting for a free one.

macOS gives 256 to a process and lets it take more by asking. What is out of descriptors is so for
a moment, while others are at work: opening is tried again before a paid picture is given up.
"""

from __future__ import annotations

import errno
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
WAIT_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.05


def raise_limit(wanted: int) -> int:
    """Ask for `wanted` descriptors, without lowering what there is; returns how many there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # macOS refuses more than its own OPEN_MAX
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def when_free(call: Callable[[], T]) -> T:
    """What `call` returns, begun anew while it lacks a descriptor; blocks for a minute at most.

    `call` may be broken off at any opening of a file and must leave nothing half done then.
    """
    patience = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return call()
        except Exception as error:
            if not lacks_descriptor(error) or time.monotonic() > patience:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


def lacks_descriptor(error: BaseException | None) -> bool:
    """Whether `error` came of too many open files, however it was translated since."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return any(map(lacks_descriptor, error.exceptions))
        if isinstance(error, OSError) and error.errno in NO_DESCRIPTOR:
            return True
        error = error.__cause__ or error.__context__
    return False
