"""Connections: one a request, kept for the next GET, newest first.

httpx's own pool scans every connection for every request and leaks slots when a wait is
cancelled (DESIGN §9); here nothing is scanned. A POST costs money, so it always has a new
connection: a kept one may be closed at the other end while the request is on its way, and no look
at this end tells. A GET rides a kept one if that is young, silent and its last reply left no byte
over; should it fail all the same, the GET is sent again on a new one, for that is free.

httpx-aiohttp 0.2 was tried in its place: it reads twice as fast, but sends a POST over a kept
connection, and when the server has read that POST and closes, reports a ConnectTimeout: what may
have been charged would look like what was never sent.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Protocol, cast

import anyio
import httpcore
import httpx

from retouch.transport.http1 import Http1
from retouch.transport.proxies import Proxies
from retouch.transport.wire import OneWire, socket_options

RIDING = frozenset({"GET"})  # methods that may ride a kept connection
KEPT = 16  # idle connections an origin: polls and downloads are few at once
SlotKey = tuple[bytes, bytes, int, str]
_OPTIONS = socket_options()


class _Answer(Protocol):
    """A reply whose head has come."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class _Slot(Protocol):
    """A connection and what it may be used for."""

    @property
    def key(self) -> SlotKey: ...
    async def send(self, request: httpx.Request, deadline: float) -> _Answer: ...
    def is_reusable_after(self, status: int, headers: httpx.Headers) -> bool: ...
    def is_alive(self) -> bool: ...
    async def aclose(self) -> None: ...


class _Direct(Http1):
    """A connection to a server itself."""

    def __init__(self, key: SlotKey, context: ssl.SSLContext | None) -> None:
        self.key = key
        _, host, port, name = key
        super().__init__(host.decode("ascii"), port, name or host.decode("ascii"), context)


class _Relayed:
    """A reply that came by a proxy."""

    def __init__(self, reply: httpcore.Response) -> None:
        self._reply = reply
        self.status, self.headers = reply.status, reply.headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        return cast(AsyncIterable[bytes], self._reply.stream).__aiter__()

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._reply.aclose()


class _Proxied:
    """A connection by a proxy: httpcore knows how to tunnel. It cannot be examined, so is never
    used again."""

    def __init__(self, key: SlotKey, context: ssl.SSLContext | None, proxy: httpx.Proxy) -> None:
        self.key = key
        self._backend = OneWire()
        self._pool = _through(proxy, context, self._backend)

    async def send(self, request: httpx.Request, deadline: float) -> _Relayed:
        self._backend.begin_request(deadline)
        asked = request.url
        url = httpcore.URL(
            scheme=asked.raw_scheme, host=asked.raw_host, port=asked.port, target=asked.raw_path
        )
        relayed = httpcore.Request(
            method=request.method,
            url=url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        return _Relayed(await self._pool.handle_async_request(relayed))

    def is_reusable_after(self, _status: int, _headers: httpx.Headers) -> bool:
        return False

    def is_alive(self) -> bool:
        return False

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._pool.aclose()


class _ReplyStream(httpx.AsyncByteStream):
    """A reply's body; closing it keeps the slot, or closes it too."""

    def __init__(self, reply: _Answer, give_back: Callable[[], Awaitable[None]]) -> None:
        self._reply = reply
        self._give_back = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._reply.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._reply.aclose()
        finally:
            await self._give_back()


class SlotTransport(httpx.AsyncBaseTransport):
    """An httpx transport without a pool: as many connections as there are requests, up to `most`.

    `keep` idle connections an origin are held for the next requests; where `most` are open, what
    is idle is closed first, then a request waits. The extension `sni_hostname` names the server
    where the URL holds its pinned address instead; `deadline` (the backend's clock) bounds all
    that a request does on its connection.
    """

    def __init__(
        self,
        *,
        keep: int,
        ssl_context: Callable[[], ssl.SSLContext],
        proxies: Proxies | None = None,
        most: int | None = None,
    ) -> None:
        self._keep = min(keep, KEPT)
        self._ssl_context = ssl_context
        self._proxies = proxies
        self._most = most or sys.maxsize
        self._open = 0
        self._closed = anyio.Event()
        self._idle: dict[SlotKey, list[_Slot]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.url
        port = asked.port or (443 if asked.scheme == "https" else 80)
        sni = request.extensions.get("sni_hostname", "")
        key = (asked.raw_scheme, asked.raw_host, port, sni)
        kept = await self._take(key) if request.method in RIDING else None
        if kept is not None:
            try:
                return await self._send(kept, request)
            except httpcore.TimeoutException:
                raise
            except Exception:  # noqa: S110 - a new connection tells
                pass
        await self._room()
        try:
            context = self._ssl_context() if asked.scheme == "https" else None
            proxy = self._proxy(request)
            slot = _Direct(key, context) if proxy is None else _Proxied(key, context, proxy)
        except BaseException:
            self._count_closed()
            raise
        return await self._send(slot, request)

    async def aclose(self) -> None:
        slots = [slot for idle in self._idle.values() for slot in idle]
        self._idle.clear()
        for slot in slots:
            await self._close(slot)

    def _proxy(self, request: httpx.Request) -> httpx.Proxy | None:
        if self._proxies is None:
            return None
        return self._proxies.of(request.url.scheme, request.headers["host"])

    async def _room(self) -> None:
        """Wait until one more connection may be opened, and count it."""
        while self._open >= self._most:
            idle = next(filter(None, self._idle.values()), None)
            if idle:
                await self._close(idle.pop(0))
            else:
                await self._closed.wait()
        self._open += 1

    async def _close(self, slot: _Slot) -> None:
        try:
            await slot.aclose()
        finally:
            self._count_closed()

    def _count_closed(self) -> None:
        self._open -= 1
        closed, self._closed = self._closed, anyio.Event()
        closed.set()

    async def _send(self, slot: _Slot, request: httpx.Request) -> httpx.Response:
        try:
            reply = await slot.send(request, request.extensions.get("deadline", float("inf")))
        except BaseException:
            await self._close(slot)
            raise

        async def give_back() -> None:
            is_reusable = slot.is_reusable_after(response.status_code, response.headers)
            await self._give_back(slot, is_reusable)

        stream = _ReplyStream(reply, give_back)
        response = httpx.Response(reply.status, headers=reply.headers, stream=stream)
        return response

    async def _take(self, key: SlotKey) -> _Slot | None:
        idle = self._idle.get(key, [])
        while idle:
            slot = idle.pop()
            if slot.is_alive():
                return slot
            await self._close(slot)
        return None

    async def _give_back(self, slot: _Slot, reusable: bool) -> None:
        idle = self._idle.setdefault(slot.key, [])
        if not reusable or len(idle) >= self._keep or self._open >= self._most:
            await self._close(slot)
        else:
            idle.append(slot)
        await self._close_dead()

    async def _close_dead(self) -> None:
        """Close what no request will use again, of every origin: an origin that nothing is asked
        of any more would keep its sockets, and newest first never comes to an old one."""
        dead = [idle.pop(0) for idle in self._idle.values() if idle and not idle[0].is_alive()]
        self._idle = {key: idle for key, idle in self._idle.items() if idle}
        for slot in dead:
            await self._close(slot)


def _through(
    proxy: httpx.Proxy, context: ssl.SSLContext | None, backend: OneWire
) -> httpcore.AsyncConnectionPool:
    """One connection by a proxy; httpcore's pools know how to tunnel, and hold just this one."""
    url = httpcore.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=b"/"
    )
    if proxy.url.scheme.startswith("socks"):
        return httpcore.AsyncSOCKSProxy(
            url,
            proxy_auth=proxy.raw_auth,
            ssl_context=context,
            max_keepalive_connections=0,
            network_backend=backend,
        )
    return httpcore.AsyncHTTPProxy(
        url,
        proxy_auth=proxy.raw_auth,
        ssl_context=context,
        max_keepalive_connections=0,
        network_backend=backend,
        socket_options=_OPTIONS,
    )
