"""A connection's bytes on real sockets: nothing lost, nothing held without bound, nothing late."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpcore
import pytest

from retouch.transport.stream import DueStream, Late, connect
from retouch.transport.wire import Wire
from tests.support.raw_server import Peer, Script, serving

pytestmark = pytest.mark.anyio

PEM = Path(__file__).parent / "localhost.pem"
MEGABYTE = 1_000_000


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    is_uvloop = request.param == "uvloop"
    return ("asyncio", {"use_uvloop": True}) if is_uvloop else (request.param, {})


@asynccontextmanager
async def connected(script: Script) -> AsyncIterator[DueStream]:
    with serving(script) as server:
        stream = await connect("127.0.0.1", server.port)
        try:
            yield stream
        finally:
            await stream.aclose()


def says(data: bytes, *, then: Callable[[Peer], object] = Peer.wait_for_the_end) -> Script:
    def script(peer: Peer) -> None:
        peer.send(data)
        then(peer)

    return script


async def all_of(stream: DueStream, most: Callable[[], int]) -> bytes:
    pieces: list[bytes] = []
    with suppress(anyio.EndOfStream):
        while True:
            wanted = most()
            pieces.append(await stream.receive(wanted))
            assert 0 < len(pieces[-1]) <= wanted
    return b"".join(pieces)


async def send_on(stream: DueStream, times: int) -> None:
    for _ in range(times):
        await stream.send(bytes(300_000))


async def read_into(received: list[bytes], wire: Wire) -> None:
    while piece := await wire.read(65_536):
        received.append(piece)


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_sent_arrives_in_order_whatever_the_pieces(seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(chance.choice((1, 70_000, 3 * MEGABYTE)))

    def script(peer: Peer) -> None:
        left = memoryview(data)
        while left:
            count = chance.choice((1, 4096, 300_000))
            peer.send(bytes(left[:count]))
            left = left[count:]

    sizes = itertools.cycle((1, 65_536, MEGABYTE, 5000, 300_000))
    async with connected(script) as stream:
        assert await all_of(stream, lambda: next(sizes)) == data


async def test_a_sender_waits_for_who_does_not_read() -> None:
    """What was not taken is not read from the socket without bound; then it comes whole."""
    data = os.urandom(40 * MEGABYTE)
    sent = 0

    def script(peer: Peer) -> None:
        nonlocal sent
        for at in range(0, len(data), 100_000):
            peer.send(data[at : at + 100_000])
            sent += 100_000

    async with connected(script) as stream:
        before = -1
        while sent != before:
            before = sent
            await anyio.sleep(0.5)
        assert sent < 30 * MEGABYTE  # two kernels' buffers
        assert await all_of(stream, lambda: MEGABYTE) == data


async def test_late_is_told_once_and_what_comes_after_is_received() -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        go_on.wait(10)
        peer.send(b"after all")
        peer.wait_for_the_end()

    async with connected(script) as stream:
        stream.deadline = anyio.current_time() + 0.05
        with pytest.raises(Late):
            await stream.receive()
        with pytest.raises(Late):  # it is over: nothing is waited for
            await stream.receive()
        stream.deadline = anyio.current_time() + 10
        go_on.set()
        assert await stream.receive() == b"after all"


async def test_what_is_there_is_received_after_the_deadline() -> None:
    def script(peer: Peer) -> None:
        peer.connection.recv(9)
        says(b"here")(peer)

    async with connected(script) as stream:
        await stream.send(b"go on")
        stream.deadline = anyio.current_time() + 5
        with anyio.fail_after(5):
            while not stream.is_readable():  # noqa: ASYNC110 - a socket
                await anyio.sleep(0.01)
        stream.deadline = anyio.current_time() - 1
        received = b""
        with suppress(Late):  # on trio a deadline in the past is told first
            received = await stream.receive()
        stream.deadline = anyio.current_time() + 0.25
        assert received or await stream.receive() == b"here"


async def test_a_deadline_that_is_put_off_is_not_told() -> None:
    """One reply's deadline is over while the next one is waited for."""
    async with connected(says(b"", then=lambda peer: peer.connection.recv(9))) as stream:
        stream.deadline = anyio.current_time() + 0.1
        with anyio.move_on_after(0.05) as broken_off:
            await stream.receive()
        assert broken_off.cancelled_caught
        stream.deadline = before = anyio.current_time() + 0.3
        with pytest.raises(Late):
            await stream.receive()
        assert anyio.current_time() >= before - 0.01


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    data = os.urandom(2 * MEGABYTE)

    def script(peer: Peer) -> None:
        for at in range(0, len(data), 20_000):
            peer.send(data[at : at + 20_000])
            threading.Event().wait(0.001)

    received = b""
    async with connected(script) as stream:
        while len(received) < len(data):
            with anyio.move_on_after(0.002):
                received += await stream.receive(50_000)
    assert received == data


@pytest.mark.parametrize("count", [0, 10, 900_000])
async def test_an_end_comes_after_all_bytes_and_again_when_asked_again(count: int) -> None:
    async with connected(says(bytes(count), then=lambda peer: peer.connection.shutdown(1))) as one:
        assert len(await all_of(one, lambda: MEGABYTE)) == count
        with pytest.raises(anyio.EndOfStream):
            await one.receive()


async def test_a_reset_is_told_and_not_waited_for() -> None:
    def script(peer: Peer) -> None:
        peer.connection.recv(9)
        peer.reset()

    async with connected(script) as stream:
        await stream.send(b"go on")
        with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        with anyio.fail_after(5), pytest.raises(anyio.BrokenResourceError):
            await send_on(stream, 3)


async def test_what_came_while_sending_is_received_after_a_reset() -> None:
    """A server that refuses a body before it was read: what it said came first."""

    def script(peer: Peer) -> None:
        peer.connection.recv(1000)
        peer.send(b"too large")
        threading.Event().wait(0.1)
        peer.reset()

    async with connected(script) as stream:
        with anyio.fail_after(10), pytest.raises(anyio.BrokenResourceError):
            await send_on(stream, 100)
        if not isinstance(stream, asyncio.BufferedProtocol):
            return  # there it may be lost with the socket
        assert await stream.receive() == b"too large"
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()


@pytest.mark.parametrize("is_reset", [False, True])
async def test_sending_to_who_has_gone_ends(is_reset: bool) -> None:
    """However much it is, and whether the end comes before or while it is sent."""

    def script(peer: Peer) -> None:
        peer.connection.recv(1000)
        threading.Event().wait(0.05)
        if is_reset:
            peer.reset()

    async with connected(script) as stream:
        with anyio.fail_after(10), pytest.raises(anyio.BrokenResourceError):
            await send_on(stream, 100)


async def test_who_has_closed_neither_sends_nor_receives() -> None:
    async with connected(says(b"unread")) as stream:
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")
        with suppress(anyio.ClosedResourceError):
            await stream.receive()  # what had come
            await stream.receive()
            raise AssertionError("a closed stream was waited for")
        assert stream.is_readable()  # nobody takes it for one that may be used


@pytest.mark.parametrize("what", ["bytes", "end", "reset"])
async def test_what_comes_unasked_is_seen(what: str) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        go_on.wait(10)
        match what:
            case "bytes":
                says(b"x")(peer)
            case "reset":
                peer.reset()

    async with connected(script) as stream:
        await anyio.sleep(0.05)
        assert not stream.is_readable()
        go_on.set()
        with anyio.fail_after(5):
            while not stream.is_readable():  # noqa: ASYNC110 - a socket
                await anyio.sleep(0.01)
        await anyio.sleep(0.05)
        assert stream.is_readable()


async def test_two_addresses_are_tried_one_after_the_other() -> None:
    """`localhost` is ::1 too, where nobody listens."""
    with serving(says(b"here")) as server:
        stream = await connect("localhost", server.port)
        assert await stream.receive() == b"here"
        await stream.aclose()
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says
        await connect("localhost", server.port)


@pytest.mark.parametrize("name", ["a..example", "a" * 64 + ".example", "\u2603" * 70])
async def test_a_name_that_is_none_is_a_connection_that_failed(name: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says
        await connect(name, 80)


@pytest.mark.parametrize("error", [None, AssertionError])
def test_a_race_of_addresses_that_nobody_won_is_a_connection_that_failed(
    error: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asyncio was seen to end with under load: an IndexError for a reason that is not there,
    or an assertion of its own."""

    async def race(*_: object, **__: object) -> tuple[None, None, list[None]]:
        if error is not None:
            raise error
        return None, None, []

    monkeypatch.setattr("asyncio.staggered.staggered_race", race)
    with pytest.raises(OSError):  # noqa: PT011 - later versions of asyncio have words for it
        asyncio.run(connect("127.0.0.1", 80))


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ours, theirs = ssl.create_default_context(cafile=PEM), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(PEM)
    return ours, theirs


@asynccontextmanager
async def encrypted(script: Script) -> AsyncIterator[Wire]:
    ours, theirs = contexts()
    with serving(script, tls=theirs) as server:
        wire = Wire(await connect("127.0.0.1", server.port), anyio.current_time() + 10)
        await wire.start_tls(ours, "localhost")
        try:
            yield wire
        finally:
            await wire.aclose()


async def test_encrypted_bytes_arrive_in_few_readings() -> None:
    """Records of 16 KB lie there by the dozen: each would be a reading of its own."""
    data = os.urandom(6 * MEGABYTE)
    received: list[bytes] = []
    async with encrypted(says(data, then=lambda peer: peer.connection.close())) as wire:
        await read_into(received, wire)
    assert b"".join(received) == data
    assert len(received) < len(data) / 16_384 * 0.6


async def test_what_came_before_a_broken_record_counts() -> None:
    def script(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 40_000)
        bare = socket.socket(fileno=os.dup(peer.connection.fileno()))
        bare.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody encrypted
        bare.close()
        peer.wait_for_the_end()

    received: list[bytes] = []
    async with encrypted(script) as wire:
        with pytest.raises(httpcore.ReadError):
            await read_into(received, wire)
    assert b"".join(received).endswith(b"x" * 40_000)


async def test_a_handshake_that_never_ends_is_a_connection_that_timed_out() -> None:
    """Also where something was read before it, as from a proxy."""
    ours, _ = contexts()
    with serving(says(b"OK")) as server:
        wire = Wire(await connect("127.0.0.1", server.port), anyio.current_time() + 0.3)
        assert await wire.read(9) == b"OK"
        with pytest.raises(httpcore.ConnectTimeout):
            await wire.start_tls(ours, "localhost")
