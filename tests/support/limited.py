"""The tests' provider behind a server that notes when each request reached its machine.

The kernel's own stamp tells (SO_TIMESTAMPNS, socket(7)): a server that is short of processor time
reads a request late, and would see bunches that nobody sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.support.provider import Provider

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
_STAMP = struct.Struct("@qq")


@dataclass(slots=True)
class _Server:
    """One request a connection, HTTP/1.1, as far as the tests' client speaks it."""

    provider: Provider
    stamps: Path

    async def listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # those accepted inherit it
        talks = set[asyncio.Task[None]]()
        while True:
            client, _ = await loop.sock_accept(listener)
            client.setblocking(False)
            talk = asyncio.create_task(self._talk(client))
            talks.add(talk)
            talk.add_done_callback(talks.discard)

    async def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            loop = asyncio.get_running_loop()
            data, at = await _stamped(client)
            while data and b"\r\n\r\n" not in data:
                data += await loop.sock_recv(client, 65536)
            head, _, body = data.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ", 2)
            headers = [
                (name.lower().encode(), value.strip().encode())
                for name, _, value in (line.partition(":") for line in lines)
            ]
            length = int(dict(headers).get(b"content-length", b"0"))
            while len(body) < length:
                body += await loop.sock_recv(client, 1 << 18)
            if method == "POST":
                with self.stamps.open("a") as file:
                    file.write(f"{at:.6f}\n")
            await loop.sock_sendall(client, await self._reply(method, path, headers, body))

    async def _reply(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> bytes:
        said = [b""]

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                lines = [f"HTTP/1.1 {message['status']} -".encode(), b"connection: close"]
                lines += [name + b": " + value for name, value in message["headers"]]
                said[0] = b"\r\n".join(lines) + b"\r\n\r\n"
            else:
                said[0] += message["body"]

        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        await self.provider(scope, receive, send)
        return said[0]


async def _stamped(client: socket.socket) -> tuple[bytes, float]:
    """The first bytes, and when they reached this machine."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(client, ready.set)
    await ready.wait()
    loop.remove_reader(client)
    data, told, _, _ = client.recvmsg(65536, 1024)
    for _, kind, stamp in told:
        if kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _STAMP.unpack(stamp)
            return data, seconds + nanoseconds / 1e9
    return data, time.time()


def serve_limited(port: Connection[int, int], book: Path, *, seconds: float) -> None:
    """Say the port and serve until killed."""
    with suppress(OSError):
        os.nice(-15)  # a server has a machine of its own
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        number = listener.getsockname()[1]
        provider = Provider(seconds=seconds, origin=f"http://127.0.0.1:{number}", book_file=book)
        port.send(number)
        asyncio.run(_Server(provider, book.with_suffix(".at")).listen(listener))


def arrivals(folder: Path) -> list[float]:
    """When each submit arrived."""
    path = folder / "book.at"
    return sorted(json.loads(line) for line in path.read_text().split()) if path.exists() else []
