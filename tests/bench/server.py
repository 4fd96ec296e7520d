"""A server in a process of its own that costs as little as possible: any POST, one big reply.

`python -m tests.bench.server FILE` answers with what the file holds; prints its port and serves
until its input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


class _Answering(asyncio.Protocol):
    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            self._left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            data = rest
        self._left -= len(data)
        if not self._left:
            self._transport.write(self._reply)


async def _serve(body: bytes) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answering(reply), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def answering(base64: bytes) -> Iterator[int]:
    """The port of such a server, whose replies hold this picture and its usage."""
    usage = b'{"input_tokens":300,"output_tokens":1290,"total_tokens":1590}'
    body = b'{"data":[{"b64_json":"' + base64 + b'"}],"usage":' + usage + b"}"
    with tempfile.NamedTemporaryFile() as file, contextlib.ExitStack() as stack:
        file.write(body)
        file.flush()
        command = [sys.executable, "-m", "tests.bench.server", file.name]
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]).read_bytes()))
