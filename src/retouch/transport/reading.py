"""Reading what a server sends back: capped, and not slower than a minimum rate.

`Accept-Encoding: identity` is asked for. A reply that comes encoded all the same is paid for, so
gzip and deflate are decoded piece by piece under the byte cap (a bomb stays shut). What did arrive
is in the Inbox, for quarantine; a JSON object that is whole is a reply all the same.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field

import anyio
import httpx

from retouch.transport.body import BreakKind

DECODED_BYTES = 1_048_576
_INFLATED = {"gzip", "x-gzip", "deflate"}
_UNREAD = {"br", "zstd", "compress", "x-compress", "dcb", "dcz"}


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How much of a reply is taken, and how slowly it may come.

    The rate counts from the first byte that is no white space: a gateway may send the head at once
    and keep the connection alive with blanks while the model works. From then on each window must
    bring its share.
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
    codings = response.headers.get("content-encoding", "").lower().split(",")
    for coding in reversed([each.strip() for each in codings]):
        if coding in _UNREAD:
            raise ReplyRefused("broken_reply", f"the reply is encoded ({coding}), unasked")
        if coding in _INFLATED:  # whatever else stands there (UTF-8, binary, none) encodes nothing
            _decode(inbox, limits)


def is_whole_document(response: httpx.Response, inbox: Inbox) -> bool:
    """Whether what came of a reply that broke off is a JSON object to its last brace: all is there
    but the end of the transfer (the last chunk, a Content-Length that was too long)."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if not 200 <= response.status_code < 300 or coding in _INFLATED | _UNREAD:
        return False
    body = b"".join(inbox.parts)
    if not body.lstrip().startswith(b"{") or not body.rstrip().endswith(b"}"):
        return False
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _decode(inbox: Inbox, limits: ReplyLimits) -> None:
    """The encoded body decoded in place; left as it is where it is not encoded after all."""
    raw = b"".join(inbox.parts)
    decoder = _decoder_of(raw)
    if decoder is None:
        return
    parts, size, rest = [], 0, raw
    try:
        while rest and not decoder.eof:
            part = decoder.decompress(rest, DECODED_BYTES)
            parts.append(part)
            size += len(part)
            if size > limits.cap_bytes:
                raise _too_large(limits)
            if not part and not decoder.unconsumed_tail:
                break
            rest = decoder.unconsumed_tail
    except zlib.error as error:
        message = f"the reply is encoded, unasked, and cannot be decoded ({error})"
        raise ReplyRefused("broken_reply", message) from None
    if not decoder.eof:
        raise ReplyRefused("broken_reply", "the reply is encoded, unasked, and was cut")
    inbox.parts[:] = parts
    inbox.size = size


def _decoder_of(raw: bytes) -> zlib._Decompress | None:
    """What decodes these bytes: gzip, zlib, or the bare deflate that some servers mean by it."""
    if raw.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31)
    if len(raw) >= 2 and raw[0] & 0x0F == 8 and int.from_bytes(raw[:2], "big") % 31 == 0:
        return zlib.decompressobj(wbits=15)
    if not raw or raw.lstrip()[:1] in (b"{", b"[", b"<") or raw[:1] in (b"\x89", b"\xff", b"R"):
        return None  # a proxy decoded it and left the header
    return zlib.decompressobj(wbits=-15)


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
    has_begun = False
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
            is_first = not has_begun and bool(part.strip())
            if inbox.size > limits.cap_bytes:
                refused = _too_large(limits)
            elif is_first or not has_begun or in_window >= share:
                has_begun = has_begun or is_first
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
