"""Whole exchanges against a local server: 1 MB up, 1.5 MB down, both as base64 in JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import httpx

from retouch.dialects.base import Base64, Request
from retouch.job import Picture
from retouch.transport import Connection, open_transport
from tests.bench.measured import Measured, against
from tests.bench.server import answering

_PICTURE = Picture("sha256:0")
_UP, _DOWN = 1_000_000, 2_000_000
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Load:
    """`jobs` exchanges with the server at `port`, shared among `at_once` workers."""

    port: int
    data: bytes
    at_once: int
    jobs: int

    async def share(self, worker: Callable[[int], Coroutine[None, None, None]]) -> None:
        """Runs the workers, each given how many exchanges are its own."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.at_once):
                group.create_task(worker(self.jobs // self.at_once))


def measure() -> list[Measured]:
    data = os.urandom(_UP)
    with answering(b"A" * _DOWN) as port:
        load = (Load(port, data, 1, 24), Load(port, data, 16, 96), Load(port, data, 64, 128))
        return [row for some in load for row in _rows(some)]


def _rows(load: Load) -> list[Measured]:
    return against(
        f"exchange 1 MB up, 1.5 MB down, {load.at_once} at once",
        lambda: asyncio.run(ours(load)),
        {
            "raw sockets": lambda: asyncio.run(raw(load)),
            "httpx, as one would": lambda: asyncio.run(plain(load)),
        },
        times=load.jobs,
        rounds=_ROUNDS,
    )


async def ours(load: Load) -> None:
    base = f"http://127.0.0.1:{load.port}/v1"
    request = Request(
        "POST", f"{base}/images/edits", (), (b'{"image":"', Base64(_PICTURE), b'","prompt":"p"}')
    )
    async with open_transport(
        Connection(base_url=base, key=None), concurrency=load.at_once
    ) as transport:

        async def worker(share: int) -> None:
            for _ in range(share):
                seen = await transport.exchange(request, {_PICTURE: load.data}, timeout_seconds=60)
                assert seen.reply is not None, seen.error
                assert len(seen.reply.body) > _DOWN

        await load.share(worker)


async def plain(load: Load) -> None:
    """httpx's client and pool; the body through json, the reply read whole."""
    limits = httpx.Limits(max_connections=load.at_once)
    url = f"http://127.0.0.1:{load.port}/v1/images/edits"
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def worker(share: int) -> None:
            for _ in range(share):
                image = base64.b64encode(load.data).decode()
                response = await client.post(url, json={"image": image, "prompt": "p"})
                assert len(response.content) > _DOWN

        await load.share(worker)


async def raw(load: Load) -> None:
    """The least that can be: a ready body, sockets, and a buffer; no HTTP but its framing."""
    body = json.dumps({"image": base64.b64encode(load.data).decode(), "prompt": "p"}).encode()
    message = b"POST /v1/x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    loop = asyncio.get_running_loop()

    async def worker(share: int) -> None:
        with socket.socket() as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", load.port))
            buffer = bytearray(_DOWN + 1000)
            for _ in range(share):
                await loop.sock_sendall(connection, message)
                await _receive(loop, connection, memoryview(buffer))

    await load.share(worker)


async def _receive(
    loop: asyncio.AbstractEventLoop, connection: socket.socket, view: memoryview
) -> None:
    got = await loop.sock_recv_into(connection, view)
    head_bytes = bytes(view[:200]).index(b"\r\n\r\n") + 4
    length = int(bytes(view[:head_bytes]).split(b"Content-Length: ")[1].split(b"\r\n")[0])
    while got < head_bytes + length:
        got += await loop.sock_recv_into(connection, view[got:])
