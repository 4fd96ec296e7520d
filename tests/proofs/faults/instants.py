"""The instants at which a conversation breaks off, as a table.

Where an instant lies decides what may be known: before the server has the whole request nothing
can have been charged; from its last byte on the work may be done and billed, whatever comes back.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.support.raw_server import Peer

Place = Literal["resolving", "connecting", "accepted", "handshake", "head", "body", "answer"]


@dataclass(frozen=True, slots=True)
class Instant:
    """One way to break off. `answer` gets the peer and the regular reply, once the whole request
    was heard. `kind` is the error's kind in the ledger where it strikes a submit. `seconds`: the
    client's own limit ends it, set to this. `partial`: some of a 2xx came, for quarantine.
    `is_answered`: its JSON came whole, so that the answer counts."""

    name: str
    place: Place
    kind: str = "network"
    answer: Callable[[Peer, bytes], None] | None = None
    abortive: bool = False
    seconds: float | None = None
    partial: bool = False
    redirects: bool = False
    is_answered: bool = False

    @property
    def is_before_the_server(self) -> bool:
        """Nothing of the request can have reached a server."""
        return self.place in ("resolving", "connecting", "handshake")

    @property
    def has_whole_request(self) -> bool:
        return self.place == "answer"


def _silence(peer: Peer, reply: bytes) -> None:
    peer.wait_for_the_end()


def _nothing(peer: Peer, reply: bytes) -> None:
    """Close in order."""


def _reset(peer: Peer, reply: bytes) -> None:
    peer.reset()


def _in_the_status_line(peer: Peer, reply: bytes) -> None:
    peer.send(reply[:11])


def _in_the_headers(peer: Peer, reply: bytes) -> None:
    peer.send(reply[: reply.index(b"\r\n") + 10])


def _in_the_body(peer: Peer, reply: bytes) -> None:
    peer.send(reply[:-8])


def _of_length(announced: Callable[[int], int]) -> Callable[[Peer, bytes], None]:
    def act(peer: Peer, reply: bytes) -> None:
        _, _, body = reply.partition(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % announced(len(body)) + body)

    return act


def _page(peer: Peer, reply: bytes) -> None:
    peer.answer(b"<html><title>Sign in</title></html>", headers="Content-Type: text/html\r\n")


def _no_content(peer: Peer, reply: bytes) -> None:
    peer.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def _empty(peer: Peer, reply: bytes) -> None:
    peer.answer(b"")


def _encoded(peer: Peer, reply: bytes) -> None:
    _, _, body = reply.partition(b"\r\n\r\n")
    peer.answer(gzip.compress(body), headers="Content-Encoding: br\r\n")


def _drip(peer: Peer, reply: bytes) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:  # until the client has had enough: sending then fails
        peer.send(b"x")
        threading.Event().wait(0.02)


def redirect_to(url: str) -> Callable[[Peer, bytes], None]:
    """An answer that hands the request on to `url`."""

    def act(peer: Peer, reply: bytes) -> None:
        peer.answer(b"", status="307 There", headers=f"Location: {url}\r\n")

    return act


INSTANTS: tuple[Instant, ...] = (
    Instant("no such name", "resolving"),
    Instant("refused", "connecting"),
    Instant("accepted and closed", "accepted"),
    Instant("accepted and reset", "accepted", abortive=True),
    Instant("TLS failure", "handshake"),
    Instant("reset before the body", "head", abortive=True),
    Instant("reset in the body", "body", abortive=True),
    Instant("closed in the body", "body"),
    Instant("closed after the last byte", "answer", answer=_nothing),
    Instant("reset after the last byte", "answer", answer=_reset),
    Instant("cut in the status line", "answer", answer=_in_the_status_line),
    Instant("cut in the headers", "answer", answer=_in_the_headers),
    Instant("cut in the reply", "answer", "broken_reply", _in_the_body, partial=True),
    Instant(
        "Content-Length too great", "answer", "broken_reply", _of_length(lambda n: n + 99),
        partial=True, is_answered=True,
    ),
    Instant(
        "Content-Length too small", "answer", "broken_reply", _of_length(lambda n: n // 2),
        partial=True,
    ),
    Instant("a page instead", "answer", "broken_reply", _page, partial=True),
    Instant("204", "answer", "broken_reply", _no_content),
    Instant("empty", "answer", "broken_reply", _empty),
    Instant("encoded unasked", "answer", "broken_reply", _encoded, partial=True),
    Instant("silence", "answer", "timeout", _silence, seconds=0.6),
    Instant("slow drip", "answer", "timeout", _drip, seconds=0.6, partial=True),
    Instant("redirect", "answer", "bad_request", redirects=True),
)  # fmt: skip
