"""The bytes of one TCP connection, and when they are due.

anyio's own stream stops and starts the socket's reader around each read, and a deadline costs a
scope a read: with a large reply that is a quarter of all that is done in Python. On asyncio this
one reads as bytes come, and has one timer a deadline.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from contextlib import suppress
from typing import cast

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketStream

READ_BYTES = 1_048_576
_AT_ONCE_BYTES = 262_144  # read from a socket at once
# No more is read while so much was not taken: twice what is read at once, so that who takes each
# piece as it comes is never waited for.
_HELD_BYTES = 2 * _AT_ONCE_BYTES
_NEXT_ADDRESS_SECONDS = 0.25  # RFC 8305: how long an address is tried before the next one


class Late(Exception):
    """Nothing has come by the deadline; what comes after it can still be received."""


class DueStream(ByteStream):
    """A stream over the socket `raw` whose `receive` raises Late at its `deadline` (the backend's
    clock)."""

    deadline = float("inf")
    raw: socket.socket

    def is_readable(self) -> bool:
        """Whether something lies there that was not received, or the other end has closed."""
        number = self.raw.fileno()
        if number < 0:
            return True
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))


class _Scratch(threading.local):
    """What a thread's event loop reads into: taken out again before anything else is read."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_AT_ONCE_BYTES))


_SCRATCH = _Scratch()


class _AsyncioStream(DueStream, asyncio.BufferedProtocol):
    """One connection of asyncio's; raises anyio's errors."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._scratch = _SCRATCH.view
        self._come: list[bytes] = []
        self._held_bytes = 0
        self._is_at_end = self._is_lost = self._is_closed = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_full = False
        self._timer: asyncio.TimerHandle | None = None

    def is_readable(self) -> bool:
        return bool(self._come) or self._is_at_end or self._is_lost or super().is_readable()

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        while not self._come:
            if self._is_at_end:
                raise anyio.EndOfStream
            self._refuse_lost()
            await self._arrival()
        data = self._come.pop() if len(self._come) == 1 else b"".join(self._come)
        self._come.clear()
        if len(data) > max_bytes:
            self._come.append(data[max_bytes:])
            data = data[:max_bytes]
        was_paused = self._held_bytes >= _HELD_BYTES
        self._held_bytes -= len(data)
        if was_paused and self._held_bytes < _HELD_BYTES and not self._is_lost:
            self._transport.resume_reading()
        return data

    async def _arrival(self) -> None:
        """Something has come, or nothing more will. Raises Late."""
        if self.deadline != float("inf") and (
            self._timer is None or self._timer.when() > self.deadline
        ):
            self._set_timer()
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if self._reader is None or self._reader.done():
            return
        if self.deadline <= self._loop.time():
            self._reader.set_exception(Late())
        elif self.deadline != float("inf"):  # it was put off
            self._set_timer()

    async def send(self, item: bytes) -> None:
        self._refuse_lost()
        self._transport.write(item)
        if self._is_full:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        else:
            await asyncio.sleep(0)  # the other end may have closed: what is next then stays here
        self._refuse_lost()

    async def send_eof(self) -> None:
        self._transport.write_eof()

    async def aclose(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        await anyio.lowlevel.checkpoint()

    def _refuse_lost(self) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError
        if self._is_lost:
            raise anyio.BrokenResourceError from self._error

    # What asyncio tells:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.raw = cast(socket.socket, transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(0)  # what was sent was given to the system

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost, self._error = True, error
        if self._timer is not None:
            self._timer.cancel()
        self._wake(self._reader)
        self._wake(self._writer)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._scratch

    def buffer_updated(self, count: int) -> None:
        self._come.append(bytes(self._scratch[:count]))
        self._held_bytes += count
        if self._held_bytes >= _HELD_BYTES:
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        self._is_at_end = True
        self._wake(self._reader)
        return True

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake(self._writer)

    @staticmethod
    def _wake(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


class _ScopedStream(DueStream):
    """One connection of anyio's: trio's, or another loop's."""

    def __init__(self, inner: SocketStream) -> None:
        self._inner = inner
        self.raw = inner.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        with anyio.CancelScope(deadline=self.deadline):
            return await self._inner.receive(max_bytes)
        raise Late

    async def send(self, item: bytes) -> None:
        await self._inner.send(item)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def connect(host: str, port: int, local_host: str | None = None) -> DueStream:
    """A connection, however long that takes. Raises OSError.

    asyncio's race of a name's addresses may end with none that won and no reason (CPython's issue
    135836), or with two that did.
    """
    try:
        return await _connected(host, port, local_host)
    except UnicodeError as wrong:  # a proxy's name, say: no part of one is empty
        raise OSError(f"{host} is no host's name") from wrong
    except (IndexError, AssertionError) as lost:
        raise OSError(f"no address of {host} was connected") from lost


async def _connected(host: str, port: int, local_host: str | None) -> DueStream:
    loop: asyncio.AbstractEventLoop | None = None
    with suppress(RuntimeError):  # it is trio that runs
        loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):  # uvloop, which Ray uses where it is installed
        return _ScopedStream(await anyio.connect_tcp(host, port, local_host=local_host))
    _, stream = await loop.create_connection(
        lambda: _AsyncioStream(loop),
        host,
        port,
        local_addr=(local_host, 0) if local_host else None,
        happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
    )
    return stream
