"""The one table of what an exchange means: row by row, and over all its facts at once."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from retouch.dialects.base import Accepted, Exchange, Produced, Rejected, Reply, Unreadable, Usage
from retouch.engine.classify import NotCharged, Refusal, Uncertain, Verdict, classify, interrupted
from retouch.ledger.records import ErrorRecord

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


def test_what_came_of_an_exchange_is_told_in_full() -> None:
    """Kind, status, code and words for the ledger; what a wait is read from; the bytes of a 2xx."""
    headers = {"retry-after": "7"}
    limited = replace(RETRY, wait_seconds=3.0, code="c")
    assert verdict(exchange(429), limited) == NotCharged(
        ErrorRecord(kind="rate", status=429, code="c", message="slow down"), headers, 3.0
    )
    assert verdict(exchange(400), REFUSED) == Refusal(
        REFUSED, ErrorRecord(kind="content", status=400, code="moderation", message="no"), headers
    )
    unread = ErrorRecord(kind="broken_reply", status=200, message="not JSON")
    assert verdict(exchange()) == Uncertain(unread, b"body")
    assert verdict(exchange(sent=9)) == NotCharged(unread, headers)
    for status, body in ((299, b"body"), (300, b""), (199, b""), (500, b"")):
        assert verdict(exchange(status)) == Uncertain(replace_error(unread, status), body)
    lost = ErrorRecord(kind="timeout", message="broken off")
    assert verdict(exchange(None)) == Uncertain(lost, b"")
    assert verdict(exchange(None, sent=9)) == NotCharged(lost)
    distrusted = replace(exchange(None, sent=0), is_distrusted=True, error_kind=None, status=502)
    assert verdict(distrusted) == NotCharged(
        ErrorRecord(kind="network", status=502, message="broken off"), is_distrusted=True
    )
    seen: list[Reply] = []

    def read(reply: Reply) -> Unreadable:
        seen.append(reply)
        return UNREADABLE

    assert classify(exchange(), read, frozenset({200})) == (
        NotCharged(
            ErrorRecord(
                kind="transient", status=200,
                message="not JSON; unbilled by provider.unbilled_statuses",
            ),
            headers,
        )
    )  # fmt: skip
    assert seen == [exchange().reply]
    error = ErrorRecord(
        kind="network", message="the run was stopped while this request was in flight"
    )
    assert interrupted(True) == Uncertain(error)
    assert interrupted(False) == NotCharged(error)


def replace_error(error: ErrorRecord, status: int) -> ErrorRecord:
    return ErrorRecord(kind=error.kind, status=status, message=error.message)
