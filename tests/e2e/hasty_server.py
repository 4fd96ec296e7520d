"""A provider that closes the connections it kept, near or far: a process with a book of its own.

Its clients come by a link that delays each byte, and the end of a connection, by half of
`round_trip_seconds` a way. `keep_seconds` after each reply it closes the connection, whatever may
be on its way there.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.provider import PICTURE_CHARGE, picture_reply, write_down

MODEL = PICTURE_CHARGE.model


def serve(
    port: Connection[int, int],
    book: Path,
    *,
    keep_seconds: float,
    round_trip_seconds: float = 0.0,
    seconds: float = 0.01,
) -> None:
    """Say the port and serve until killed."""
    asyncio.run(_serve(port, _Provider(book, keep_seconds, seconds), round_trip_seconds / 2))


async def _serve(port: Connection[int, int], provider: _Provider, way_seconds: float) -> None:
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0, backlog=1024)
    number = server.sockets[0].getsockname()[1]
    if way_seconds:
        link = await asyncio.start_server(_Link(number, way_seconds).carry, "127.0.0.1", 0)
        number = link.sockets[0].getsockname()[1]
    port.send(number)
    await asyncio.Event().wait()


@dataclass(slots=True)
class _Provider:
    book: Path
    keep_seconds: float
    seconds: float
    charged: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after another, until none comes in time."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            keep_seconds: float | None = None
            while True:
                async with asyncio.timeout(keep_seconds):
                    head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):  # whether it is a rehearsal
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    keep_seconds = self.keep_seconds
                    continue
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await asyncio.sleep(self.seconds)
                body = self._charged()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                keep_seconds = self.keep_seconds
        writer.close()

    def _charged(self) -> bytes:
        """A picture, charged in the book's file before it is answered."""
        self.charged += 1
        write_down(self.book, PICTURE_CHARGE)
        return picture_reply(str(self.charged))


@dataclass(frozen=True, slots=True)
class _Link:
    port: int
    way_seconds: float

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, each way by itself."""
        there = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._way(reader, there[1]), self._way(there[0], writer))

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                loop.call_later(self.way_seconds, writer.write, data)
        loop.call_later(self.way_seconds, writer.close)
