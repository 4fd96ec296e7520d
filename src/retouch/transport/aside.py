"""A reply's long base64 strings, decoded as they come and held aside of the document around them.

A picture of megabytes then never stands in memory as text, as a whole body and as a JSON string
one after the other. In the document its beginning is left, so that messages that quote it read as
ever, and a mark stands for the rest: nothing a server sends can be taken for one, for it holds
random digits of this process.

Only what the strict reader would take is held: standard base64 after a quotation mark (and a data
URI's prefix) up to the next one. Whatever turns out to be anything else is put back, byte by byte
as it was.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Iterator

import pybase64

from retouch.dialects.base import Aside
from retouch.storage.gathered import Gathered, Room

HEAD_BYTES = 16_384  # base64 that is left in the document: more than any message quotes
LONG_BYTES = 32_768  # a string that has no end within so many bytes is a long one
_PREFIX_BYTES = 256  # a data URI's part before its comma
_NONCE = secrets.token_hex(16)
_MARK = re.compile(rf"~{_NONCE}\.(\d+)~")


class LongString:
    """One string of base64: what it encodes, and how to write it as it was."""

    def __init__(self, number: int, head: bytes, room: Room | None) -> None:
        self.mark = f"~{_NONCE}.{number}~".encode()
        self.decoded = Gathered(room=room)
        self.decoded.add(pybase64.b64decode(head, validate=True))
        self._head = head
        self._carry = b""  # of the next four characters, those that are here
        self._tail = b""  # the last ones as they were: padding can be written in several ways
        self._tail_decodes_to = 0

    def take(self, run: memoryview) -> bool:
        """More of it; False where that is not base64, and nothing of it was taken."""
        quads, carry = self._in_quads(run)
        if self._tail and (quads or carry):
            return False
        try:
            pieces = [pybase64.b64decode(quad, validate=True) for quad in quads]
        except (binascii.Error, ValueError):
            return False
        padded = [len(piece) % 3 for piece in pieces]
        if any(padded):
            if any(padded[:-1]) or carry:
                return False
            self._tail, self._tail_decodes_to = bytes(quads[-1][-4:]), padded[-1]
        self._carry = carry
        for piece in pieces:
            self.decoded.add(piece)
        return True

    def _in_quads(self, run: memoryview) -> tuple[list[bytes | memoryview], bytes]:
        """What can be decoded now, and what must wait for more."""
        quads: list[bytes | memoryview] = []
        if self._carry:
            missing = 4 - len(self._carry)
            first, run = self._carry + bytes(run[:missing]), run[missing:]
            if len(first) < 4:
                return [], first
            quads.append(first)
        whole = len(run) // 4 * 4
        if whole:
            quads.append(run[:whole])
        return quads, bytes(run[whole:])

    def close(self) -> bool:
        """Its end has come; False where no end of base64 is like that."""
        if not self._carry:
            return True
        bare = self._carry.rstrip(b"=")
        if self._tail or len(bare) < 2:
            return False
        try:
            piece = pybase64.b64decode(bare + b"=" * (4 - len(bare)), validate=True)
        except (binascii.Error, ValueError):
            return False
        self._tail, self._tail_decodes_to, self._carry = self._carry, len(piece), b""
        self.decoded.add(piece)
        return True

    def rest(self) -> bytes:
        """All but its beginning, as it came so far."""
        return b"".join(self._written()) + self._tail + self._carry

    def _written(self) -> Iterator[bytes]:
        """What comes between the beginning and the tail."""
        data = memoryview(self.decoded.data())
        end = len(data) - self._tail_decodes_to
        yield pybase64.b64encode(data[len(self._head) // 4 * 3 : end])

    def is_all_of(self, text: str) -> bool:
        """Whether `text`, of the document, is this string and nothing else."""
        return text.encode("utf-8", "replace") == self._head + self.mark


class Sieve:
    """Takes a reply's body piece by piece: `document` is what is left of it, `aside` what is not.

    It knows no JSON: that a string is one is told by the quotation marks around it alone. So a
    body that is none, or breaks off, comes out as it was.
    """

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self._kept: list[bytes] = []
        self._pending = b""  # since the last quotation mark, too little to judge by
        self._is_fresh = False  # whether what is pending stands right after that mark
        self._open: LongString | None = None
        self._held: list[LongString] = []
        self._begun = 0

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        while piece:
            piece = self._look(piece) if self._open is None else self._go_on(self._open, piece)

    def finish(self) -> None:
        """The body has come to its end, or broken off: nothing is pending any more."""
        self._open = None  # of one that broke off, what came is kept as it is
        self._kept.append(self._pending)
        self._pending = b""

    def document(self) -> bytes:
        """What has come but for what is held aside, once it was finished."""
        self._kept = [b"".join(self._kept)]
        return self._kept[0]

    @property
    def aside(self) -> tuple[LongString, ...]:
        return tuple(self._held)

    def _look(self, piece: bytes) -> bytes:
        """Look for the next long string; returns what follows its first bytes, b"" if none is
        there."""
        data, fresh, at = self._pending + piece, self._is_fresh, 0
        while len(data) - at >= LONG_BYTES + _PREFIX_BYTES:
            quote = data.rfind(b'"', at, at + LONG_BYTES)
            if quote >= 0:
                at, fresh = quote + 1, True
                continue
            begun = _base64_begun(data, at) if fresh else None
            if begun is not None:
                return self._begin(data, begun)
            at, fresh = at + LONG_BYTES, False
        self._kept.append(data[:at])
        self._pending, self._is_fresh = data[at:], fresh
        return b""

    def _begin(self, data: bytes, at: int) -> bytes:
        end = at + HEAD_BYTES
        self._open = LongString(self._begun, data[at:end], self._room)
        self._begun += 1
        self._held.append(self._open)
        self._kept += (data[:end], self._open.mark)
        self._pending, self._is_fresh = b"", False
        return data[end:]

    def _go_on(self, string: LongString, piece: bytes) -> bytes:
        """More of an open string; returns what comes after its end."""
        quote = piece.find(b'"')
        run = memoryview(piece)[: quote if quote >= 0 else len(piece)]
        if not string.take(run):
            self._put_back(string)
            self._kept.append(bytes(run))
            return piece[len(run) :]
        if quote < 0:
            return b""
        return self._close(string, piece[quote:])

    def _close(self, string: LongString, rest: bytes) -> bytes:
        if string.close():
            self._open = None
        else:
            self._put_back(string)
        return rest

    def _put_back(self, string: LongString) -> None:
        """It is no base64 after all: the document has it again."""
        self._open = None
        self._held.remove(string)
        self._kept[self._kept.index(string.mark)] = string.rest()
        string.decoded.discard()


def _base64_begun(data: bytes, at: int) -> int | None:
    """Where base64 begins that stands at `at`, perhaps after a data URI's prefix; None if what
    stands there is something else."""
    if data[at : at + 5].lower() == b"data:":
        at = max(at, data.find(b",", at, at + _PREFIX_BYTES) + 1)
    try:
        head = pybase64.b64decode(data[at : at + HEAD_BYTES], validate=True)
    except (binascii.Error, ValueError):
        return None
    return at if len(head) * 4 == HEAD_BYTES * 3 else None


def held(text: str, aside: tuple[Aside, ...]) -> LongString | None:
    """The string that `text`, of the document, stands for; None if it is not held aside."""
    if not _MARK.search(text, HEAD_BYTES):
        return None
    strings = (each for each in aside if isinstance(each, LongString))
    return next((each for each in strings if each.is_all_of(text)), None)


def restored(text: str, aside: tuple[Aside, ...]) -> str:
    """A text of the document as the server wrote it."""
    rests = {each.mark.decode(): each for each in aside}
    return _MARK.sub(lambda mark: rests[mark[0]].rest().decode(), text) if rests else text


def whole(body: bytes, aside: tuple[Aside, ...]) -> bytes:
    """A body as the server sent it."""
    for each in aside:
        body = body.replace(each.mark, each.rest())
    return body
