"""Request bodies: pictures spliced in as base64 in pieces, each counted as it is handed over.

The length is known beforehand, so nothing is ever held encoded as a whole and no JSON serialiser
sees a picture. A piece counts as sent from the moment the connection asks for it: a body that
broke off early is then surely not whole, and one that may be whole is never called unsent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import httpx
import pybase64

from retouch.dialects.base import Base64, Exchange, Request, Segment
from retouch.job import Picture
from retouch.storage.gathered import Room

Pictures = Mapping[Picture, bytes] | Callable[[Picture], bytes]
BreakKind = Literal["network", "timeout", "broken_reply"]
PIECE_BYTES = 3 * 64 * 1024  # encodes to 256 KiB; a multiple of 3: only a picture's end is padded
SMALL_BYTES = 65_536  # segments that are no more together are one piece: a write each costs more


@dataclass(slots=True)
class Sending:
    """How far one request got; stays readable after the exchange was cancelled. `on_wire` is told
    when the connection first asks for its body."""

    body_bytes: int = 0
    sent_bytes: int = 0
    connected: bool = False
    status: int | None = None
    on_wire: Callable[[], None] | None = None

    def broken_off(self, kind: BreakKind | None, error: str, partial: bytes = b"") -> Exchange:
        """The Exchange of a request that ended here, without a whole reply."""
        return Exchange(
            reply=None,
            body_bytes=self.body_bytes,
            sent_bytes=self.sent_bytes,
            connected=self.connected,
            status=self.status,
            partial=partial,
            error_kind=kind,
            error=error,
        )


class Body(httpx.AsyncByteStream):
    """A request's body as the connection reads it; `sending` counts along."""

    def __init__(
        self, request: Request, pictures: Pictures, sending: Sending, room: Room | None = None
    ) -> None:
        self._segments = tuple(_loaded(segment, pictures) for segment in request.body)
        self._room = room
        if room is not None and isinstance(pictures, dict):
            pictures.clear()  # they are the body's now, until they are sent
        self.sending = sending
        sending.body_bytes = sum(map(_length, self._segments))
        # Without a body there is nothing to count: a POST may have been heard at any moment.
        sending.connected = request.method == "POST" and not sending.body_bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        segments = self._segments
        if self._room is not None:  # a POST is sent once
            self._segments = ()
        return _Counted(segments, self.sending, self._room)

    async def aclose(self) -> None:
        self._segments = ()


_Loaded = tuple[bytes, bool]  # the bytes, and whether they are to be encoded


class _Counted:
    """An iterator and no generator: one left half-read needs no closing."""

    def __init__(self, segments: tuple[_Loaded, ...], sending: Sending, room: Room | None) -> None:
        self._pieces = _pieces(segments)
        self._sending = sending
        self._room = room

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> bytes:
        self._sending.connected = True
        if self._sending.on_wire is not None:
            self._sending.on_wire()
            self._sending.on_wire = None
        piece = next(self._pieces, None)
        if piece is None:
            if self._room is not None:
                self._room.sent()
            raise StopAsyncIteration
        self._sending.sent_bytes += len(piece)
        return piece


def _loaded(segment: Segment, pictures: Pictures) -> _Loaded:
    if isinstance(segment, bytes):
        return segment, False
    picture = segment.picture
    data = pictures(picture) if callable(pictures) else pictures[picture]
    return data, isinstance(segment, Base64)


def _length(loaded: _Loaded) -> int:
    data, encode = loaded
    return (len(data) + 2) // 3 * 4 if encode else len(data)


def _pieces(segments: tuple[_Loaded, ...]) -> Iterator[bytes]:
    """What is handed over at once: small segments together, but never the last with others. What
    broke off before that was asked for is surely not whole."""
    filled = [each for each in segments if each[0]]
    held: list[bytes] = []
    for place, segment in enumerate(filled, 1):
        for piece in _cut(*segment):
            if held and (place == len(filled) or sum(map(len, held)) + len(piece) > SMALL_BYTES):
                yield b"".join(held)
                held.clear()
            held.append(piece)
    if held:
        yield b"".join(held)


def _cut(data: bytes, encode: bool) -> Iterator[bytes]:
    if len(data) <= PIECE_BYTES:
        yield pybase64.b64encode(data) if encode else data
        return
    view = memoryview(data)
    for start in range(0, len(data), PIECE_BYTES):
        piece = view[start : start + PIECE_BYTES]
        yield pybase64.b64encode(piece) if encode else bytes(piece)
