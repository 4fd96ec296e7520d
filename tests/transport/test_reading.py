"""Replies as the world sends them: late, encoded, with heads that are not quite heads (CASES B6,
B8, B11, B15). All of them are paid for, so all of them are read."""

from __future__ import annotations

import gzip
import time
import zlib

import pytest

from retouch.dialects.base import Exchange, Request
from retouch.transport import (
    Connection,
    Downloaded,
    DownloadFailed,
    ReplyLimits,
    open_transport,
)
from retouch.transport.wire import mend_head
from tests.proofs.faults.bench import certified, trusting
from tests.support.raw_server import Peer, Server, serving

pytestmark = pytest.mark.anyio

BODY = b'{"data": [{"b64_json": "' + b"QUJD" * 4000 + b'"}]}'
LIMITS = ReplyLimits(cap_bytes=300_000, minimum_bytes_per_second=10_000, window_seconds=0.3)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


async def posted(server: Server, seconds: float = 5.0, limits: ReplyLimits = LIMITS) -> Exchange:
    async with open_transport(
        Connection(base_url=server.url, key=None), concurrency=1, limits=limits
    ) as transport:
        request = Request("POST", f"{server.url}/v1/images/edits", body=(b"{}",))
        return await transport.exchange(request, {}, timeout_seconds=seconds)


def sending(*parts: bytes | float, head: bytes = b"") -> object:
    """A script that reads the request and sends these, sleeping where a number stands."""

    def script(peer: Peer) -> None:
        peer.read_request()
        for part in parts:
            if isinstance(part, float):
                time.sleep(part)
            else:
                peer.send(part)

    return script


def head_of(length: int, *lines: bytes) -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (fields, length)


@pytest.mark.parametrize(
    "parts",
    [
        (head_of(len(BODY)), 1.2, BODY),
        (head_of(len(BODY) + 5), b" ", 0.3, b"\n", 0.3, b"\r\n", 0.3, b"\t", 0.3, BODY),
    ],
    ids=["nothing", "white space"],
)
async def test_a_head_at_once_and_the_body_much_later(parts: tuple[bytes | float, ...]) -> None:
    """B6: a gateway keeps the connection alive while the model works; the minimum rate counts
    from the first byte that is no white space."""
    with serving(sending(*parts)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is not None, seen.error
    assert seen.reply.body.strip() == BODY


async def test_from_the_first_byte_on_a_body_must_come() -> None:
    """B6: what has begun and drips is still too slow."""
    drip = [b"x", 0.1] * 10
    with serving(sending(head_of(9000), *drip)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is None
    assert "too slowly" in seen.error


async def test_the_deadline_of_the_whole_exchange_stands() -> None:
    """A head and nothing after it ends at the timeout."""
    with serving(sending(head_of(9000), 4.0)) as server:  # type: ignore[arg-type]
        seen = await posted(server, seconds=0.8)
    assert seen.reply is None
    assert seen.error_kind == "timeout"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, tuple[bytes | float, ...]] = {
    "no last chunk": (CHUNKED, b"%x\r\n%s\r\n" % (len(BODY), BODY)),
    "a length that is too long": (head_of(len(BODY) + 7), BODY),
    "and the connection stays": (head_of(len(BODY) + 7), BODY, 3.0),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_document_that_is_whole_is_a_reply_though_its_transfer_never_ends(
    name: str,
) -> None:
    """B, from public reports ("incomplete chunked read", its JSON whole): paid for, so read."""
    with serving(sending(*ENDLESS[name])) as server:  # type: ignore[arg-type]
        seen = await posted(server, seconds=1.0)
    assert seen.reply is not None, seen.error
    assert seen.reply.body == BODY


@pytest.mark.parametrize("cut", [1, 5, len(BODY) - 1])
async def test_a_document_that_was_cut_is_none(cut: int) -> None:
    """Whatever is missing: no reply, and what came is kept."""
    with serving(sending(head_of(len(BODY)), BODY[:-cut])) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is None
    assert seen.sent_whole
    assert seen.partial == BODY[:-cut]


async def test_a_refusal_is_never_completed() -> None:
    """An error's JSON whose transfer broke off says nothing for sure."""
    refusal = b'{"error":{"message":"overloaded"}}'
    head = b"HTTP/1.1 503 Busy\r\nContent-Length: 99\r\n\r\n"
    with serving(sending(head, refusal)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is None
    assert seen.status == 503


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


ENCODINGS: dict[str, tuple[bytes, bytes]] = {
    "gzip": (b"gzip", gzip.compress(BODY, mtime=0)),
    "x-gzip": (b"X-GZIP", gzip.compress(BODY, mtime=0)),
    "deflate": (b"deflate", zlib.compress(BODY)),
    "deflate, bare": (b"deflate", raw_deflate(BODY)),
    "a charset": (b"UTF-8", BODY),
    "identity": (b"identity", BODY),
    "none": (b"none", BODY),
    "two": (b"utf-8, gzip", gzip.compress(BODY, mtime=0)),
    "gzip, decoded on the way": (b"gzip", BODY),
    "deflate, decoded on the way": (b"deflate", BODY),
}


@pytest.mark.parametrize("name", ENCODINGS)
async def test_an_encoding_that_nobody_asked_for_is_undone(name: str) -> None:
    """B8: `identity` was asked for; what comes is paid for."""
    coding, data = ENCODINGS[name]
    whole = head_of(len(data), b"Content-Encoding: " + coding) + data
    with serving(sending(whole)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is not None, seen.error
    assert seen.reply.body == BODY


@pytest.mark.parametrize(
    ("coding", "data", "told"),
    [
        (b"gzip", gzip.compress(bytes(400_000), mtime=0), "over 300,000 bytes"),
        (b"gzip", gzip.compress(BODY, mtime=0)[:-9], "was cut"),
        (b"gzip", gzip.compress(BODY, mtime=0)[:40] + b"x" * 40, "cannot be decoded"),
        (b"br", b"\x0b\x02", "encoded (br), unasked"),
    ],
    ids=["a bomb", "cut", "broken", "another coding"],
)
async def test_what_cannot_be_undone_is_kept_as_it_came(
    coding: bytes, data: bytes, told: str
) -> None:
    """B8: under the byte cap, a bomb stays shut; the raw bytes go to quarantine."""
    whole = head_of(len(data), b"Content-Encoding: " + coding) + data
    with serving(sending(whole)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is None
    assert told in seen.error
    assert seen.partial == data


BAD_LINES = (
    b"this line has no colon",
    b"Cache Control: x",
    b"X-Odd : y",
    b"X-Nul: a\0b",
    b"<!-- debug -->",
)


@pytest.mark.parametrize("line", BAD_LINES)
async def test_a_line_that_is_no_header_is_read_past(line: bytes) -> None:
    """B15: the body after it is whole and paid for."""
    with serving(sending(head_of(len(BODY), line, b"X-Fine: z") + BODY)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is not None, seen.error
    assert seen.reply.body == BODY
    assert seen.reply.headers["x-fine"] == "z"


async def test_a_bad_line_in_pieces_after_an_interim_reply() -> None:
    """B15: a head may come byte by byte, and 103 before it."""
    hints = b"HTTP/1.1 103 Early Hints\r\nno colon here\r\n\r\n"
    head = head_of(len(BODY), b"nor here")
    pieces = [hints + head[:9], 0.05, head[9:40], 0.05, head[40:] + BODY]
    with serving(sending(*pieces)) as server:  # type: ignore[arg-type]
        seen = await posted(server)
    assert seen.reply is not None, seen.error
    assert seen.reply.body == BODY


async def test_whoever_writes_such_heads_gets_no_second_request_on_that_connection() -> None:
    """A mended reply's end is not trusted: the next request has a connection of its own."""

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.send(head_of(2, b"no colon") + b"{}")

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=1
        ) as transport:
            request = Request("POST", f"{server.url}/v1/x", body=(b"{}",))
            for _ in range(2):
                assert (await transport.exchange(request, {}, timeout_seconds=5)).reply
        assert server.connections == 2


def test_a_sound_head_is_left_as_it_is() -> None:
    """Byte for byte, folded lines, bare newlines and empty values too."""
    for head in (
        b"HTTP/1.1 200 OK\r\nA: b\r\nC:\r\nX: one\r\n two\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\n\n",
        b"HTTP/1.1 204 \r\n\r\n",
    ):
        assert mend_head(head) is head


@pytest.mark.parametrize("link", ["/files/1.png?token=sig", "../files/1.png"])
async def test_a_relative_result_is_the_endpoints(link: str) -> None:
    """B11: resolved against base_url, as a browser would."""

    def script(peer: Peer) -> None:
        heard = peer.read_request()
        assert heard.head.split()[1].startswith("/files/1.png")
        peer.answer(b"picture")

    with serving(script) as server:
        async with open_transport(
            Connection(base_url=server.url, key=None), concurrency=1
        ) as transport:
            got = await transport.download(link, timeout_seconds=5)
    assert got == Downloaded(b"picture")


def _speaks_no_tls(peer: Peer) -> None:
    peer.connection.recv(4096)
    peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def test_an_http_result_that_https_does_not_serve_is_barred() -> None:
    """B11: asked for by https, never in the clear; what is meant by it is said."""
    with serving(_speaks_no_tls) as other, serving(sending(b"")) as base:  # type: ignore[arg-type]
        async with open_transport(
            Connection(base_url=base.url, key=None), concurrency=1
        ) as transport:
            got = await transport.download(f"{other.url}/1.png?token=sig", timeout_seconds=5)
    assert isinstance(got, DownloadFailed)
    assert got.barred
    assert "it is http, and https is not served there" in got.message
    assert "sig" not in got.message
    assert not other.book


async def test_an_http_result_that_https_serves_too_is_fetched() -> None:
    """B11: most servers have both."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"picture")

    with serving(script, tls=certified()) as other, serving(script) as base:
        async with open_transport(
            Connection(base_url=f"http://localhost:{base.port}", key=None),
            concurrency=1,
            ssl_context=trusting(),
        ) as transport:
            link = f"http://localhost:{other.port}/1.png?token=sig"
            assert await transport.download(link, timeout_seconds=5) == Downloaded(b"picture")
    assert len(other.book) == 1
    assert not base.book
