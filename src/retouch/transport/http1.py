"""One connection that speaks HTTP/1.1 as h11 does: a request out, its reply in, the next one.

httpcore's connection does the same with locks, traces and generators around each step, which was
a third of what a small request costs; and all of a body goes through h11's buffer, twice. Here
h11 writes and reads heads, and a reply's chunks; bodies whose length is told pass beside it. Errors
are httpcore's, whose connections are still used towards proxies.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from typing import cast

import anyio
import h11
import httpcore
import httpx

from retouch.transport.stream import READ_BYTES
from retouch.transport.wire import HEAD_BYTES, OneWire, Wire

KEEP_SECONDS = 4.0  # under the shortest idle time of common servers (5 s: uvicorn, Node)
_TOGETHER_BYTES = 65_536  # a head and a first piece no larger than this are one write
_BODILESS = frozenset({101, 204, 304})
_Head = h11.Response | h11.InformationalResponse


class Reply:
    """A reply whose head has come; iterate over it for its body, once."""

    def __init__(self, head: _Head, lines: h11.Connection, wire: Wire) -> None:
        self.status = head.status_code
        self.headers = head.headers.raw_items()
        self._lines, self._wire = lines, wire
        self._is_whole = False
        self._stays_open = head.http_version >= b"1.1" and not _is_closing(head.headers)
        self._length = self._left = _length_of(head)
        self._begun = b""
        if self._left is not None:
            self._begun, _ = lines.trailing_data

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes of the body. Raises what a Wire does, and RemoteProtocolError."""
        if self._left is None:
            return await self._parsed()
        if not self._left:
            raise StopAsyncIteration
        data, self._begun = self._begun, b""
        if not data:
            data = await self._wire.read(READ_BYTES)
        if not data:
            raise httpcore.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"(received {(self._length or 0) - self._left} bytes, expected {self._length})"
            )
        if len(data) > self._left:
            data = data[: self._left]
        self._left -= len(data)
        return data

    async def _parsed(self) -> bytes:
        """The same where the length is not told: by chunks, or to the connection's end."""
        while not self._is_whole:
            event = await _event(self._lines, self._wire)
            if isinstance(event, h11.Data):
                return bytes(event.data)
            self._is_whole = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing: the connection is closed by its holder, or goes on."""

    @property
    def may_be_followed(self) -> bool:
        """Whether the connection may take another request: this one was read to its end."""
        return self._stays_open and (self._is_whole or self._left == 0)


class Http1:
    """A connection to one origin: opened with its first request, closed by `aclose`.

    `host` and `port`: where it goes; `name`: whom a server's certificate must name, where there is
    a `context` for TLS.
    """

    def __init__(self, host: str, port: int, name: str, context: ssl.SSLContext | None) -> None:
        self._host, self._port, self._name, self._context = host, port, name, context
        self._backend = OneWire()
        self._reply: Reply | None = None
        self._expires = 0.0

    async def send(self, request: httpx.Request, deadline: float) -> Reply:
        """The request's reply, when its head has come. Raises httpcore's errors; close it then."""
        self._backend.begin_request(deadline)
        self._reply = None
        lines = h11.Connection(h11.CLIENT, HEAD_BYTES)
        with anyio.CancelScope(deadline=deadline) as in_time:  # one for all that goes out
            wire = self._backend.wire or await self._connected()
            # A server may refuse a request before it has read it: it closes, and says why.
            with suppress(httpcore.WriteError):
                await _send(request, lines, wire)
        if in_time.cancelled_caught:
            raise httpcore.WriteTimeout if self._backend.wire else httpcore.ConnectTimeout
        while True:
            head = await _event(lines, wire)
            if isinstance(head, h11.Response) or (
                isinstance(head, h11.InformationalResponse) and head.status_code == 101
            ):
                self._reply = Reply(head, lines, wire)
                return self._reply

    async def _connected(self) -> Wire:
        """The wire, connected; and encrypted."""
        wire = await self._backend.connect(self._host, self._port)
        if self._context is not None:
            self._context.set_alpn_protocols(["http/1.1"])
            await wire.start_tls(self._context, self._name)
        return wire

    def is_reusable_after(self, status: int, headers: httpx.Headers) -> bool:
        """Whether its last reply, of this status and these headers, left it fit for another; counts
        the time from here."""
        reply, wire = self._reply, self._backend.wire
        if reply is None or wire is None or not reply.may_be_followed:
            return False
        self._expires = time.monotonic() + KEEP_SECONDS
        return wire.ended_with(status, headers)

    def is_alive(self) -> bool:
        """Whether it may still take a request: young, and nothing has come unasked."""
        wire = self._backend.wire
        return wire is not None and time.monotonic() <= self._expires and not wire.is_readable()

    async def aclose(self) -> None:
        """Close it; it is not used again."""
        if self._backend.wire is not None:
            with anyio.CancelScope(shield=True):
                await self._backend.wire.aclose()


async def _send(request: httpx.Request, lines: h11.Connection, wire: Wire) -> None:
    """Head and body, the head together with what the body begins with. The body is as long as the
    head says, and goes as it is."""
    try:
        head = h11.Request(
            method=request.method, target=request.url.raw_path, headers=request.headers.raw
        )
    except h11.LocalProtocolError as wrong:
        raise httpcore.LocalProtocolError(str(wrong)) from wrong
    waiting = lines.send(head) or b""
    async for piece in cast(AsyncIterable[bytes], request.stream):
        if len(waiting) + len(piece) > _TOGETHER_BYTES:
            await wire.put(waiting)
            waiting = b""
        await wire.put(waiting + piece)
        waiting = b""
    await wire.put(waiting)


async def _event(lines: h11.Connection, wire: Wire) -> h11.Event:
    """What comes next. Raises RemoteProtocolError, and what a Wire does."""
    while True:
        try:
            event = lines.next_event()
        except h11.RemoteProtocolError as wrong:
            raise httpcore.RemoteProtocolError(str(wrong)) from wrong
        if event is not h11.NEED_DATA:
            return cast(h11.Event, event)
        data = await wire.read(READ_BYTES)
        if not data and lines.their_state is h11.SEND_RESPONSE:
            raise httpcore.RemoteProtocolError("Server disconnected without sending a response.")
        lines.receive_data(data)


def _length_of(head: _Head) -> int | None:
    """How long the body is, where that is told; h11 has seen to it that it is told once."""
    if head.status_code in _BODILESS:
        return 0
    told: int | None = None
    for name, value in head.headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            told = int(value)
    return told


def _is_closing(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        token.strip().lower() == b"close"
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    )
