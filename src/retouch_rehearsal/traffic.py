"""Limits on what is in the house at once: worker threads, bodies in memory, requests a minute.

Each event loop has its own; nothing here needs the application's lifespan events.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.requests import ClientDisconnect, Request

from .refusal import Refusal

WORKERS = 2
BODY_BYTES_MAX = 64 * 1024 * 1024
BODIES_BYTES_MAX = 192 * 1024 * 1024
SECONDS_TO_WAIT = 60.0
SECONDS_TO_SEND = 120.0
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Caps:
    """Bytes of one body, of all bodies at once, and seconds a body may wait and take."""

    body: int = BODY_BYTES_MAX
    bodies: int = BODIES_BYTES_MAX
    wait: float = SECONDS_TO_WAIT
    send: float = SECONDS_TO_SEND


@dataclass(slots=True)
class _House:
    """One event loop's share."""

    limiter: anyio.CapacityLimiter
    room: anyio.Condition
    held: int = field(default=0)


class Traffic:
    """Runs work in two threads and lets bodies in while there is room for them.

    `inline` runs the work on the event loop: only for tests in virtual time, where waiting for
    a thread would let the clock jump.
    """

    def __init__(self, caps: Caps, *, inline: bool = False) -> None:
        self._caps = caps
        self._inline = inline
        self._houses: RunVar[_House] = RunVar("retouch_rehearsal.house")

    def _house(self) -> _House:
        house = self._houses.get(None)
        if house is None:
            house = _House(anyio.CapacityLimiter(WORKERS), anyio.Condition())
            self._houses.set(house)
        return house

    async def work(self, call: Callable[[], ResultT]) -> ResultT:
        """The result of `call`, run in a worker thread to its end even if the client leaves."""
        if self._inline:
            return call()
        return await anyio.to_thread.run_sync(call, limiter=self._house().limiter)

    @asynccontextmanager
    async def room(self, request: Request) -> AsyncIterator[None]:
        """Room for the request's body, until it is answered; 413 if too large, 503 if none."""
        size = self._announced(request)
        house = self._house()
        await self._enter(house, size)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with house.room:
                    house.held -= size
                    house.room.notify_all()

    def _announced(self, request: Request) -> int:
        """The body's Content-Length, or the cap if it is not said."""
        text = request.headers.get("content-length", "")
        size = int(text) if text.isascii() and text.isdecimal() else self._caps.body
        if size > self._caps.body:
            raise self._too_large()
        return size

    async def _enter(self, house: _House, size: int) -> None:
        with anyio.move_on_after(self._caps.wait):
            async with house.room:
                while house.held and house.held + size > self._caps.bodies:
                    await house.room.wait()
                house.held += size
                return
        raise Refusal(
            503,
            "the rehearsal service has no room for another body; try again later",
            kind="overloaded_error",
            headers={"Retry-After": "5"},
        )

    async def read(self, request: Request) -> bytearray:
        """The request's body; 413 if it grows too large, 408 if it does not come."""
        body = bytearray()
        try:
            with anyio.fail_after(self._caps.send):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._caps.body:
                        raise self._too_large()
        except TimeoutError as error:
            raise Refusal(408, "the body did not arrive in time") from error
        except ClientDisconnect as error:
            raise Refusal(400, "the client left before the body was whole") from error
        return body

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"the body is larger than {self._caps.body:,} bytes",
            headers={"Connection": "close"},
        )


class MinuteLimit:
    """At most so many submits in any 60 seconds, a key; None: no limit."""

    def __init__(self, requests_per_minute: int | None, clock: Callable[[], float]) -> None:
        self._limit = requests_per_minute
        self._clock = clock
        self._lock = Lock()
        self._sent: defaultdict[str, deque[float]] = defaultdict(deque)

    def enter(self, key: str) -> None:
        """Count a request, or refuse it with 429 and seconds to wait."""
        if self._limit is None:
            return
        with self._lock:
            now, sent = self._clock(), self._sent[key]
            while sent and sent[0] <= now - 60:
                sent.popleft()
            if len(sent) < self._limit:
                sent.append(now)
                return
            wait = max(1, math.ceil(sent[0] + 60 - now))
        raise Refusal(
            429,
            f"rate limit reached: {self._limit} requests per minute",
            kind="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"Retry-After": str(wait)},
        )
