"""Connections: one public httpcore connection a request, kept for the next one, newest first.

httpx's own pool scans every connection for every request and leaks slots when a wait is
cancelled (DESIGN §9); here nothing waits and nothing is scanned. A kept connection is used again
only if it is young, its socket is silent and its last reply left no byte over: what a server
closed while it stood idle is noticed before a byte is written. Should it fail all the same, the
request is sent again on a new one only where that is free: a GET, or a body not yet begun.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import cast

import anyio
import httpcore
import httpx

from retouch.transport.body import Body
from retouch.transport.wire import OneWire, socket_options

KEEP_SECONDS = 4.0  # under the shortest idle time of common servers (5 s: uvicorn, Node)
SlotKey = tuple[bytes, bytes, int, str]
_OPTIONS = socket_options()


class _Slot:
    """One connection and what it may be used for."""

    def __init__(self, key: SlotKey, context: ssl.SSLContext | None) -> None:
        scheme, host, port, _ = key
        self.key = key
        self._backend = OneWire()
        self._connection = httpcore.AsyncHTTPConnection(
            httpcore.Origin(scheme, host, port),
            ssl_context=context,
            keepalive_expiry=KEEP_SECONDS,
            network_backend=self._backend,
            socket_options=_OPTIONS,
        )

    async def send(self, request: httpcore.Request) -> httpcore.Response:
        if self._backend.wire is not None:
            self._backend.wire.begin_reply()
        return await self._connection.handle_async_request(request)

    def is_reusable_after(self, status: int, headers: httpx.Headers) -> bool:
        wire = self._backend.wire
        return wire is not None and self._connection.is_idle() and wire.ended_with(status, headers)

    def is_alive(self) -> bool:
        return self._connection.is_available() and not self._connection.has_expired()

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._connection.aclose()


class _ReplyStream(httpx.AsyncByteStream):
    """A reply's body; closing it keeps the slot, or closes it too."""

    def __init__(self, reply: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self._reply = reply
        self._give_back = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return cast(AsyncIterable[bytes], self._reply.stream).__aiter__()

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._reply.aclose()
            await self._give_back()


class SlotTransport(httpx.AsyncBaseTransport):
    """An httpx transport without a pool: as many connections as there are requests.

    `keep` idle connections an origin are held for the next requests. The extension
    `sni_hostname` names the server where the URL holds its pinned address instead.
    """

    def __init__(self, *, keep: int, ssl_context: Callable[[], ssl.SSLContext]) -> None:
        self._keep = keep
        self._ssl_context = ssl_context
        self._idle: dict[SlotKey, list[_Slot]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.url
        url = httpcore.URL(
            scheme=asked.raw_scheme, host=asked.raw_host, port=asked.port, target=asked.raw_path
        )
        origin = url.origin
        sni = request.extensions.get("sni_hostname", "")
        key = (origin.scheme, origin.host, origin.port, sni)
        kept = await self._take(key)
        if kept is not None:
            try:
                return await self._send(kept, url, request)
            except Exception:
                if not _is_free_to_repeat(request):
                    raise
        context = self._ssl_context() if origin.scheme == b"https" else None
        return await self._send(_Slot(key, context), url, request)

    async def aclose(self) -> None:
        slots = [slot for idle in self._idle.values() for slot in idle]
        self._idle.clear()
        for slot in slots:
            await slot.aclose()

    async def _send(self, slot: _Slot, url: httpcore.URL, request: httpx.Request) -> httpx.Response:
        try:
            reply = await slot.send(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except BaseException:
            await slot.aclose()
            raise
        status, headers = reply.status, httpx.Headers(reply.headers)

        async def give_back() -> None:
            await self._give_back(slot, slot.is_reusable_after(status, headers))

        return httpx.Response(status, headers=headers, stream=_ReplyStream(reply, give_back))

    async def _take(self, key: SlotKey) -> _Slot | None:
        idle = self._idle.get(key, [])
        while idle:
            slot = idle.pop()
            if slot.is_alive():
                return slot
            await slot.aclose()
        return None

    async def _give_back(self, slot: _Slot, reusable: bool) -> None:
        idle = self._idle.setdefault(slot.key, [])
        if not reusable or len(idle) >= self._keep:
            await slot.aclose()
        else:
            idle.append(slot)
        if idle and not idle[0].is_alive():  # newest first, so the oldest may never be asked for
            await idle.pop(0).aclose()


def _is_free_to_repeat(request: httpx.Request) -> bool:
    stream = request.stream
    return request.method == "GET" or (isinstance(stream, Body) and stream.surely_unsent)
