"""One exchange with the server as it was observed, and what it means for the Job's Charge.

Nothing here trusts exception types: an exchange says how many body bytes were handed over and
what came back whole. `classify` is the one table (DESIGN §3):

  what is known                                         verdict    because
  ----------------------------------------------------  ---------  --------------------------------
  a whole reply the dialect understood: a result/task   itself     the server has said so
  a whole reply: refused, surely unbilled (429, 5xx)    unsent     another attempt is safe
  a whole reply: refused otherwise                      refused    another attempt would fail again
  a whole reply nobody can read, body not sent whole    unsent     the server never had the request
  a whole reply nobody can read, body sent whole        unknown    it may have bought a picture
  the same, its status named in unbilled_statuses       unsent     the user knows his provider
  no whole reply, body not sent whole                   unsent     the server never had the request
  no whole reply, body sent whole                       unknown    it may have bought a picture

Polls and downloads are free: they are repeated until their deadline and need no such table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from retouch.dialects.base import (
    Accepted,
    ErrorKind,
    Exchange,
    Produced,
    Rejected,
    Reply,
    Unreadable,
)
from retouch.ledger.records import ErrorRecord


@dataclass(frozen=True, slots=True)
class NotCharged:
    """Another attempt is safe. `headers` may hold Retry-After, `wait_seconds` is what the body
    asks for; `is_overrun`: slow down; `is_distrusted`: the server's certificate was refused."""

    error: ErrorRecord
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float | None = None
    is_distrusted: bool = False

    @property
    def is_limit(self) -> bool:
        """A limit is kept: the server is there, and will serve when it may."""
        return self.error.kind in ("rate", "concurrency")

    @property
    def is_overrun(self) -> bool:
        """The server has too much to do: 429, concurrency used up, 503."""
        return self.is_limit or self.error.status in (503, 529)

    @property
    def is_network(self) -> bool:
        """The server was not reached: another endpoint may be."""
        return self.error.kind in ("network", "timeout")


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may have been charged; `body` is what came of a 2xx, to be kept in quarantine."""

    error: ErrorRecord
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server said no, and another attempt would fail again. `headers` may hold Retry-After:
    when a day's allowance comes back."""

    rejected: Rejected
    error: ErrorRecord
    headers: Mapping[str, str] = field(default_factory=dict)


Verdict = Produced | Accepted | NotCharged | Uncertain | Refusal


def classify(
    exchange: Exchange,
    read: Callable[[Reply], Produced | Accepted | Rejected | Unreadable],
    unbilled_statuses: frozenset[int] = frozenset(),
) -> Verdict:
    """The verdict on one submitting exchange; `read` is the dialect's `read_submit`, and
    `unbilled_statuses` what the user says of his provider."""
    if exchange.reply is None:
        error = ErrorRecord(
            kind=exchange.error_kind or "network", status=exchange.status, message=exchange.error
        )
        if exchange.sent_whole:
            return Uncertain(error, exchange.partial)
        return NotCharged(error, is_distrusted=exchange.is_distrusted)
    reading = read(exchange.reply)
    match reading:
        case Rejected():
            error = error_of(reading)
            if reading.retry_safe:
                return NotCharged(error, exchange.reply.headers, reading.wait_seconds)
            return Refusal(reading, error, exchange.reply.headers)
        case Unreadable():
            status = exchange.reply.status
            if status in unbilled_statuses:
                said = f"{reading.message}; unbilled by provider.unbilled_statuses"
                error = ErrorRecord(kind="transient", status=status, message=said)
                return NotCharged(error, exchange.reply.headers)
            error = ErrorRecord(kind="broken_reply", status=status, message=reading.message)
            if not exchange.sent_whole:
                return NotCharged(error, exchange.reply.headers)
            return Uncertain(error, exchange.reply.body if 200 <= status < 300 else b"")
        case _:
            return reading


def error_of(rejected: Rejected) -> ErrorRecord:
    """What the server refused, as the ledger writes it."""
    return ErrorRecord(
        kind=rejected.kind, status=rejected.status, code=rejected.code, message=rejected.message
    )


def interrupted(sent_whole: bool) -> NotCharged | Uncertain:
    """The verdict on an exchange that this process broke off itself."""
    kind: ErrorKind = "network"
    message = "the run was stopped while this request was in flight"
    error = ErrorRecord(kind=kind, message=message)
    return Uncertain(error) if sent_whole else NotCharged(error)
