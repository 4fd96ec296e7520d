"""A provider on real sockets that breaks off at a chosen instant, with a durable book of its own.

It serves one Job at a time: a submit, polls if it answers with a task, downloads if it answers
with links. A charge is in the book's file before a byte of an answer is sent, and only if the
whole request was heard. Every reply ends its connection, so that each request makes its own.
What a run asks before it begins, whether this is a rehearsal, is no part of any Job.
"""

from __future__ import annotations

import json
import ssl
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.proofs.faults.instants import Instant
from tests.support.provider import PICTURE_CHARGE, picture_reply, png, write_down
from tests.support.raw_server import Heard, Peer

Stage = Literal["submit", "poll", "download"]
Answers = Literal["picture", "link", "task"]
PART_OF_A_BODY = 40
PART_OF_A_HEAD = 20


@dataclass(slots=True)
class BreakingProvider:
    """Breaks off `strikes` times at `instant` of the requests of `stage`, else serves.

    `answers`: what a submit is answered with: the picture itself, a link to it, or a task.
    """

    stage: Stage
    instant: Instant
    book: Path
    answers: Answers = "picture"
    strikes: float = 1
    tls: ssl.SSLContext | None = None
    origin: str = ""
    expected: Stage = "submit"
    heard: Counter[str] = field(default_factory=Counter)
    authorized: Counter[str] = field(default_factory=Counter)

    @property
    def charges(self) -> int:
        """How many pictures the book says were bought."""
        return len(self.book.read_text().splitlines()) if self.book.exists() else 0

    def takes_strike(self, *places: str) -> bool:
        """Whether it breaks off here and now; one strike is then used up."""
        if self.strikes <= 0 or self.expected != self.stage or self.instant.place not in places:
            return False
        self.strikes -= 1
        return True

    def script(self, peer: Peer) -> None:
        """One connection, which is one request."""
        if self.takes_strike("accepted"):
            return self._end(peer)
        if self.tls is not None:
            if self.takes_strike("handshake"):
                peer.connection.recv(PART_OF_A_HEAD)
                return peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with self.tls.wrap_socket(peer.connection, server_side=True) as peer.connection:
                return self._serve(peer)
        return self._serve(peer)

    def _serve(self, peer: Peer) -> None:
        if self.expected != "submit" and self.takes_strike("head", "body"):
            peer.connection.recv(PART_OF_A_HEAD)  # a GET has no body to break off in
            return self._end(peer)
        heard = peer.read_head()
        if heard.head.startswith("GET /v1/models "):  # whether this is a rehearsal: it is none
            return peer.answer(status="404 Not Found", headers="Connection: close\r\n")
        return self._answer(peer, heard, _stage_of(heard))

    def _answer(self, peer: Peer, heard: Heard, stage: Stage) -> None:
        self.heard[f"{stage} begun"] += 1
        if stage == "submit" and self.takes_strike("head"):
            return self._end(peer)
        if stage == "submit" and self.takes_strike("body"):
            peer.read_body(heard, PART_OF_A_BODY)
            return self._end(peer)
        peer.read_body(heard)
        self.heard[stage] += 1
        self.authorized[stage] += heard.header("authorization") is not None
        strikes = stage == self.stage and self.takes_strike("answer")
        redirects = strikes and self.instant.redirects
        if stage == "submit" and not redirects:
            write_down(self.book, PICTURE_CHARGE)
        reply = self._reply(stage)
        if strikes and self.instant.answer is not None:
            return self.instant.answer(peer, reply)
        self.expected = _after(stage, self.answers)
        return peer.send(reply)

    def _reply(self, stage: Stage) -> bytes:
        if stage == "download":
            return _whole(png("result"), "image/png")
        if stage == "submit" and self.answers == "picture":
            return _whole(picture_reply("result"), "application/json")
        link = {"url": f"{self.origin}/files/0.png?e=9&token=SIGNED"}
        document: dict[str, object]
        if stage == "poll":
            document = {"task_id": "t-1", "status": "succeed", "data": [link], "quantity": 1}
        elif self.answers == "task":
            document = {"task_id": "t-1"}
        else:
            usage = {"input_tokens": 300, "output_tokens": 1290, "total_tokens": 1590}
            document = {"data": [link], "usage": usage}
        return _whole(json.dumps(document).encode(), "application/json")

    def _end(self, peer: Peer) -> None:
        if self.instant.abortive:
            peer.reset()


def _after(stage: Stage, answers: str) -> Stage:
    """What the next request of the same Job will be."""
    if stage == "submit" and answers == "task":
        return "poll"
    return "submit" if stage == "submit" and answers == "picture" else "download"


def _stage_of(heard: Heard) -> Stage:
    if heard.head.startswith("POST"):
        return "submit"
    return "poll" if "/images/tasks/" in heard.head.split("\r\n")[0] else "download"


def _whole(body: bytes, media_type: str) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
