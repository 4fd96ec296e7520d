"""Where blocking file work runs: in threads, or in place; and work that nothing interrupts.

A hop to a thread costs 0.1-0.4 ms and pays for fsyncs and large writes only (DESIGN §9). Tests in
virtual time run in place, because a virtual clock does not wait for threads.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")


class Threads(Protocol):
    """Runs a blocking call somewhere and returns what it returned (or raises what it raised)."""

    async def __call__(self, call: Callable[[], T], /) -> T: ...


async def in_thread(call: Callable[[], T], /) -> T:
    """Run `call` in a worker thread; a cancellation waits for it, so that no write is torn."""
    import anyio.to_thread  # noqa: PLC0415 - start-up time: commands without a loop come here

    return await anyio.to_thread.run_sync(call)


def in_own_thread() -> Threads:
    """One call at a time, in a thread that waits for no other work: a ledger's sync must not
    queue behind the pictures that are being written."""
    limiter: anyio.CapacityLimiter | None = None

    async def run(call: Callable[[], T], /) -> T:
        import anyio.to_thread  # noqa: PLC0415 - the same

        nonlocal limiter
        limiter = limiter or anyio.CapacityLimiter(1)  # of the running loop
        return await anyio.to_thread.run_sync(call, limiter=limiter)

    return run


async def in_place(call: Callable[[], T], /) -> T:
    """Run `call` here and now."""
    return call()


@contextmanager
def uncollected() -> Iterator[None]:
    """While many objects are made and held, or soon let go: to look for rubbish among them again
    and again finds none, and takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
