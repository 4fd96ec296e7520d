"""Downloads: only from where a result may come, pinned, capped, and told without signatures."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from retouch.transport import (
    ApiKey,
    Connection,
    Downloaded,
    DownloadFailed,
    ReplyLimits,
    open_transport,
)
from retouch.transport.addresses import Address
from retouch.transport.download import Fetcher
from retouch.transport.slots import SlotTransport
from tests.support.raw_server import Peer, Script, Server, serving

pytestmark = pytest.mark.anyio
PEM = Path(__file__).parent / "localhost.pem"
LIMITS = ReplyLimits(minimum_bytes_per_second=10_000, window_seconds=0.3)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(2_000_000)
Outcome = Downloaded | DownloadFailed


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=PEM)


def secured(names: list[str | None]) -> ssl.SSLContext:
    """A server's context that notes the name each client asks for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    return context


async def download(server: Server, path: str = "/1.png?token=sig", cap: int = 10**8) -> Outcome:
    """From the very origin of base_url."""
    async with open_transport(
        Connection(base_url=server.url, key=ApiKey("canary-key")), concurrency=1, limits=LIMITS
    ) as transport:
        return await transport.download(f"{server.url}{path}", timeout_seconds=3, cap_bytes=cap)


def failed(outcome: Outcome) -> DownloadFailed:
    assert isinstance(outcome, DownloadFailed)
    assert "sig" not in outcome.message
    return outcome


def answering(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> Script:
    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.answer(body, status=status, headers=headers)

    return script


async def test_a_result_of_the_endpoints_own_origin_is_fetched_plainly() -> None:
    """Its bytes come as they are, whatever its Content-Type says; no key, no cookie goes along."""
    headers = "Content-Type: text/html\r\nSet-Cookie: a=b\r\n"
    with serving(answering(PNG, headers=headers)) as server:
        assert await download(server) == Downloaded(PNG)
        assert await download(server) == Downloaded(PNG)
    assert [heard.header("authorization") for heard in server.book] == [None, None]
    assert [heard.header("cookie") for heard in server.book] == [None, None]
    assert server.book[0].head.startswith("GET /1.png?token=sig HTTP/1.1")


@pytest.mark.parametrize(
    ("status", "kind", "expired", "retryable"),
    [
        (401, "expired", True, False), (403, "expired", True, False),
        (404, "expired", True, False), (410, "expired", True, False),
        (400, "bad_request", False, False), (408, "transient", False, True),
        (429, "rate", False, True), (500, "transient", False, True),
        (503, "transient", False, True), (204, "broken_reply", False, True),
        (206, "broken_reply", False, True), (304, "broken_reply", False, False),
    ],
)  # fmt: skip
async def test_what_a_status_means(status: int, kind: str, expired: bool, retryable: bool) -> None:
    """Gone means asking for the Task again; busy or broken means trying again."""
    with serving(answering(status=f"{status} X")) as server:
        outcome = failed(await download(server))
    assert (outcome.kind, outcome.expired, outcome.retryable) == (kind, expired, retryable)
    assert outcome.status == status
    assert outcome.message == f"{server.url}/1.png: the server answered {status}"


def cut(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")


def drip(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(200):
        peer.send(b"x")
        threading.Event().wait(0.02)


def endless(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        peer.send(bytes(65536))


@pytest.mark.parametrize(
    ("script", "kind", "retryable", "told"),
    [
        (cut, "network", True, "without sending complete message body"),
        (drip, "timeout", True, "too slowly"),
        (endless, "broken_reply", False, "over 1,000,000 bytes"),
        (answering(bytes(1_000_001)), "broken_reply", False, "over 1,000,000 bytes"),
        (answering(b"x", headers="Content-Encoding: br\r\n"), "broken_reply", True, "encoded"),
        (answering(), "broken_reply", True, "empty"),
    ],
)
async def test_a_bad_body_is_no_result(
    script: Script, kind: str, retryable: bool, told: str
) -> None:
    """Cut, dripping, endless, too large, encoded, empty: said, and never half a picture."""
    with serving(script) as server:
        outcome = failed(await download(server, cap=1_000_000))
    assert (outcome.kind, outcome.retryable) == (kind, retryable)
    assert told in outcome.message


async def test_three_redirects_are_followed_and_no_fourth() -> None:
    """Relative or absolute, within the endpoint's origin; without the key."""

    def script(peer: Peer) -> None:
        while True:
            hops = int(peer.read_request().head.split()[1].split("/")[1].split("?")[0])
            if not hops:
                peer.answer(PNG)
            status = ("301 X", "302 X", "303 X", "307 X", "308 X")[hops]
            peer.answer(status=status, headers=f"Location: /{hops - 1}?token=sig\r\n")

    with serving(script) as server:
        assert await download(server, "/3?token=sig") == Downloaded(PNG)
        outcome = failed(await download(server, "/4?token=sig"))
    assert outcome.message.endswith("/4: more than 3 redirects")
    assert {heard.header("authorization") for heard in server.book} == {None}


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://127.0.0.2:1/x?token=sig", "127.0.0.2, which is not a public address"),
        ("https://127.0.0.2:1/x?token=sig", "127.0.0.2, which is not a public address"),
        ("https://169.254.169.254/latest/meta-data", "not a public address"),
        ("https://[64:ff9b::a9fe:a9fe]/x", "not a public address"),
        ("https://[::ffff:10.0.0.1]/x", "not a public address"),
        ("file:///etc/passwd", "names no server"),
        ("ftp://example.com/x", "must be https"),
        ("data:image/png;base64,AAAA", "names no server"),
        ("https://[::1", "cannot be read"),
        ("https:///x", "names no server"),
        ("https://0177.0.0.2/x", "cannot be read"),
    ],
)
@pytest.mark.parametrize("redirected", [False, True])
async def test_where_no_result_may_come_from(location: str, told: str, redirected: bool) -> None:
    """Judged alike when the provider names it and when a redirect does; never connected to."""
    with serving(answering(status="302 X", headers=f"Location: {location}\r\n")) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=1
        ) as transport:
            url = f"{server.url}/1.png?token=sig" if redirected else location
            outcome = failed(await transport.download(url, timeout_seconds=3))
    assert told in outcome.message
    assert not outcome.retryable


@pytest.mark.parametrize("host", ["127.2", "0x7f.0.0.2", "2130706434", "0x7f000002"])
async def test_odd_spellings_of_addresses_are_read_as_connecting_reads_them(host: str) -> None:
    """What the resolver makes of a host is what is judged."""
    async with open_transport(
        Connection(base_url="https://a.example", key=None), concurrency=1
    ) as transport:
        outcome = failed(await transport.download(f"https://{host}/x", timeout_seconds=3))
    assert "127.0.0.2, which is not a public address" in outcome.message


async def test_one_address_that_is_not_public_refuses_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name with a public and a private address is nobody's honest mistake."""
    entries = [("93.184.216.34", 443), ("192.168.1.1", 443)]

    def resolving(host: object, *rest: object, **options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", entry) for entry in entries]

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    async with open_transport(
        Connection(base_url="https://a.example", key=None), concurrency=1
    ) as transport:
        outcome = failed(await transport.download("https://b.example/x", timeout_seconds=3))
    assert "leads to 192.168.1.1" in outcome.message


async def test_the_endpoints_own_host_may_be_private() -> None:
    """Another port of it is reached by its checked address, with its name in Host and SNI."""
    names: list[str | None] = []
    with serving(answering(PNG), tls=secured(names)) as files:
        connection = Connection(base_url="http://localhost:1", key=ApiKey("canary-key"))
        async with open_transport(connection, concurrency=1, ssl_context=trusting()) as transport:
            outcome = await transport.download(f"{files.url}/1.png", timeout_seconds=3)
    assert outcome == Downloaded(PNG)
    assert names == ["localhost"]
    assert files.book[0].header("host") == f"localhost:{files.port}"
    assert files.book[0].header("authorization") is None


class Rerouted(httpx.AsyncBaseTransport):
    """Stands for the Internet: every address leads to a local server, and is noted."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self.unreachable: set[str] = set()
        self._port = port
        self._slots = SlotTransport(keep=1, ssl_context=trusting)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host)
        if request.url.host in self.unreachable:
            raise httpx.ConnectError("no route")
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await self._slots.handle_async_request(request)

    async def aclose(self) -> None:
        await self._slots.aclose()


def resolving(*answers: list[str]) -> Callable[[str, int], object]:
    """A resolver that says something else each time it is asked."""
    permits = iter(answers)

    async def resolver(host: str, port: int) -> tuple[Address, ...]:
        return tuple(map(ipaddress.ip_address, next(permits)))

    return resolver


async def fetched(
    abroad: Rerouted, url: str, resolver: object, *, fake_ip: bool = False
) -> Outcome:
    fetcher = Fetcher(
        home=abroad, abroad=abroad, origins=frozenset(), headers=(), limits=LIMITS,
        base=httpx.URL("https://a.example/v1/"), resolver=resolver,  # type: ignore[arg-type]
        fake_ip=fake_ip,
    )  # fmt: skip
    outcome = await fetcher.download(url, timeout_seconds=3, cap_bytes=10**8)
    await abroad.aclose()
    return outcome


@pytest.mark.parametrize("address", ["198.18.0.7", "198.19.255.255", "64:ff9b::5db8:d822"])
@pytest.mark.parametrize("fake_ip", [True, False])
async def test_a_fake_address_is_gone_to_where_the_manifest_says_so(
    address: str, fake_ip: bool
) -> None:
    """Clash's fake-ip and NAT64 stand for public addresses; the message names the setting."""
    with serving(answering(PNG), tls=secured([])) as server:
        abroad = Rerouted(server.port)
        url = "https://results.example.com/a.png"
        outcome = await fetched(abroad, url, resolving([address]), fake_ip=fake_ip)
    if fake_ip:
        assert outcome == Downloaded(PNG)
        return
    assert "`provider: {fake_ip: true}`" in failed(outcome).message
    assert abroad.asked == []


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("198.18.0.7", "198.18.0.7"),
        ("[64:ff9b::5db8:d822]", "64:ff9b::5db8:d822"),
        ("name.example.com", "64:ff9b::7f00:1"),  # loopback behind NAT64
        ("name.example.com", "64:ff9b::a9fe:a9fe"),  # a cloud's metadata behind NAT64
        ("name.example.com", "10.0.0.1"),
        ("name.example.com", "127.0.0.1"),
    ],
)
async def test_fake_ip_opens_nothing_else(host: str, address: str) -> None:
    """A literal address is refused as ever, and so is what is private behind NAT64."""
    abroad = Rerouted(1)
    outcome = await fetched(abroad, f"https://{host}/a.png", resolving([address]), fake_ip=True)
    assert "not a public address" in failed(outcome).message
    assert abroad.asked == []


async def test_a_name_is_resolved_once_and_held_to() -> None:
    """The connection goes to the address that was judged; Host, SNI and certificate to the name."""
    names: list[str | None] = []
    with serving(answering(PNG), tls=secured(names)) as server:
        abroad = Rerouted(server.port)
        outcome = await fetched(
            abroad,
            "https://results.example.com/a%2Fb.png?e=1&token=x:y%3D",
            resolving(["93.184.216.34"], ["127.0.0.1"]),
        )
    assert outcome == Downloaded(PNG)
    assert abroad.asked == ["93.184.216.34"]
    assert names == ["results.example.com"]
    assert server.book[0].header("host") == "results.example.com"
    assert server.book[0].head.startswith("GET /a%2Fb.png?e=1&token=x:y%3D HTTP/1.1")


async def test_the_next_address_is_tried_where_one_cannot_be_reached() -> None:
    """IPv6 without a route is common; all addresses were judged beforehand."""
    with serving(answering(PNG), tls=secured([])) as server:
        abroad = Rerouted(server.port)
        abroad.unreachable = {"2606:4700::1111"}
        outcome = await fetched(
            abroad, "https://results.example.com/x", resolving(["2606:4700::1111", "1.1.1.1"])
        )
    assert outcome == Downloaded(PNG)
    assert abroad.asked == ["2606:4700::1111", "1.1.1.1"]


async def test_a_redirect_abroad_is_resolved_and_judged_anew() -> None:
    """A public name may redirect to a private one; it is not followed there."""
    with serving(
        answering(status="302 X", headers="Location: https://inner.example/x\r\n"),
        tls=secured([]),
    ) as server:
        abroad = Rerouted(server.port)
        outcome = await fetched(
            abroad, "https://results.example.com/x", resolving(["1.1.1.1"], ["10.0.0.1"])
        )
    assert "leads to 10.0.0.1" in failed(outcome).message
    assert abroad.asked == ["1.1.1.1"]


async def test_a_certificate_for_another_name_is_refused() -> None:
    """Pinning an address takes nothing from TLS: the name must be proven."""
    with serving(answering(PNG), tls=secured([])) as server:
        outcome = await fetched(
            Rerouted(server.port), "https://other.example.com/x", resolving(["1.1.1.1"])
        )
    assert "ertificate" in failed(outcome).message
    assert server.book == []
