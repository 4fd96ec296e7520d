"""A provider in a process of its own that costs as little as possible and keeps a book.

`python -m tests.bench.scale_server TASKS` prints its port and serves until its input ends, then
prints its book as JSON. A POST to a model of Kling's is a task, which ends once TASKS of them are
out; to any other model it is answered at once, with a small picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pybase64

from tests.bench.scale_ledger import picture

_ASKED = re.compile(rb"(?:GET|POST) (?:https?://[^/ ]+)?(/\S*)")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
PICTURE = picture(7)
_USAGE = b'{"input_tokens":300,"output_tokens":1290,"total_tokens":1590}'
_EDITED = b'{"data":[{"b64_json":"%b"}],"usage":%b}' % (pybase64.b64encode(PICTURE), _USAGE)
_HOLD_SECONDS = 20.0  # that all tasks are out before the first of them ends


@dataclass(slots=True)
class Book:
    """What was asked for: POSTs, and of each task when it was polled (seconds)."""

    tasks: int
    edits: int = 0
    full: float = float("inf")  # when all were out, and had been for a while
    polls: dict[str, list[float]] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """For the bench."""
        times = sorted(moment for each in self.polls.values() for moment in each)
        gaps = [
            later - earlier for each in self.polls.values() for earlier, later in pairwise(each)
        ]
        return {
            "edits": self.edits,
            "tasks": len(self.polls),
            "polls": len(times),
            "polls_in_a_second": max(
                (bisect_right(times, at + 1) - place for place, at in enumerate(times)), default=0
            ),
            "longest_pause": max(gaps, default=0.0),
            "never_polled": sum(not each for each in self.polls.values()),
        }


class _Provider(asyncio.Protocol):
    def __init__(self, book: Book, origin: list[bytes]) -> None:
        self._book, self._origin = book, origin
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._came = b""
        asked = _ASKED.match(head)
        status, kind, answer = self._answered(asked[1] if asked else b"", head, body)
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (status, kind, len(answer), answer)
        )

    def _answered(self, path: bytes, head: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
        book, json_type = self._book, b"application/json"
        if head.startswith(b"POST"):
            if b'"kling' not in body:
                book.edits += 1
                return b"200 OK", json_type, _EDITED
            task = f"t{len(book.polls)}"
            book.polls[task] = []
            if len(book.polls) == book.tasks:
                book.full = time.monotonic() + _HOLD_SECONDS
            return b"200 OK", json_type, b'{"task_id":"%b"}' % task.encode()
        if path.startswith(b"/files/"):
            return b"200 OK", b"image/png", PICTURE
        task = path.rpartition(b"/")[2].decode()
        if task not in book.polls:
            return b"404 Not Found", json_type, b"{}"
        book.polls[task].append(time.monotonic())
        if time.monotonic() < book.full:
            return b"200 OK", json_type, b'{"task_id":"%b","status":"processing"}' % task.encode()
        url = b"%b/files/%b.png" % (self._origin[0], task.encode())
        done = b'{"task_id":"%b","status":"succeed","data":[{"index":0,"url":"%b"}],"quantity":1}'
        return b"200 OK", json_type, done % (task.encode(), url)


async def _serve(tasks: int) -> None:
    book, origin = Book(tasks), [b""]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Provider(book, origin), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    origin[0] = b"http://127.0.0.1:%d" % port
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    sys.stdout.write(json.dumps(book.told()) + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Serving:
    """Where it is; `book` once it has ended."""

    port: int
    book: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def serving(tasks: int = 0) -> Iterator[Serving]:
    """Such a server while the block runs."""
    command = [sys.executable, "-m", "tests.bench.scale_server", str(tasks)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        found = Serving(int(process.stdout.readline()))
        try:
            yield found
        finally:
            process.stdin.close()
            found.book = json.loads(process.stdout.readline() or "{}")


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
