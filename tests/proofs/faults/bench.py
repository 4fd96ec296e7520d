"""One Job over real sockets to a provider that breaks off, and the client-side faults."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retouch.job import Job, Picture, Prompt, Source
from retouch.manifest import Limits, Poll
from retouch.transport import ApiKey, Connection, ReplyLimits, Transport, open_transport
from tests.proofs.faults.provider import BreakingProvider
from tests.support.provider import Provider
from tests.support.raw_server import Server, serving
from tests.support.workbench import CANARY, Bench, TestLane, lane

PEM = Path(__file__).parents[2] / "transport/localhost.pem"
LARGE_BYTES = 12_000_000  # in base64 beyond what the kernels' buffers take in


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the tests' own certificate."""
    return ssl.create_default_context(cafile=str(PEM))


def certified() -> ssl.SSLContext:
    """A server's context with the tests' own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


@dataclass(slots=True)
class SocketBench(Bench):
    """A Bench whose transport goes over the network, to `base_url` (and the others)."""

    base_url: str = ""
    fallback_urls: tuple[str, ...] = ()
    reply_seconds: float = 30.0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Transport]:
        limits = ReplyLimits(minimum_bytes_per_second=10_000, window_seconds=self.reply_seconds)
        async with open_transport(
            Connection(
                base_url=self.base_url, fallback_urls=self.fallback_urls, key=ApiKey(CANARY)
            ),
            concurrency=4,
            limits=limits,
            ssl_context=trusting() if self.base_url.startswith("https") else None,
        ) as transport:
            yield transport


def lane_of(model: str, large: Path | None = None, file: Picture | None = None) -> TestLane:
    """One Job, over `file` if given; with `large` its body holds such a file and fills every buffer
    on the way."""
    limits, poll = Limits(concurrency=2), Poll(interval=0.05, timeout=30.0)
    made = lane(model, 1, limits=limits, poll=poll, file=file)
    if large is None:
        return made
    data = bytes(LARGE_BYTES)
    large.write_bytes(data)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    picture = Picture(digest, file=str(large), media_type="image/png", bytes=len(data))
    job = Job(
        model=model,
        prompt=Prompt("white", "make it white"),
        source=Source("large.png", picture),
        output="images/large-{index}",
    )
    return TestLane(made.model, made.capabilities, (job,))


@dataclass(slots=True)
class Names:
    """Stands for the resolver: `localhost` is where the server listens, unless a fault strikes."""

    provider: BreakingProvider | None = None
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: Any, port: Any, *rest: Any, **options: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        self.asked.append(name)
        if name == "localhost" and self.provider is not None:
            if self.provider.takes_strike("resolving"):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            if self.provider.takes_strike("connecting"):
                name = "127.0.0.2"  # loopback all of it, and nobody listens there
        address = "127.0.0.1" if name == "localhost" else name
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0)))]


@contextmanager
def listening(provider: BreakingProvider) -> Iterator[Server]:
    """The provider on a port; it then knows its own origin."""
    with serving(provider.script) as server:
        scheme = "https" if provider.tls else "http"
        provider.origin = f"{scheme}://localhost:{server.port}"
        yield server


NO_PROVIDER = Provider()
