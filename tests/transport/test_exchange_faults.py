"""An exchange broken off at every instant, over real sockets: what the Exchange then says."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import anyio
import pytest

from retouch.dialects.base import Exchange, Request
from retouch.transport import Connection, ReplyLimits, Sending, Transport, open_transport
from tests.support.raw_server import Peer, Script, Server, serving

pytestmark = pytest.mark.anyio

SMALL = (b'{"prompt": "', b"a warmer sky", b'"}')
# Beyond what the kernels' buffers take in, so that a reader who stops stops the sender too.
LARGE = (b"<", bytes(16_000_000), b">")
LIMITS = ReplyLimits(cap_bytes=300_000, minimum_bytes_per_second=10_000, window_seconds=0.3)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def post(server: Server, body: tuple[bytes, ...] = SMALL) -> Request:
    headers = (("Content-Type", "application/json"),)
    return Request("POST", f"{server.url}/v1/images/edits", headers, body)


async def exchange(
    server: Server,
    body: tuple[bytes, ...] = SMALL,
    timeout_seconds: float = 5.0,
) -> Exchange:
    async with open_transport(
        Connection(base_url=server.url, key=None), concurrency=2, limits=LIMITS
    ) as transport:
        return await transport.exchange(post(server, body), {}, timeout_seconds=timeout_seconds)


def reset_on_accept(peer: Peer) -> None:
    peer.reset()


def reset_in_the_body(peer: Peer) -> None:
    peer.read_body(peer.read_head(), 100_000)
    peer.reset()


def close_in_the_body(peer: Peer) -> None:
    peer.read_body(peer.read_head(), 100_000)


def stop_reading(peer: Peer) -> None:
    peer.read_body(peer.read_head(), 100_000)
    threading.Event().wait(0.6)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (reset_on_accept, "network"),
        (reset_in_the_body, "network"),
        (close_in_the_body, "network"),
        (stop_reading, "timeout"),
    ],
)
async def test_a_body_not_handed_over_whole_is_surely_unsent(script: Script, kind: str) -> None:
    """Whatever breaks an upload, its Exchange shows that the server cannot have all of it."""
    with serving(script) as server:
        seen = await exchange(server, LARGE, timeout_seconds=0.5 if kind == "timeout" else 5)
    assert not seen.sent_whole
    assert seen.sent_bytes < seen.body_bytes == 16_000_002
    assert (seen.reply, seen.status, seen.partial) == (None, None, b"")
    assert seen.error_kind == kind
    # A reset at once may strike the connecting itself.
    assert ("bytes were sent" if seen.connected else "no connection to ") in seen.error


def reset_after(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def close_after(peer: Peer) -> None:
    peer.read_request()


def never_answer(peer: Peer) -> None:
    peer.read_request()
    peer.wait_for_the_end()


def after_the_request(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return script


def slow_drip(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(500):
        peer.send(b"x")
        threading.Event().wait(0.02)


def endless(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"ffff\r\n" + bytes(0xFFFF) + b"\r\n")


ZIPPED = gzip.compress(bytes(60_000_000), 1)[:200_000]


@dataclass
class Broken:
    """What an Exchange says after the whole request was sent."""

    script: Script
    kind: str
    status: int | None = None
    partial: Callable[[bytes], bool] = lambda partial: partial == b""
    told: str = "all was sent, no answer came"


OK = b"HTTP/1.1 200 OK\r\n"
AFTER = {
    "reset": Broken(reset_after, "network"),
    "closed": Broken(close_after, "network"),
    "silence": Broken(never_answer, "timeout"),
    "in the status line": Broken(after_the_request(b"HTTP/1.1 20"), "network"),
    "in the headers": Broken(after_the_request(OK + b"Content-Le"), "network"),
    "no HTTP": Broken(after_the_request(b"SSH-2.0-x\r\n\r\n"), "broken_reply"),
    "endless head": Broken(after_the_request(OK + b"X: " + bytes(300_000)), "broken_reply"),
    "in the body": Broken(
        after_the_request(OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 400),
        "broken_reply", 200, lambda partial: partial == b"x" * 400,
        "the reply (200) broke off after 400 bytes",
    ),
    "in a chunk": Broken(
        after_the_request(OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\n" + b"x" * 40),
        "broken_reply", 200, lambda partial: partial == b"x" * 40, "broke off after 40 bytes",
    ),
    "an error cut": Broken(
        after_the_request(b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nx"),
        "broken_reply", 502, told="the reply (502) broke off after 1 bytes",
    ),
    "encoded": Broken(
        after_the_request(
            OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED
        ),
        "broken_reply", 200, lambda partial: partial == ZIPPED, "over 300,000 bytes",
    ),
    "announced too large": Broken(
        after_the_request(OK + b"Content-Length: 300001\r\n\r\nx"),
        "broken_reply", 200, told="over 300,000 bytes",
    ),
    "endless": Broken(
        endless, "broken_reply", 200, lambda partial: 300_000 < len(partial) < 1_400_000,
        "over 300,000 bytes",
    ),
    "a slow drip": Broken(
        slow_drip, "timeout", 200, lambda partial: 0 < len(partial) < 100, "too slowly",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER)
async def test_a_whole_request_without_a_whole_reply_is_never_called_unsent(name: str) -> None:
    """From its last byte on a request may be charged; what came of the reply is kept."""
    broken = AFTER[name]
    with serving(broken.script) as server:
        seen = await exchange(server, timeout_seconds=0.4 if name == "silence" else 5)
    assert seen.sent_whole
    assert seen.reply is None
    assert (seen.error_kind, seen.status) == (broken.kind, broken.status)
    assert broken.partial(seen.partial)
    assert broken.told in seen.error
    assert len(server.book) == 1


async def test_a_reset_in_the_reply_may_lose_it_but_not_the_count() -> None:
    """A reset can throw away a reply that was on its way; the request stays sent."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 400)
        peer.reset()

    with serving(script) as server:
        seen = await exchange(server)
    assert seen.sent_whole
    assert seen.reply is None
    assert seen.error_kind in ("network", "broken_reply")


def answer_in_the_clear(peer: Peer) -> None:
    peer.connection.recv(65536)
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_no_connection_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, unresolvable and failed TLS: nothing was handed over, nothing connected."""

    def unresolvable(host: object, *rest: object, **options: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with serving(close_after) as gone:
        pass
    with serving(answer_in_the_clear) as plain:
        for url in (gone.url, f"https://127.0.0.1:{plain.port}", "http://nowhere.internal"):
            if url.endswith("internal"):
                monkeypatch.setattr(socket, "getaddrinfo", unresolvable)
            async with open_transport(
                Connection(base_url=url, key=None), concurrency=1
            ) as transport:
                request = Request("POST", f"{transport.endpoints[0].base}/x", (), SMALL)
                seen = await transport.exchange(request, {}, timeout_seconds=5)
            assert (seen.connected, seen.sent_whole, seen.sent_bytes) == (False, False, 0)
            assert seen.error_kind == "network"
            assert seen.error.startswith("no connection to ")


async def test_an_early_answer_is_an_answer() -> None:
    """A server may refuse before it has read the body; its reply is what counts."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.answer(b'{"error": "too large"}', status="413 Large", headers="Connection: close\r\n")
        peer.connection.shutdown(1)
        peer.wait_for_the_end()

    with serving(script) as server:
        seen = await exchange(server, LARGE)
    assert seen.reply is not None
    assert (seen.reply.status, seen.reply.body) == (413, b'{"error": "too large"}')


async def test_a_redirect_of_a_post_is_a_reply() -> None:
    """Nothing is followed: the redirect's target hears nothing."""

    def elsewhere(peer: Peer) -> None:
        peer.read_request()
        peer.answer()

    with serving(elsewhere) as other:

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.answer(status="307 There", headers=f"Location: {other.url}/v1/images/edits\r\n")

        with serving(script) as server:
            seen = await exchange(server)
    assert seen.reply is not None
    assert seen.reply.status == 307
    assert other.connections == 0


async def test_a_cancelled_exchange_still_says_how_far_it_came() -> None:
    """The caller's Sending holds the count although the exchange returned nothing."""
    heard = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        heard.set()
        peer.wait_for_the_end()

    sending = Sending()

    async def send(transport: Transport) -> None:
        await transport.exchange(post(server), {}, timeout_seconds=60, sending=sending)

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            async with anyio.create_task_group() as group:
                group.start_soon(send, transport)
                await anyio.to_thread.run_sync(heard.wait)
                group.cancel_scope.cancel()
            await anyio.to_thread.run_sync(server.wait_for_an_end)
    seen = sending.broken_off("network", "stopped")
    assert seen.sent_whole
    assert seen.sent_bytes == sum(map(len, SMALL))


def answers_while_nobody_reads(body: bytes, seconds_between: float = 0.0) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body[:100])
        threading.Event().wait(seconds_between)
        peer.send(body[100:])
        peer.wait_for_the_end()

    return script


@pytest.mark.parametrize("size", [200, 290_000])
async def test_a_deadline_that_passed_while_standing_still_reads_what_is_there(size: int) -> None:
    """The loop stands still over the deadline and over a window of the minimum rate, as under
    SIGSTOP; the reply that waits in the socket is read whole."""

    async def stand_still() -> None:
        await anyio.sleep(0.1)
        threading.Event().wait(1.0)  # blocks the loop, on purpose

    with serving(answers_while_nobody_reads(bytes(size), 0.3)) as server:
        async with (
            open_transport(
                Connection(base_url=server.url, key=None), concurrency=2, limits=LIMITS
            ) as transport,
            anyio.create_task_group() as group,
        ):
            group.start_soon(stand_still)
            seen = await transport.exchange(post(server), {}, timeout_seconds=0.5)
    assert seen.reply is not None, seen.error
    assert len(seen.reply.body) == size


async def test_after_a_deadline_nothing_is_waited_for() -> None:
    """A socket that gives nothing ends the exchange at once."""
    with serving(never_answer) as server:
        before = anyio.current_time()
        seen = await exchange(server, timeout_seconds=0.3)
        taken = anyio.current_time() - before
    assert seen.error == "all was sent, no answer came within 0.3 s"
    assert taken < 2
