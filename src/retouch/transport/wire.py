"""The bytes of one connection: read a megabyte at a time, each reply's own size kept in mind.

httpcore reads 64 KB at a time, which is most of what a big reply costs. And h11 keeps what came
after a reply for the next one, so a wrong Content-Length would answer somebody else's request:
a wire knows whether its last reply ended where it said.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpcore

READ_BYTES = 1_048_576
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LAST_CHUNK = b"0\r\n\r\n"


def socket_options() -> list[tuple[int, int, int]]:
    """TCP keep-alive: a model works for minutes in silence, and routers forget silent flows."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class Wire(httpcore.AsyncNetworkStream):
    """A network stream that measures the reply it is reading."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self.begin_reply()

    def begin_reply(self) -> None:
        """What is read from here on is the next reply."""
        self._received = 0
        self._head: bytes | None = b""  # None once the head's end was seen
        self._head_bytes = 0
        self._tail = b""

    def ended_with(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether the reply of this status and these headers was read and not a byte more."""
        if "transfer-encoding" in headers:
            return self._tail == _LAST_CHUNK
        length = "0" if status in (204, 304) else headers.get("content-length", "")
        return length.isdecimal() and self._received == self._head_bytes + int(length)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        data = await self._inner.read(max(max_bytes, READ_BYTES), timeout)
        self._received += len(data)
        self._tail = (self._tail + data[-5:])[-5:]
        if self._head is not None:
            self._head += data
            end = _HEAD_END.search(self._head)
            if end:
                self._head_bytes, self._head = end.end(), None
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore.AsyncNetworkStream:
        self._inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return self

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class OneWire(httpcore.AsyncNetworkBackend):
    """Opens the one wire of one slot, the same way on asyncio and trio."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()
        self.wire: Wire | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.wire = Wire(
            await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )
        return self.wire
