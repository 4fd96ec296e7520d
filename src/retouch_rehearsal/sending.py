"""How a reply leaves the house: from disk in pieces, or damaged on its way as a fault says."""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import IO, cast

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .faults import Fault

ABORT = "retouch.abort"
CLOSE = "retouch.close"
PIECE_BYTES = 256 * 1024
SLOW_PIECES = 20


class Stored(Response):
    """A reply whose body lies on disk: clients that read slowly do not fill memory.

    `write` fills the file, which is gone when the reply is.
    """

    def __init__(self, write: Callable[[IO[bytes]], None], media_type: str) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  closed by the finalizer
        weakref.finalize(self, self.file.close)
        write(self.file)
        size = str(self.file.tell())
        super().__init__(headers={"content-length": size}, media_type=media_type)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the file."""
        await _send_start(self, send)
        for piece, is_last in _pieces(self.file, _size_of(self), PIECE_BYTES):
            await _send_piece(piece, send, more=not is_last)


class Reset(Response):
    """No reply at all: the connection is reset."""

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Reset the connection, if there is one."""
        cast("Callable[[], None]", scope[ABORT])()


class Truncated(Response):
    """Half of another reply: with a connection it then closes, without one the reply ends there."""

    def __init__(self, whole: Response) -> None:
        super().__init__(status_code=whole.status_code, headers=dict(whole.headers))
        self._whole = whole

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the first half."""
        half = _size_of(self._whole) // 2
        close = cast("Callable[[], None] | None", scope.get(CLOSE))
        if close is None:
            self.headers["content-length"] = str(half)
        await _send_start(self, send)
        for piece, is_last in _pieces(_file_of(self._whole), half, PIECE_BYTES):
            await _send_piece(piece, send, more=close is not None or not is_last)
        if close is not None:
            close()


class Slow(Response):
    """Another reply in twenty pieces, spread over `seconds`."""

    def __init__(self, whole: Response, seconds: float) -> None:
        super().__init__(status_code=whole.status_code, headers=dict(whole.headers))
        self._whole = whole
        self._seconds = seconds

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send slowly."""
        await _send_start(self, send)
        size = _size_of(self._whole)
        step = max(1, -(-size // SLOW_PIECES))
        for piece, is_last in _pieces(_file_of(self._whole), size, step):
            await anyio.sleep(self._seconds / SLOW_PIECES)
            await _send_piece(piece, send, more=not is_last)


def spoil(fault: Fault, reply: Response) -> Response:
    """The service's own reply, damaged on its way as the fault says."""
    if fault.kind == "truncated":
        return Truncated(reply)
    if fault.kind == "slow_body":
        return Slow(reply, 10.0 if fault.seconds is None else fault.seconds)
    if fault.kind == "not_json":
        return Response(b"{'data': [oops", 200, media_type="application/json")
    if fault.kind == "html":
        page = "<!doctype html><title>502 Bad Gateway</title><h1>nginx</h1>"
        return Response(page, 200, media_type="text/html")
    return reply


def _file_of(reply: Response) -> IO[bytes]:
    return reply.file if isinstance(reply, Stored) else io.BytesIO(bytes(reply.body))


def _size_of(reply: Response) -> int:
    return int(reply.headers["content-length"])


def _pieces(file: IO[bytes], size: int, step: int) -> Iterator[tuple[bytes, bool]]:
    """The first `size` bytes in pieces of `step`, and whether each is the last; at least one."""
    file.seek(0)
    for start in range(0, max(size, 1), step):
        yield file.read(min(step, size - start)), start + step >= size


async def _send_start(reply: Response, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": reply.status_code,
            "headers": reply.raw_headers,
        }
    )


async def _send_piece(piece: bytes, send: Send, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})
