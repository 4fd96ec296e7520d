"""Reading what a server sends back: capped, and not slower than a minimum rate.

`Accept-Encoding: identity` is asked for. A reply that comes encoded all the same is paid for, so
gzip and deflate are decoded piece by piece under the byte cap (a bomb stays shut). What did arrive
is in the Inbox, for quarantine; a JSON object that is whole is a reply all the same.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import anyio
import httpx

from retouch.storage.gathered import Buffer, Gathered, Room
from retouch.transport.aside import LongString, Sieve
from retouch.transport.body import BreakKind

DECODED_BYTES = 1_048_576
_INFLATED = {"gzip", "x-gzip", "deflate"}
_UNREAD = {"br", "zstd", "compress", "x-compress", "dcb", "dcz"}


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How much of a reply is taken, and how slowly it may come.

    The rate counts from the first byte that is no white space: a gateway may send the head at once
    and keep the connection alive with blanks while the model works. From then on each window must
    bring its share.
    """

    cap_bytes: int = 256_000_000
    minimum_bytes_per_second: int = 1024
    window_seconds: float = 30.0


class Inbox:
    """What has come of a reply's body so far.

    With `room`, a document's long strings are held aside of it, and a picture (`is_document`
    False) goes to a file where memory has no room.
    """

    def __init__(self, room: Room | None = None, *, is_document: bool = True) -> None:
        self.size = 0  # bytes
        self.is_encoded = False  # then nothing is looked for in it yet
        self.gathered = Gathered(room=room)
        self._room = room
        self._sieve = Sieve(room) if room is not None and is_document else None

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        self.size += len(piece)
        if self._sieve is None or self.is_encoded:
            self.gathered.add(piece)
        else:
            self._sieve.take(piece)

    def become(self, pieces: Iterable[Buffer]) -> None:
        """The same body, decoded. Raises what `pieces` raises, and then stays as it was."""
        decoded = Inbox(self._room, is_document=self._sieve is not None)
        for piece in pieces:
            decoded.take(bytes(piece))
        self.gathered.discard()
        self.size, self.is_encoded = decoded.size, False
        self.gathered, self._sieve = decoded.gathered, decoded._sieve

    def document(self) -> bytes:
        """All of it that is not held aside, as one; nothing is taken after that."""
        if self._sieve is None or self.is_encoded:
            return bytes(self.gathered.data())
        self._sieve.finish()
        return self._sieve.document()

    @property
    def aside(self) -> tuple[LongString, ...]:
        """The long strings that the document leaves out."""
        return self._sieve.aside if self._sieve is not None and not self.is_encoded else ()


class ReplyRefused(Exception):
    """The reply is not taken: encoded, too large or too slow. `may_pass`: asked for again, it may
    come otherwise (somebody on the way encoded it, or was slow)."""

    def __init__(self, kind: BreakKind, message: str, *, may_pass: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.may_pass = may_pass


async def read_body(response: httpx.Response, inbox: Inbox, limits: ReplyLimits) -> None:
    """All of the reply's body into `inbox`; raises ReplyRefused, or what the network raises."""
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.cap_bytes:
        raise _too_large(limits)
    codings = [each.strip() for each in response.headers.get("content-encoding", "").split(",")]
    codings = [coding.lower() for coding in codings]
    inbox.is_encoded = not _INFLATED.isdisjoint(codings)
    await _read_at_a_rate(response, inbox, limits)
    for coding in reversed(codings):
        if coding in _UNREAD:
            raise ReplyRefused("broken_reply", f"the reply is encoded ({coding}), unasked")
        if coding in _INFLATED:  # whatever else stands there (UTF-8, binary, none) encodes nothing
            _decode(inbox, limits)


def is_whole_document(response: httpx.Response, inbox: Inbox) -> bool:
    """Whether what came of a reply that broke off is a JSON object to its last brace: all is there
    but the end of the transfer (the last chunk, a Content-Length that was too long)."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    if not 200 <= response.status_code < 300 or coding in _INFLATED | _UNREAD:
        return False
    body = inbox.document()
    if not body.lstrip().startswith(b"{") or not body.rstrip().endswith(b"}"):
        return False
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _decode(inbox: Inbox, limits: ReplyLimits) -> None:
    """The encoded body decoded in place; left as it is where it is not encoded after all."""
    raw = inbox.gathered.data()
    decoder = _decoder_of(raw[:1024])
    try:
        inbox.become(
            inbox.gathered.pieces() if decoder is None else _inflated(raw, decoder, limits)
        )
    except zlib.error as error:
        message = f"the reply is encoded, unasked, and cannot be decoded ({error})"
        raise ReplyRefused("broken_reply", message) from None


def _inflated(raw: Buffer, decoder: zlib._Decompress, limits: ReplyLimits) -> Iterator[bytes]:
    """What it decodes to, piece by piece. Raises ReplyRefused, zlib.error."""
    size = 0
    for start in range(0, len(raw), DECODED_BYTES):
        rest = raw[start : start + DECODED_BYTES]
        while rest and not decoder.eof:
            part = decoder.decompress(rest, DECODED_BYTES)
            size += len(part)
            if size > limits.cap_bytes:
                raise _too_large(limits)
            yield part
            rest = decoder.unconsumed_tail
    if not decoder.eof:
        raise ReplyRefused("broken_reply", "the reply is encoded, unasked, and was cut")


def _decoder_of(raw: bytes) -> zlib._Decompress | None:
    """What decodes these bytes: gzip, zlib, or the bare deflate that some servers mean by it."""
    if raw.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31)
    if len(raw) >= 2 and raw[0] & 0x0F == 8 and int.from_bytes(raw[:2], "big") % 31 == 0:
        return zlib.decompressobj(wbits=15)
    if not raw or raw.lstrip()[:1] in (b"{", b"[", b"<") or raw[:1] in (b"\x89", b"\xff", b"R"):
        return None  # a proxy decoded it and left the header
    return zlib.decompressobj(wbits=-15)


async def _read_at_a_rate(response: httpx.Response, inbox: Inbox, limits: ReplyLimits) -> None:
    """Breaking off is cancelling the next read: the connection's generators then end in order. No
    read is cancelled by a timer, for one that ends while this process stands still would take
    along what waits in the socket; for the same reason one silence counts half a window at most.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - for the type checker
    share = limits.minimum_bytes_per_second * limits.window_seconds
    in_window, waited_seconds = 0, 0.0
    asked = anyio.current_time()
    has_begun = False
    refused: ReplyRefused | None = None
    parts = aiter(stream)
    async for part in parts:
        inbox.take(part)
        now = anyio.current_time()
        waited_seconds += min(now - asked, limits.window_seconds / 2)
        asked = now
        in_window += len(part)
        is_first = not has_begun and bool(part.strip())
        if inbox.size > limits.cap_bytes:
            refused = _too_large(limits)
        elif is_first or not has_begun or in_window >= share:
            has_begun = has_begun or is_first
            in_window, waited_seconds = 0, 0.0
        elif waited_seconds >= limits.window_seconds:
            refused = _too_slow(limits, inbox)
        if refused is not None:
            break
    if refused is not None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in parts:
                """One more read, which is cancelled."""
        raise refused


def _too_slow(limits: ReplyLimits, inbox: Inbox) -> ReplyRefused:
    return ReplyRefused(
        "timeout",
        f"the reply came too slowly: under {limits.minimum_bytes_per_second:,} bytes a second"
        f" for {limits.window_seconds:g} s, {inbox.size:,} bytes in all",
    )


def _too_large(limits: ReplyLimits) -> ReplyRefused:
    message = f"the reply is over {limits.cap_bytes:,} bytes"
    return ReplyRefused("broken_reply", message, may_pass=False)
