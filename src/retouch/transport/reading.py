"""Reading what a server sends back: as it is, capped, and not slower than a minimum rate.

`Accept-Encoding: identity` was asked for, so an encoded reply is never decoded (a gzip bomb stays
shut) and never used. What did arrive is in the Inbox, for quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import httpx

from retouch.transport.body import BreakKind


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How much of a reply is taken, and how slowly it may come.

    The rate counts from the head of the reply on: each window must bring its share.
    """

    cap_bytes: int = 256_000_000
    minimum_bytes_per_second: int = 1024
    window_seconds: float = 30.0


@dataclass(slots=True)
class Inbox:
    """What has come of a reply's body so far."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def take(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)

    def empty(self) -> bytes:
        """All of it as one; the parts are let go."""
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        return body


class ReplyRefused(Exception):
    """The reply is not taken: encoded, too large or too slow. `may_pass`: asked for again, it may
    come otherwise (somebody on the way encoded it, or was slow)."""

    def __init__(self, kind: BreakKind, message: str, *, may_pass: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.may_pass = may_pass


async def read_body(response: httpx.Response, inbox: Inbox, limits: ReplyLimits) -> None:
    """All of the reply's body into `inbox`; raises ReplyRefused, or what the network raises."""
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.cap_bytes:
        raise _too_large(limits)
    await _read_at_a_rate(response, inbox, limits)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise ReplyRefused("broken_reply", f"the reply is encoded ({encoding[:40]}), unasked")


async def _read_at_a_rate(response: httpx.Response, inbox: Inbox, limits: ReplyLimits) -> None:
    """Breaking off is cancelling the next read: the connection's generators then end in order. No
    read is cancelled by a timer, for one that ends while this process stands still would take
    along what waits in the socket; for the same reason one silence counts half a window at most.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
    share = limits.minimum_bytes_per_second * limits.window_seconds
    in_window, waited_seconds = 0, 0.0
    asked = anyio.current_time()
    refused: ReplyRefused | None = None
    with anyio.CancelScope() as scope:
        async for part in stream:
            if refused is not None:
                continue
            inbox.take(part)
            now = anyio.current_time()
            waited_seconds += min(now - asked, limits.window_seconds / 2)
            asked = now
            in_window += len(part)
            if inbox.size > limits.cap_bytes:
                refused = _too_large(limits)
            elif in_window >= share:
                in_window, waited_seconds = 0, 0.0
            elif waited_seconds >= limits.window_seconds:
                refused = _too_slow(limits, inbox)
            if refused is not None:
                scope.cancel()
    if refused is not None:
        raise refused


def _too_slow(limits: ReplyLimits, inbox: Inbox) -> ReplyRefused:
    return ReplyRefused(
        "timeout",
        f"the reply came too slowly: under {limits.minimum_bytes_per_second:,} bytes a second"
        f" for {limits.window_seconds:g} s, {inbox.size:,} bytes in all",
    )


def _too_large(limits: ReplyLimits) -> ReplyRefused:
    message = f"the reply is over {limits.cap_bytes:,} bytes"
    return ReplyRefused("broken_reply", message, may_pass=False)
