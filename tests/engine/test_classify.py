"""The one table of what an exchange means: row by row, and over all its facts at once."""

from __future__ import annotations

import itertools

import pytest

from retouch.dialects.base import Accepted, Exchange, Produced, Rejected, Reply, Unreadable, Usage
from retouch.engine.classify import NotCharged, Refusal, Uncertain, Verdict, classify, interrupted

PRODUCED = Produced((), Usage())
ACCEPTED = Accepted("t-1")
RETRY = Rejected("rate", 429, None, "slow down", retry_safe=True)
REFUSED = Rejected("content", 400, "moderation", "no", billed="no")
UNREADABLE = Unreadable("not JSON")
Reading = Produced | Accepted | Rejected | Unreadable


def exchange(
    status: int | None = 200, *, sent: int = 10, connected: bool = True, body: bytes = b"body"
) -> Exchange:
    """An exchange of 10 body bytes; without status, no reply came."""
    reply = None if status is None else Reply(status, {"retry-after": "7"}, body)
    return Exchange(reply, 10, sent, connected, error_kind="timeout", error="broken off")


def verdict(given: Exchange, reading: Reading = UNREADABLE) -> Verdict:
    return classify(given, lambda _: reading)


@pytest.mark.parametrize(
    ("given", "reading", "kind"),
    [
        (exchange(), PRODUCED, Produced),
        (exchange(), ACCEPTED, Accepted),
        (exchange(429), RETRY, NotCharged),
        (exchange(400), REFUSED, Refusal),
        (exchange(400, sent=3), REFUSED, Refusal),
        (exchange(200, sent=9), UNREADABLE, NotCharged),
        (exchange(200), UNREADABLE, Uncertain),
        (exchange(504), UNREADABLE, Uncertain),
        (exchange(None, sent=9), UNREADABLE, NotCharged),
        (exchange(None, sent=0), UNREADABLE, NotCharged),
        (exchange(None, sent=10), UNREADABLE, Uncertain),
        (exchange(None, sent=0, connected=False), UNREADABLE, NotCharged),
        (exchange(None, sent=10, connected=False), UNREADABLE, NotCharged),
    ],
)
def test_each_row_of_the_table(given: Exchange, reading: Reading, kind: type) -> None:
    """DESIGN §3, "How an attempt is classified"."""
    assert isinstance(verdict(given, reading), kind)


def test_another_attempt_is_never_called_safe_where_it_may_have_been_charged() -> None:
    """Over every combination: all bytes sent and no word from the server is never `unsent`."""
    statuses = (None, 200, 204, 301, 404, 500, 502, 504)
    for status, sent, connected in itertools.product(statuses, (0, 9, 10), (True, False)):
        given = exchange(status, sent=sent, connected=connected)
        found = verdict(given)
        assert isinstance(found, Uncertain) == given.sent_whole


def test_what_came_of_a_paid_reply_is_kept_and_nothing_else() -> None:
    """Quarantine is for 2xx bodies; an error page holds no picture."""
    assert verdict(exchange(200, body=b"<html>")) == Uncertain(
        verdict(exchange(200, body=b"<html>")).error,  # type: ignore[union-attr]
        b"<html>",
    )
    gone = verdict(exchange(504, body=b"<html>"))
    assert isinstance(gone, Uncertain)
    assert gone.body == b""
    cut = Exchange(None, 10, 10, True, status=200, partial=b'{"da', error="cut")
    found = verdict(cut)
    assert isinstance(found, Uncertain)
    assert (found.body, found.error.status, found.error.message) == (b'{"da', 200, "cut")


@pytest.mark.parametrize(
    ("rejected", "overrun", "network"),
    [
        (Rejected("rate", 429, None, "", retry_safe=True), True, False),
        (Rejected("concurrency", 429, "1303", "", retry_safe=True), True, False),
        (Rejected("transient", 503, None, "", retry_safe=True), True, False),
        (Rejected("transient", 500, None, "", retry_safe=True), False, False),
        (Rejected("network", None, None, "", retry_safe=True), False, True),
    ],
)
def test_what_to_do_before_another_attempt(
    rejected: Rejected, overrun: bool, network: bool
) -> None:
    """Slow down where there is too much to do; elsewhere where nobody answers; wait as asked."""
    found = verdict(exchange(rejected.status or 500), rejected)
    assert isinstance(found, NotCharged)
    assert (found.is_overrun, found.is_network) == (overrun, network)
    assert found.headers == {"retry-after": "7"}


def test_a_request_this_process_broke_off_is_told_by_its_bytes() -> None:
    """Ctrl-C twice: unknown only where the server may have the whole request."""
    assert isinstance(interrupted(sent_whole=True), Uncertain)
    assert isinstance(interrupted(sent_whole=False), NotCharged)
