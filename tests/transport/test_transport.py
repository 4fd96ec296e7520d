"""The Transport as a whole: bodies byte for byte, the key's way, time, and an app in process."""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.dialects.base import Base64, Exchange, Raw, Request, Segment
from retouch.errors import InputRefused
from retouch.job import Picture
from retouch.transport import ApiKey, Connection, DownloadFailed, Sending, Transport, open_transport
from retouch.transport.body import PIECE_BYTES, SMALL_BYTES, Body
from tests.support.raw_server import Peer, serving

trio_testing = pytest.importorskip("trio.testing")
pytestmark = pytest.mark.anyio

CANARY = "sk-canary-0d41b6"
BASE = "http://rehearsal.invalid/v1"
PICTURE = Picture("sha256:1")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def on_virtual_time(run: Callable[[], Awaitable[None]]) -> None:
    """Runs under trio's clock, which jumps where everybody waits."""
    clock = trio_testing.MockClock(autojump_threshold=0)
    anyio.run(run, backend="trio", backend_options={"clock": clock})


class App:
    """An ASGI application that notes what it is asked and answers after some seconds."""

    def __init__(self, seconds: float = 0, body: bytes = b"{}") -> None:
        self.seconds = seconds
        self.body = body
        self.asked: list[tuple[str, dict[bytes, bytes], bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.asked.append((scope["path"], dict(scope["headers"]), b"".join(parts)))
        await anyio.sleep(self.seconds)
        start = {"type": "http.response.start", "status": 200, "headers": [(b"X-Two", b"a")]}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


def post(url: str, body: tuple[Segment, ...] = (b"{}",)) -> Request:
    return Request("POST", url, (("Content-Type", "application/json"),), body)


async def test_a_body_arrives_as_it_was_described() -> None:
    """Prefix, base64 in pieces, raw bytes and suffix; the length announced is the length sent."""
    app = App()
    data = bytes(range(256)) * 10_000
    body = (b'{"image": "', Base64(PICTURE), b'", "raw": ', Raw(PICTURE), b"}")
    async with open_transport(
        Connection(base_url=BASE, key=None, app=app), concurrency=1
    ) as transport:
        seen = await transport.exchange(
            post(f"{BASE}/images/edits", body), {PICTURE: data}, timeout_seconds=5
        )
    expected = b'{"image": "' + base64.b64encode(data) + b'", "raw": ' + data + b"}"
    path, headers, arrived = app.asked[0]
    assert arrived == expected
    assert path == "/v1/images/edits"
    assert headers[b"content-length"] == str(len(expected)).encode()
    assert headers[b"accept-encoding"] == b"identity"
    assert headers[b"content-type"] == b"application/json"
    assert seen.sent_whole
    assert seen.sent_bytes == seen.body_bytes == len(expected)
    assert seen.reply is not None
    assert (seen.reply.status, seen.reply.body, seen.reply.headers["x-two"]) == (200, b"{}", "a")


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(
        st.tuples(
            st.integers(0, 9)
            | st.sampled_from([PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 2]),
            st.sampled_from(["bytes", "base64", "raw"]),
        ),
        max_size=4,
    )
)
def test_the_announced_length_is_exact(sizes: list[tuple[int, str]]) -> None:
    """For every mixture of segments, empty ones and piece boundaries included."""
    pictures: dict[Picture, bytes] = {}
    segments: list[Segment] = []
    expected = b""
    for number, (size, kind) in enumerate(sizes):
        picture = Picture(f"sha256:{number}")
        data = pictures[picture] = bytes([number]) * size
        as_is: Segment = data if kind == "bytes" else Raw(picture)
        segments.append(Base64(picture) if kind == "base64" else as_is)
        expected += base64.b64encode(data) if kind == "base64" else data
    sending = Sending()
    body = Body(post("http://x", tuple(segments)), pictures, sending)

    async def read() -> bytes:
        return b"".join([piece async for piece in body])

    assert sending.body_bytes == len(expected)
    assert anyio.run(read) == expected
    assert sending.sent_bytes == len(expected)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 30_000), st.booleans()), min_size=2, max_size=6),
)
def test_a_small_body_is_two_pieces_and_not_whole_before_the_last_is_asked_for(
    sizes: list[tuple[int, bool]],
) -> None:
    """What breaks off while the first is written was surely not sent whole; a write each would
    cost more than their bytes."""
    pictures = {Picture(f"sha256:{at}"): bytes(size) for at, (size, _) in enumerate(sizes)}
    segments: tuple[Segment, ...] = tuple(
        Base64(picture) if encode else Raw(picture)
        for picture, (_, encode) in zip(pictures, sizes, strict=True)
    )
    sending = Sending()
    body = Body(post("http://x", segments), pictures, sending)

    async def read() -> list[tuple[int, int]]:
        return [(len(piece), sending.sent_bytes) async for piece in body]

    seen = anyio.run(read)
    small = sending.body_bytes <= SMALL_BYTES
    assert len(seen) == 2 if small else len(seen) <= len(sizes)
    assert all(sent < sending.body_bytes for _, sent in seen[:-1])


async def test_what_reading_a_picture_raises_comes_through_before_anything_is_sent() -> None:
    """A file that vanished is not a fault of the network."""
    app = App()

    def vanished(picture: Picture) -> bytes:
        raise FileNotFoundError(picture.digest)

    async with open_transport(
        Connection(base_url=BASE, key=None, app=app), concurrency=1
    ) as transport:
        with pytest.raises(FileNotFoundError):
            await transport.exchange(post(BASE, (Base64(PICTURE),)), vanished, timeout_seconds=5)
    assert app.asked == []


async def test_an_app_that_fails_is_a_connection_that_broke() -> None:
    """What an application in process raises ends in an Exchange with the bytes it had taken."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ConnectionResetError("rehearsed")

    async with open_transport(
        Connection(base_url=BASE, key=None, app=app), concurrency=1
    ) as transport:
        seen = await transport.exchange(post(BASE, (b"ab", b"cd")), {}, timeout_seconds=5)
    assert (seen.sent_bytes, seen.sent_whole, seen.error_kind) == (2, False, "network")
    assert "rehearsed" in seen.error


def test_a_deadline_covers_the_whole_exchange() -> None:
    """An answer after 42 s is in time for 43 s and late for 41 s, to the second."""

    async def run() -> None:
        async with open_transport(
            Connection(base_url=BASE, key=None, app=App(seconds=42)), concurrency=1
        ) as transport:
            for timeout, kind in ((43, None), (41, "timeout")):
                begun = anyio.current_time()
                seen = await transport.exchange(post(BASE), {}, timeout_seconds=timeout)
                assert seen.error_kind == kind
                assert anyio.current_time() - begun == pytest.approx(min(timeout, 42))
                assert seen.sent_whole
            failed = await transport.download(f"{BASE}/1.png?token=s", timeout_seconds=9)
            assert isinstance(failed, DownloadFailed)
            assert (failed.kind, failed.retryable) == ("timeout", True)
            assert failed.message.endswith("/1.png: not whole within 9 s")

    on_virtual_time(run)


async def test_the_rehearsal_leaves_this_machine_for_nothing() -> None:
    """With an app in process only its own origin is reached, whatever its results name."""
    app = App(body=b"PNG")
    async with open_transport(
        Connection(base_url=BASE, key=None, app=app), concurrency=1
    ) as transport:
        own = await transport.download(
            "http://rehearsal.invalid/files/1.png?e=1", timeout_seconds=5
        )
        other = await transport.download("https://example.com/1.png", timeout_seconds=5)
        poll = await transport.exchange(
            Request("GET", "https://example.com/status"), {}, timeout_seconds=5
        )
    assert not isinstance(own, DownloadFailed)
    assert own.data == b"PNG"
    assert isinstance(other, DownloadFailed)
    assert "does not leave this machine" in other.message
    assert not poll.connected
    assert len(app.asked) == 1


async def test_the_key_goes_to_the_endpoints_alone() -> None:
    """To base and fallback; not with downloads, unauthorized requests or to other servers."""

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.answer()

    with serving(script) as base, serving(script) as fallback, serving(script) as other:
        async with open_transport(
            Connection(base_url=base.url, fallback_urls=(fallback.url,), key=ApiKey(CANARY)),
            concurrency=1,
        ) as transport:
            for endpoint in transport.endpoints:
                await transport.exchange(post(f"{endpoint.base}/x"), {}, timeout_seconds=5)
                await transport.exchange(
                    Request("GET", f"{endpoint.base}/poll"), {}, timeout_seconds=5
                )
            open_request = Request("GET", f"{base.url}/open", authorized=False)
            await transport.exchange(open_request, {}, timeout_seconds=5)
            await transport.download(f"{base.url}/1.png", timeout_seconds=5)
            foreign_post = await transport.exchange(
                post(f"{other.url}/v1/images/edits"), {}, timeout_seconds=5
            )
            foreign_poll = await transport.exchange(
                Request("GET", f"{other.url}/status"), {}, timeout_seconds=5
            )
    sent = [heard.header("authorization") for heard in base.book]
    assert sent == [f"Bearer {CANARY}", f"Bearer {CANARY}", None, None]
    assert {heard.header("authorization") for heard in fallback.book} == {f"Bearer {CANARY}"}
    assert other.connections == 0
    assert not foreign_post.connected
    assert not foreign_poll.connected


async def test_a_dialects_headers_cannot_speak_for_the_transport() -> None:
    """What the transport answers for is its own: length, host, encoding, key."""
    app = App()
    forged = Request(
        "POST", BASE, (("Authorization", "x"), ("CONTENT-LENGTH", "9"), ("Host", "x"),
                       ("Accept-Encoding", "gzip"), ("Cookie", "x"), ("X-Kept", "yes")), (b"{}",),
    )  # fmt: skip
    async with open_transport(
        Connection(base_url=BASE, key=None, app=app), concurrency=1
    ) as transport:
        await transport.exchange(forged, {}, timeout_seconds=5)
    headers = app.asked[0][1]
    assert b"authorization" not in headers
    assert b"cookie" not in headers
    assert headers[b"content-length"] == b"2"
    assert headers[b"host"] == b"rehearsal.invalid"
    assert headers[b"accept-encoding"] == b"identity"
    assert headers[b"x-kept"] == b"yes"


ECHO = f"you sent {CANARY} to https://x.example/a.png?token=canary".encode()
FAULTS = [
    b"HTTP/1.1 401 No\r\nContent-Length: 999\r\n\r\n" + ECHO,
    b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + ECHO,
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br, " + ECHO + b"\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 " + ECHO + b"\r\n\r\n",
    b"HTTP/1.1 302 There\r\nContent-Length: 0\r\nLocation: http://10.0.0.1/" + ECHO + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Header " + ECHO + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + ECHO,
    b"",
]


@pytest.mark.parametrize("fault", range(len(FAULTS)))
async def test_the_key_is_in_no_message_log_or_repr(
    fault: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Through every failure, with all logging turned up; a server that echoes it gains nothing."""
    caplog.set_level(logging.DEBUG)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(FAULTS[fault])

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=ApiKey(CANARY)), concurrency=1
        ) as transport:
            url = f"{server.url}/v1/{CANARY}?token=canary"
            seen = await transport.exchange(post(url), {}, timeout_seconds=5)
            failed = await transport.download(url, timeout_seconds=5)
            shown = repr(transport)
            scrubbed = transport.scrubbed(f"{CANARY} https://x.example/?token=canary")
    assert server.book[0].header("authorization") == f"Bearer {CANARY}"
    assert isinstance(failed, DownloadFailed)
    told = [seen.error, repr(failed), shown, scrubbed, caplog.text]
    assert "canary" not in "\n".join(told)
    assert CANARY.encode() not in seen.partial


def answer_one(peer: Peer) -> None:
    peer.read_request()
    peer.answer()


def proxied_by(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """An environment that names these proxies and no others."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelled in (name, name.upper()):
            monkeypatch.delenv(spelled, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


async def send_by_environment(base_url: str, *, trust_env: bool = True) -> Exchange:
    async with open_transport(
        Connection(base_url=base_url, key=None, trust_env=trust_env), concurrency=1
    ) as transport:
        request = post(f"{base_url}/v1/x", (b"ab", b"cd"))
        return await transport.exchange(request, {}, timeout_seconds=5)


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_proxy_of_the_environment_is_used_only_if_trusted(
    trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trust_env` decides; unused, it is named where nothing could be reached."""
    with serving(answer_one) as proxy:
        proxied_by(monkeypatch, http_proxy=proxy.url)
        seen = await send_by_environment("http://provider.internal", trust_env=trusted)
    assert proxy.connections == (1 if trusted else 0)
    if not trusted:
        assert not seen.connected
        assert "http_proxy is set but not used: `provider: {trust_env: true}`" in seen.error
        return
    assert seen.sent_whole
    assert seen.reply is not None
    assert proxy.book[0].head.startswith("POST http://provider.internal/v1/x HTTP/1.1")
    assert proxy.book[0].body == b"abcd"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.3.2.1"])
async def test_this_machine_is_never_reached_by_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is allowed to loopback because no network sees the key: nor does a proxy."""
    with serving(answer_one) as proxy, serving(answer_one) as server:
        proxied_by(monkeypatch, HTTP_PROXY=proxy.url)
        seen = await send_by_environment(f"http://{host}:{server.port}")
    assert proxy.connections == 0
    if host == "127.0.0.1":
        assert seen.reply is not None


async def test_no_proxy_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that NO_PROXY lists is asked for itself."""
    with serving(answer_one) as proxy:
        proxied_by(monkeypatch, http_proxy=proxy.url, no_proxy=".internal")
        seen = await send_by_environment("http://provider.internal")
    assert (proxy.connections, seen.connected) == (0, False)


async def test_a_socks_proxy_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS5 with the extra `socks`: the name goes to the proxy, the request through it."""
    asked: list[bytes] = []

    def script(peer: Peer) -> None:
        connection = peer.connection
        assert connection.recv(3)[0] == 5
        connection.sendall(b"\x05\x00")
        asked.append(connection.recv(300))
        connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
        answer_one(peer)

    with serving(script) as proxy:
        proxied_by(monkeypatch, ALL_PROXY=f"socks5h://127.0.0.1:{proxy.port}")
        seen = await send_by_environment("http://provider.internal")
    assert seen.reply is not None
    assert b"provider.internal" in asked[0]
    assert proxy.book[0].body == b"abcd"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("127.0.0.1:7890", "without http:// before it"),
        ("user:canary@proxy.example:7890", "without http:// before it"),
        ("socks4://user:canary@127.0.0.1:1080", "a kind of proxy that is not spoken to"),
        ("socks://user:canary@127.0.0.1:1080", "a kind of proxy that is not spoken to"),
        ("http://user:canary@127.0.0.1:notaport", "holds no URL"),
        ("http://", "names no server"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_refused_by_its_variable(
    value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2; what the variable holds, a password perhaps, is not in the message."""
    proxied_by(monkeypatch, HTTPS_PROXY=value)
    with pytest.raises(InputRefused) as refused:
        await send_by_environment("https://provider.internal")
    assert refused.value.message.startswith("HTTPS_PROXY ")
    assert told in refused.value.message
    assert "canary" not in f"{refused.value.message}{refused.value.hint}"


async def test_a_socks_proxy_without_its_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named as it is installed."""
    proxied_by(monkeypatch, all_proxy="socks5://user:canary@127.0.0.1:1080")
    monkeypatch.setattr("retouch.transport.proxies.find_spec", lambda _: None)
    with pytest.raises(InputRefused, match="all_proxy names a SOCKS proxy") as refused:
        await send_by_environment("https://provider.internal")
    assert "make setup EXTRAS=socks" in refused.value.hint
    assert "canary" not in f"{refused.value.message}{refused.value.hint}"


async def test_a_transport_closes_what_it_opened() -> None:
    """After its end no connection of it is left open."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.wait_for_the_end()

    async def send(transport: Transport) -> None:
        await transport.exchange(post(f"{server.url}/v1/x"), {}, timeout_seconds=5)

    with serving(script) as server:
        async with (
            open_transport(Connection(base_url=server.url, key=None), concurrency=4) as transport,
            anyio.create_task_group() as group,
        ):
            for _ in range(4):
                group.start_soon(send, transport)
        for _ in range(server.connections):
            await anyio.to_thread.run_sync(server.wait_for_an_end)
    assert server.connections >= 1
