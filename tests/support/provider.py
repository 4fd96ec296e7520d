"""A provider of the tests' own: an ASGI application with its own book of charges.

It speaks the seed's protocol for one synchronous and one task model, and OpenAI's (JSON and forms)
for `gpt-image` models, at whatever latency and with
whatever mishaps a test asks for, and notes each request with its time. The book is the oracle:
what it says was charged was charged, whatever the ledger says.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import asdict, dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import Any

import anyio

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def png(seed: str = "", side: int = 8) -> bytes:
    """A small whole PNG, different for each seed."""
    row = b"\0" + bytes(3 * side)

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return len(data).to_bytes(4, "big") + kind + data + crc.to_bytes(4, "big")

    size = side.to_bytes(4, "big") * 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + b"\x08\x02\0\0\0")
        + chunk(b"tEXt", b"seed\0" + seed.encode("latin-1", "replace"))
        + chunk(b"IDAT", zlib.compress(row * side))
        + chunk(b"IEND", b"")
    )


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the provider's book."""

    model: str
    images: int
    input_tokens: int
    output_tokens: int
    task: str | None = None
    request: str = ""


def write_down(book: Path, charge: Charge) -> None:
    """A line in a book's file, durable on return: the oracle of whoever is killed."""
    with book.open("a") as file:
        file.write(json.dumps(asdict(charge)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def picture_reply(seed: str) -> bytes:
    """A whole reply with one picture and what PICTURE_CHARGE counts."""
    picture = base64.b64encode(png(seed)).decode()
    usage = {"input_tokens": 300, "output_tokens": 1290, "total_tokens": 1590}
    return json.dumps({"data": [{"b64_json": picture}], "usage": usage}).encode()


PICTURE_CHARGE = Charge("gemini-2.5-flash-image", 1, 300, 1290)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived; `at` is the backend's clock."""

    at: float
    method: str
    path: str
    authorization: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mishap:
    """A reply in place of the regular one; `charged`: the work is done and billed all the same."""

    status: int = 500
    body: bytes = b'{"error":{"message":"overloaded, try again","type":"server_error"}}'
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    charged: bool = False


@dataclass(slots=True)
class Provider:
    """The application; mishaps are consumed one a request, those of submits by `mishaps_of`.

    `held_after`: so many submits are answered, the others once there is a file beside the book's,
    `.released`: until then a run is under way, however slow the machine.
    """

    seconds: float = 0.0
    tokens_per_image: int = 1290
    task_seconds: float = 3.0
    mishaps: Iterable[Mishap | None] = ()
    poll_mishaps: Iterable[Mishap | None] = ()
    file_mishaps: Iterable[Mishap | None] = ()
    mishaps_of: str = ""
    extra_pictures: int = 0
    origin: str = "http://127.0.0.1"
    signature: str = "?e=99&token=sig:SIGNED"
    book_file: Path | None = None
    held_after: int | None = None
    book: list[Charge] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _tasks: dict[str, tuple[float, int]] = field(default_factory=dict)
    _through: int = 0

    def __post_init__(self) -> None:
        self.mishaps = iter(self.mishaps)
        self.poll_mishaps = iter(self.poll_mishaps)
        self.file_mishaps = iter(self.file_mishaps)

    def finish_tasks(self) -> None:
        """Let every Task be ready now."""
        self._tasks = {task: (float("-inf"), n) for task, (_, n) in self._tasks.items()}

    def latency(self) -> float:
        """How long the next submit takes, in seconds."""
        return self.seconds

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        asked = await _body(receive)
        if asked is None:
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            status, headers, body = await self._answer(scope, asked)
        finally:
            self.in_flight -= 1
        raw = [(name.encode(), value.encode()) for name, value in headers]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: MutableMapping[str, Any], body: bytes
    ) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization")
        asked = asked_in(headers.get(b"content-type", b"").decode(), body)
        self.seen.append(
            Seen(
                anyio.current_time(),
                method,
                path,
                authorization.decode() if authorization else None,
                asked,
            )
        )
        if method == "POST":
            if self.book_file is not None:
                with self.book_file.with_suffix(".arrived").open("a") as file:
                    file.write(".")
            await anyio.sleep(self.latency())
            await self._released()
            return self._submitted(asked)
        if found := re.fullmatch(r"/v1/images/tasks/([\w-]+)", path):
            return self._polled(found[1])
        return self._file(path)

    async def _released(self) -> None:
        self._through += 1
        if self.held_after is None or self._through <= self.held_after:
            return
        assert self.book_file is not None
        while not self.book_file.with_suffix(".released").exists():  # noqa: ASYNC110 - a test's
            await anyio.sleep(0.01)

    def _submitted(self, asked: dict[str, Any]) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        mishap = None
        if asked["model"].startswith(self.mishaps_of):
            mishap = next(self.mishaps, None)  # type: ignore[call-overload]  # an iterator by now
        n = asked.get("n", 1)
        is_task = asked["model"].startswith("kling")
        if mishap is None or mishap.charged:
            task = f"image-{len(self._tasks)}" if is_task else None
            if task:
                self._tasks[task] = (anyio.current_time() + self.task_seconds, n)
            tokens_in, tokens_out = (0, 0) if is_task else (300, self.tokens_per_image * n)
            digest = _digest(asked)
            self._charge(Charge(asked["model"], n, tokens_in, tokens_out, task, digest))
        if mishap is not None:
            return mishap.status, mishap.headers, mishap.body
        if is_task:
            return _json({"task_id": task})
        pictures = [png(f"{len(self.book)}-{index}") for index in range(n + self.extra_pictures)]
        return _json(
            {
                "created": 1,
                "data": [{"b64_json": base64.b64encode(one).decode()} for one in pictures],
                "output_format": "png",
                "usage": {
                    "total_tokens": 300 + self.tokens_per_image * n,
                    "input_tokens": 300,
                    "output_tokens": self.tokens_per_image * n,
                    "input_tokens_details": {"text_tokens": 42, "image_tokens": 258},
                },
            }
        )

    def _charge(self, charge: Charge) -> None:
        """Write it down, durably where there is a file, before anything is answered."""
        self.book.append(charge)
        if self.book_file is not None:
            write_down(self.book_file, charge)

    def _polled(self, task: str) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        if mishap := next(self.poll_mishaps, None):  # type: ignore[call-overload]
            return mishap.status, mishap.headers, mishap.body
        if task not in self._tasks:
            return _json({"error": {"message": "no such task"}}, 404)
        ready, n = self._tasks[task]
        if anyio.current_time() < ready:
            return _json({"task_id": task, "status": "processing"})
        url = f"{self.origin}/files/{task}"
        return _json(
            {
                "task_id": task,
                "status": "succeed",
                "data": [
                    {"index": index, "url": f"{url}/{index}.png{self.signature}"}
                    for index in range(n)
                ],
                "quantity": n,
            }
        )

    def _file(self, path: str) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        if mishap := next(self.file_mishaps, None):  # type: ignore[call-overload]
            return mishap.status, mishap.headers, mishap.body
        return 200, (("content-type", "image/png"),), png(path)


def asked_in(content_type: str, body: bytes) -> dict[str, Any]:
    """A JSON body's document; a form's texts, and the digests of its files, by their fields."""
    if not content_type.startswith("multipart/form-data"):
        return json.loads(body) if body else {}
    asked: dict[str, Any] = {}
    form: Any = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    for part in form.get_payload():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        if part.get_filename():
            asked.setdefault(name, []).append(hashlib.sha256(data).hexdigest())
        else:
            asked[name] = int(data) if data.isdigit() else data.decode()
    return asked


def _digest(asked: dict[str, Any]) -> str:
    """The same for the same work asked for."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _json(
    document: dict[str, Any], status: int = 200
) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    return status, (("content-type", "application/json"),), json.dumps(document).encode()


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where the client went before all of it was here."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
