"""The service's own record of what it charged, kept apart from every client.

It is what a client's ledger is checked against, so a charge is durable before its reply is
sent. A JSON object a line; a book that is opened again goes on where it ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from .refusal import JsonObject, JsonValue

REQUESTS_KEPT = 100_000
_LINE_START = b'{"at": '


def digest_of_key(key: str) -> str:
    """The first 16 hex digits of a key's SHA-256: tells keys apart without keeping them."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Charge:
    """One request that was charged. `at` is Unix time in seconds; `key` and `request` digests."""

    at: float
    key: str
    endpoint: str
    model: str
    images: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    task_id: str | None
    request: str
    svg_input_tokens: int = 0
    svg_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One request the service answered, charged or not."""

    at: float
    method: str
    path: str
    status: int
    authorized: bool


class Book:
    """Charges, and the last 100,000 requests; safe to use from several threads.

    With a `path`, each charge is on disk before `record` returns.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.charges: list[Charge] = []
        self.requests: deque[Seen] = deque(maxlen=REQUESTS_KEPT)
        self._lock = Lock()
        self._descriptor: int | None = None
        if path is not None:
            self._open(Path(path))

    def _open(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(os.dup(descriptor), "rb") as lines:
                *whole, torn = lines.read().split(b"\n")
            self.charges.extend(Charge(**json.loads(line)) for line in whole)
            if torn and not torn.startswith(_LINE_START[: len(torn)]):
                raise ValueError("its last line is no charge")  # noqa: TRY301  told as the others
            # A torn last line was never answered: the charge did not happen.
            os.ftruncate(descriptor, sum(len(line) + 1 for line in whole))
        except (ValueError, TypeError) as error:
            os.close(descriptor)
            raise ValueError(f"{path}: not a book of charges: {error}") from error
        self._descriptor = descriptor

    def record(self, charge: Charge) -> None:
        """Add a charge; durable on return if the book has a file."""
        with self._lock:
            if self._descriptor is not None:
                _append(self._descriptor, json.dumps(asdict(charge), ensure_ascii=False))
            self.charges.append(charge)

    def saw(self, request: Seen) -> None:
        """Note that a request was answered."""
        self.requests.append(request)

    def document(self) -> JsonObject:
        """The whole book: what `GET /_book` returns."""
        charges = list(self.charges)
        listed: list[JsonValue] = [asdict(charge) for charge in charges]
        seen: list[JsonValue] = [asdict(request) for request in list(self.requests)]
        totals: JsonObject = {
            "charges": len(charges),
            "images": sum(charge.images for charge in charges),
            "input_tokens": sum(charge.input_tokens for charge in charges),
            "output_tokens": sum(charge.output_tokens for charge in charges),
            "total_tokens": sum(charge.total_tokens for charge in charges),
            "tasks": sum(charge.task_id is not None for charge in charges),
        }
        return {"totals": totals, "charges": listed, "requests": seen}

    def close(self) -> None:
        """Let go of the file; charges stay readable."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _append(descriptor: int, text: str) -> None:
    """Write a whole line and sync it; on failure leave the file as it was."""
    line = text.encode() + b"\n"
    size = os.fstat(descriptor).st_size
    try:
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
