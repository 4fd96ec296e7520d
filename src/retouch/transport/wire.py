"""The bytes of one connection: read a megabyte at a time, each reply's own size kept in mind.

httpcore reads 64 KB at a time, which is most of what a big reply costs. And h11 keeps what came
after a reply for the next one, so a wrong Content-Length would answer somebody else's request:
a wire knows whether its last reply ended where it said.

It lies straight on a stream of our own: httpcore's costs a cancel scope and two generators a read
or write. TLS hands out a record of 16 KB at a time: all that lie there are taken together.

A wire keeps its request's deadline itself, for a deadline that comes while the process stands
still (SIGSTOP, a paused container) finds the reply whole in the socket: a read that is over its
deadline still takes what is there, and goes on as long as more keeps coming.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import httpcore
from anyio.abc import ByteStream
from anyio.streams.tls import TLSAttribute, TLSStream

from retouch.storage.descriptors import lacks_descriptor
from retouch.transport.stream import READ_BYTES, DueStream, Late, connect

QUIET_SECONDS = 0.25  # seconds without a byte after which a socket holds none
LATE_SECONDS = 30.0  # the most that reading goes on after a deadline
_LOOK_AGAIN_SECONDS = 0.1
_LOOKS = 2  # after a busy stretch the timer fires before the socket's bytes are seen: ask twice
_RECORD_BYTES = 16_384  # of TLS, at most
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1\d\d\b")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00\r\n]*|[ \t][^\x00\r\n]*")
HEAD_BYTES = 102_400  # h11's own limit
_LAST_CHUNK = b"0\r\n\r\n"


def socket_options() -> list[tuple[int, int, int]]:
    """TCP keep-alive: a model works for minutes in silence, and routers forget silent flows."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


_OPTIONS = socket_options()


def mend_head(head: bytes) -> bytes:
    """A reply's head without the lines that are no header field: the body after it is paid for."""
    status, *lines = re.split(rb"(?<=\n)", head)
    kept = [line for line in lines if _FIELD.fullmatch(line.rstrip(b"\r\n")) or not line.strip()]
    return head if len(kept) == len(lines) else b"".join((status, *kept))


_LOST = (anyio.BrokenResourceError, anyio.ClosedResourceError)


def _may_be_head(begun: bytes) -> bool:
    return len(begun) <= HEAD_BYTES and begun[:5] == b"HTTP/"[: len(begun)]


class Wire(httpcore.AsyncNetworkStream):
    """A network stream that measures the reply it is reading."""

    def __init__(self, stream: DueStream, deadline: float) -> None:
        self._stream = stream
        self._inner: ByteStream = stream  # what is read and written: that, or TLS over it
        self._tls: ssl.SSLObject | None = None
        self._failed: ssl.SSLError | None = None
        self.begin_reply(deadline)

    def begin_reply(self, deadline: float) -> None:
        """What is read from here on is the next reply, due at `deadline` (the backend's clock)."""
        self._deadline = deadline
        self._received = 0
        self._head: bytes | None = b""  # None once the head's end was seen
        self._head_bytes = 0
        self._tail = b""
        self._is_mended = False

    def ended_with(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether the reply of this status and these headers was read and not a byte more."""
        if self._is_mended:  # a server with such heads gets no second request on this connection
            return False
        if "transfer-encoding" in headers:
            return self._tail == _LAST_CHUNK
        length = "0" if status in (204, 304) else headers.get("content-length", "")
        return length.isdecimal() and self._received == self._head_bytes + int(length)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        data = await self._take(max(max_bytes, READ_BYTES), timeout)
        if self._head is None:
            return data
        self._head += data
        mended = b""
        while data and _may_be_head(self._head):
            end = _HEAD_END.search(self._head)
            if end is None:
                data = await self._take(READ_BYTES, timeout)
                self._head += data
                continue
            head, rest = self._head[: end.end()], self._head[end.end() :]
            self._head_bytes += len(head)
            mended += self._mended(head)
            if not _INTERIM.match(head):
                self._head = None
                return mended + rest
            self._head = rest  # 100, 103: the reply's own head comes after
            if not rest:
                return mended
        given, self._head = self._head, None  # no head: its reader tells that
        return mended + given

    async def _take(self, max_bytes: int, timeout: float | None) -> bytes:  # noqa: ASYNC109 - as above
        data = await self._arrived(max_bytes, timeout)
        self._received += len(data)
        self._tail = (self._tail + data[-5:])[-5:]
        return data

    async def _arrived(self, max_bytes: int, seconds: float | None) -> bytes:
        """The next bytes: those that come in time, else those that are there all the same."""
        stream = self._stream
        stream.deadline = self._deadline
        if seconds is not None:
            stream.deadline = min(self._deadline, anyio.current_time() + seconds)
        for _ in range(1 + _LOOKS):
            try:
                return await self._next(max_bytes)
            except Late:
                stream.deadline = anyio.current_time() + QUIET_SECONDS
        raise httpcore.ReadTimeout

    async def _next(self, max_bytes: int) -> bytes:
        """Whatever comes next; b"" at the end of all. Raises Late."""
        try:
            if self._failed is not None:
                raise self._failed
            data = await self._inner.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except (*_LOST, ssl.SSLError) as lost:
            raise httpcore.ReadError(str(lost)) from lost
        return data if self._tls is None else self._with_records(data, max_bytes, self._tls)

    def _with_records(self, data: bytes, max_bytes: int, tls: ssl.SSLObject) -> bytes:
        """The same, with all that has come of TLS beside it."""
        pieces, left = [data], max_bytes - len(data)
        try:
            while left > 0 and (more := tls.read(min(left, _RECORD_BYTES))):
                pieces.append(more)
                left -= len(more)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as failed:  # what came before it counts
            self._failed = failed
        return b"".join(pieces)

    def _mended(self, head: bytes) -> bytes:
        mended = mend_head(head)
        self._is_mended = self._is_mended or mended != head
        return mended

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        in_time = self._deadline
        if timeout is not None:
            in_time = min(in_time, anyio.current_time() + timeout)
        with anyio.CancelScope(deadline=in_time):
            return await self.put(buffer)
        raise httpcore.WriteTimeout

    async def put(self, buffer: bytes) -> None:
        """Write it, however long that takes."""
        if buffer:
            try:
                await self._inner.send(buffer)
            except _LOST as lost:
                raise httpcore.WriteError(str(lost)) from lost

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> Wire:
        in_time = self._deadline
        if timeout is not None:
            in_time = min(in_time, anyio.current_time() + timeout)
        self._stream.deadline = float("inf")  # the scope's is for all of it
        try:
            with anyio.CancelScope(deadline=in_time):
                self._inner = await TLSStream.wrap(
                    self._inner,
                    hostname=server_hostname,
                    ssl_context=ssl_context,
                    standard_compatible=False,
                    server_side=False,
                )
                self._tls = self._inner.extra(TLSAttribute.ssl_object)  # noqa: S610 - anyio's
                return self
        except TimeoutError as late:
            await self._inner.aclose()
            raise httpcore.ConnectTimeout(str(late)) from late
        except (*_LOST, anyio.EndOfStream, ssl.SSLError) as refused:
            await self._inner.aclose()
            raise httpcore.ConnectError(str(refused)) from refused
        await self._inner.aclose()
        raise httpcore.ConnectTimeout

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a stream that it speaks to a proxy over."""
        match info:
            case "ssl_object":
                return self._tls
            case "is_readable":
                return self.is_readable()
            case _:
                return None

    def is_readable(self) -> bool:
        """Whether something lies in the socket, or its other end has closed."""
        return self._stream.is_readable()


class OneWire(httpcore.AsyncNetworkBackend):
    """Opens the one wire of one slot, the same way on asyncio and trio."""

    def __init__(self) -> None:
        self._deadline = float("inf")
        self.wire: Wire | None = None

    def begin_request(self, deadline: float) -> None:
        """What is connected, written and read from here on is due at `deadline`."""
        self._deadline = deadline
        if self.wire is not None:
            self.wire.begin_reply(deadline)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> Wire:
        in_time = self._deadline
        if timeout is not None:
            in_time = min(in_time, anyio.current_time() + timeout)
        with anyio.CancelScope(deadline=in_time):
            return await self.connect(host, port, local_address, socket_options or ())
        raise httpcore.ConnectTimeout

    async def connect(
        self,
        host: str,
        port: int,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] = _OPTIONS,
    ) -> Wire:
        """The wire, connected, however long that takes. Raises ConnectError, ConnectTimeout."""
        while True:
            try:
                stream = await connect(host, port, local_address)
                for option in socket_options:
                    stream.raw.setsockopt(*option)
            except TimeoutError as late:
                raise httpcore.ConnectTimeout(str(late)) from late
            except (OSError, anyio.BrokenResourceError) as error:
                if not lacks_descriptor(error):
                    raise httpcore.ConnectError(str(error)) from error
            else:
                self.wire = Wire(stream, self._deadline)
                return self.wire
            await anyio.sleep(_LOOK_AGAIN_SECONDS)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
