"""Connections: kept, used again, and never trusted further than they were seen to be whole."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import anyio
import anyio.to_thread
import pytest
import uvicorn

from retouch.dialects.base import Base64, Exchange, Request
from retouch.job import Picture
from retouch.transport import Connection, Transport, open_transport
from retouch.transport.http1 import KEEP_SECONDS
from retouch.transport.slots import SlotTransport
from tests.support.raw_server import Peer, Server, serving

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def post(server: Server) -> Request:
    return Request("POST", f"{server.url}/v1/images/edits", (), (b'{"n": ', b"1}"))


def get(server: Server) -> Request:
    return Request("GET", f"{server.url}/v1/images/tasks/1")


async def send(transport: Transport, request: Request) -> Exchange:
    return await transport.exchange(request, {}, timeout_seconds=5)


def body_of(exchange: Exchange) -> bytes:
    assert exchange.reply is not None, exchange.error
    return exchange.reply.body


def answer_on(peer: Peer) -> None:
    while True:
        peer.read_request()
        peer.answer()


async def test_one_connection_serves_one_poll_after_another() -> None:
    """Ten polls in a row need one connection."""
    with serving(answer_on) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            for _ in range(10):
                assert body_of(await send(transport, get(server))) == b"{}"
    assert (server.connections, len(server.book)) == (1, 10)


async def test_a_post_has_a_connection_of_its_own_and_leaves_it_to_polls() -> None:
    """What costs never rides a connection that may have been closed at its other end."""
    with serving(answer_on) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            for ask in (post, get, get, post, post, get):
                assert body_of(await send(transport, ask(server))) == b"{}"
    assert (server.connections, len(server.book)) == (3, 6)


async def test_no_more_connections_are_open_than_there_may_be() -> None:
    """Beyond `connections` a request waits for another's end; idle ones make room at once."""
    together = threading.Barrier(3)

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            together.wait(timeout=10)
            peer.answer()

    with serving(script) as server:
        async with (
            open_transport(
                Connection(base_url=server.url, key=None), concurrency=9, connections=3
            ) as transport,
            anyio.create_task_group() as group,
        ):
            for _ in range(9):
                group.start_soon(send, transport, post(server))
    assert (server.connections, len(server.book)) == (9, 9)


async def test_chunked_replies_keep_the_connection() -> None:
    """A reply in chunks ends where its last chunk ends."""

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            peer.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            for _ in range(3):
                assert body_of(await send(transport, get(server))) == b"abcde"
    assert server.connections == 1


async def test_requests_at_once_have_a_connection_each_and_few_are_kept() -> None:
    """Nothing waits for a connection; beyond `concurrency`, idle ones are closed."""
    together = threading.Barrier(8)

    def script(peer: Peer) -> None:
        peer.read_request()
        together.wait(timeout=10)
        peer.answer()
        peer.wait_for_the_end()

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=3
        ) as transport:
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(send, transport, post(server))
            for _ in range(5):
                await anyio.to_thread.run_sync(server.wait_for_an_end)
            assert not server.ended.acquire(blocking=False)
    assert server.connections == 8


async def test_a_connection_closed_while_idle_is_noticed_before_a_byte_is_written() -> None:
    """The next request goes over a new one, whole, once."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer()

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            for _ in range(3):
                assert body_of(await send(transport, get(server))) == b"{}"
                await anyio.to_thread.run_sync(server.wait_for_an_end)
    assert (server.connections, len(server.book)) == (3, 3)


async def test_bytes_after_a_reply_never_answer_the_next_request() -> None:
    """A Content-Length that was too small costs the connection, not another job's answer."""
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        if peer.number == 1:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
            sent.set()
            peer.wait_for_the_end()
        peer.answer(b"right")

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            assert body_of(await send(transport, get(server))) == b"{}"
            await anyio.to_thread.run_sync(sent.wait)
            assert body_of(await send(transport, get(server))) == b"right"
    assert server.connections == 2


async def test_excess_in_the_same_packet_is_noticed() -> None:
    """Excess read along with the reply's end lies in the parser, not in the socket."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\nwrong")
        peer.wait_for_the_end()

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            for _ in range(2):
                assert body_of(await send(transport, get(server))) == b"{}"
    assert server.connections == 2


def reset_the_second(peer: Peer) -> None:
    """Answers the first connection's first request and resets at its second one."""
    peer.read_request()
    peer.answer()
    peer.read_request()
    if peer.number == 1:
        peer.reset()
    peer.answer()


async def test_a_poll_over_a_dying_connection_is_asked_again() -> None:
    """A GET is free: it is sent again over a new connection, unseen."""
    with serving(reset_the_second) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            assert body_of(await send(transport, get(server))) == b"{}"
            assert body_of(await send(transport, get(server))) == b"{}"
    assert server.connections == 2


async def test_a_post_is_not_sent_again() -> None:
    """Its body was begun, so sending it again is for the run to decide, and to record."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.reset()

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            seen = await send(transport, post(server))
    assert seen.reply is None
    assert seen.sent_bytes > 0
    assert (server.connections, len(server.book)) == (1, 1)


async def test_old_connections_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its idle time a kept connection is closed instead of used."""
    monkeypatch.setattr("retouch.transport.http1.KEEP_SECONDS", 0.0)
    with serving(answer_on) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            for _ in range(3):
                assert body_of(await send(transport, get(server))) == b"{}"
    assert server.connections == 3


def test_a_kept_connection_is_let_go_before_its_server_does() -> None:
    """uvicorn and Node close what was idle for five seconds."""
    assert uvicorn.Config(app="none").timeout_keep_alive > KEEP_SECONDS


async def test_a_request_broken_off_makes_room_for_the_next() -> None:
    """One connection at a time, and the first is never answered: the second is."""

    def script(peer: Peer) -> None:
        peer.read_request()
        if peer.number == 1:
            peer.wait_for_the_end()
        else:
            peer.answer()

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=1, connections=1
        ) as transport:
            late = await transport.exchange(post(server), {}, timeout_seconds=0.2)
            assert late.error_kind == "timeout"
            with anyio.fail_after(20):
                assert body_of(await send(transport, post(server))) == b"{}"


async def test_a_reply_cut_short_is_no_missing_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something was reached: a proxy that is set and not used is no advice."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example.com:3128")

    def cut(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly")

    with serving(cut) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=1
        ) as transport:
            seen = await send(transport, get(server))
    assert "broke off after 4 bytes" in seen.error
    assert "PROXY" not in seen.error


async def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    """Its connection is closed at once and never used again."""
    heard = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        if peer.number == 1:
            heard.set()
            peer.wait_for_the_end()
        peer.answer()

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            async with anyio.create_task_group() as group:
                group.start_soon(send, transport, post(server))
                await anyio.to_thread.run_sync(heard.wait)
                group.cancel_scope.cancel()
            await anyio.to_thread.run_sync(server.wait_for_an_end)
            assert body_of(await send(transport, post(server))) == b"{}"
            assert isinstance(transport._http, SlotTransport)
    assert server.connections == 2


async def test_bodies_are_let_go_without_the_collector() -> None:
    """Uploads and replies of megabytes leave no cycle that holds them."""
    picture = Picture("sha256:0")
    reply = bytes(3_000_000)

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.answer(reply)

    with serving(script) as server:
        request = Request("POST", f"{server.url}/v1/x", (), (b'"', Base64(picture), b'"'))
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=2
        ) as transport:
            gc.collect()
            gc.disable()
            tracemalloc.start()
            try:
                for _ in range(8):
                    await transport.exchange(request, lambda _: bytes(2_000_000), timeout_seconds=5)
                server.book.clear()
                held, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
                gc.enable()
    assert held < 9_000_000, "no more than what one exchange needs"


async def test_idle_connections_of_other_origins_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A download's host that nothing is asked of any more keeps no socket of ours."""
    closed = threading.Event()

    def answer_once(peer: Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.connection.settimeout(10)
        if peer.connection.recv(1) == b"":
            closed.set()

    monkeypatch.setattr("retouch.transport.http1.KEEP_SECONDS", 0.2)
    with serving(answer_once) as other, serving(answer_on) as server:
        both = Connection(base_url=server.url, fallback_urls=(f"{other.url}/v1",), key=None)
        async with open_transport(both, concurrency=2) as transport:
            assert body_of(await send(transport, get(other))) == b"{}"
            await anyio.sleep(0.4)
            assert body_of(await send(transport, get(server))) == b"{}"
            assert await anyio.to_thread.run_sync(closed.wait, 5)
