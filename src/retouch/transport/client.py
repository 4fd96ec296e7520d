"""The Transport: one request out and its reply back, with what is known of both.

An exchange never raises for what the network or the server does: its Exchange says how many body
bytes were handed over and what came back. One deadline covers all of it. The key is added here,
for the endpoints' own origins alone, and cut from every message.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

import anyio
import httpcore
import httpx

from retouch.dialects.base import Endpoint, Exchange, Reply, Request
from retouch.storage.gathered import Room
from retouch.text import one_clean_line, without_secrets
from retouch.transport.addresses import resolve
from retouch.transport.body import Body, BreakKind, Pictures, Sending
from retouch.transport.certificates import trusted
from retouch.transport.credentials import ApiKey
from retouch.transport.download import Downloaded, DownloadFailed, Fetcher, NotFetched
from retouch.transport.endpoints import Origin, endpoint_of, origin_of, refuse_plain_http
from retouch.transport.faults import advice, is_distrusted, told
from retouch.transport.proxies import Proxies, unused_proxy
from retouch.transport.reading import (
    Inbox,
    ReplyLimits,
    ReplyRefused,
    is_whole_document,
    read_body,
)
from retouch.transport.slots import SlotTransport
from retouch.transport.wire import LATE_SECONDS

DOWNLOAD_CAP_BYTES = 256 * 1024 * 1024
_OURS = {
    "authorization",
    "host",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "cookie",
}
_HEADERS = (
    ("User-Agent", f"retouch/{version('retouch')}"),
    ("Accept-Encoding", "identity"),
)


@dataclass(frozen=True, slots=True)
class Transport:
    """Speaks to the endpoints; open it with `open_transport`."""

    endpoints: tuple[Endpoint, ...]
    limits: ReplyLimits
    _key: ApiKey | None
    _http: httpx.AsyncBaseTransport
    _origins: frozenset[Origin]
    _fetcher: Fetcher
    _late_seconds: float
    _unused_proxy: str

    async def exchange(
        self,
        request: Request,
        pictures: Pictures,
        *,
        timeout_seconds: float,
        sending: Sending | None = None,
        room: Room | None = None,
    ) -> Exchange:
        """Sends `request` and reads its reply, all within `timeout_seconds`.

        Raises what reading a picture raises (before connecting), and cancellation; `sending`
        then still says how far the request got. A POST is sent once; nothing is followed. With
        `room` the reply's pictures are held aside, and `pictures` (a dict) are let go when sent.
        """
        sending = Sending() if sending is None else sending
        body = Body(request, pictures, sending, room)
        inbox = Inbox(room)
        broken: tuple[BreakKind, str]
        distrusted = False
        deadline = anyio.current_time() + timeout_seconds
        try:
            # A wire keeps the deadline itself, and may read on after it.
            with anyio.CancelScope(deadline=deadline + self._late_seconds):
                return await self._converse(request, body, sending, inbox, deadline)
        except ReplyRefused as refused:
            broken = refused.kind, str(refused)
        except NotFetched as failed:
            broken = "broken_reply", str(failed)
        except Exception as error:
            kind, distrusted = _break_kind(error, sending), is_distrusted(error)
            if kind != "timeout" or anyio.current_time() < deadline:
                cause = f"{told(error)}{advice(error, sending.connected, self._unused_proxy)}"
                broken = kind, f"{_place(request, sending, inbox)} ({cause})"
            else:
                broken = _too_late(request, sending, inbox, timeout_seconds)
        else:
            broken = _too_late(request, sending, inbox, timeout_seconds)
        return replace(self._broken_off(*broken, sending, inbox), is_distrusted=distrusted)

    async def download(
        self,
        url: str,
        *,
        timeout_seconds: float,
        cap_bytes: int = DOWNLOAD_CAP_BYTES,
        room: Room | None = None,
    ) -> Downloaded | DownloadFailed:
        """A result's bytes, fetched under the rules of `retouch.transport.download`."""
        return await self._fetcher.download(
            url, timeout_seconds=timeout_seconds, cap_bytes=cap_bytes, room=room
        )

    def scrubbed(self, text: str) -> str:
        """`text` without the key and without the queries of URLs."""
        return without_secrets(text, self._key.secrets if self._key else ())

    async def _converse(
        self, request: Request, body: Body, sending: Sending, inbox: Inbox, deadline: float
    ) -> Exchange:
        url = _parsed(request.url)
        if origin_of(url) in self._origins:
            wired = self._wired(request, url, body, deadline)
            response = await self._http.handle_async_request(wired)
        elif request.method == "GET":  # a status URL that the server named: it gets no key
            response = await self._fetcher.open(url, deadline)
        else:
            raise ReplyRefused("network", f"{request.url} is no endpoint: nothing is posted there")
        try:
            sending.connected = True
            sending.status = response.status_code
            try:
                await read_body(response, inbox, self.limits)
            except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
                if not is_whole_document(response, inbox):
                    raise
        finally:
            await response.aclose()
        headers = dict(response.headers.items())
        reply = Reply(response.status_code, headers, inbox.document(), inbox.aside)
        return replace(sending.broken_off(None, ""), reply=reply)

    def _wired(
        self, request: Request, url: httpx.URL, body: Body, deadline: float
    ) -> httpx.Request:
        headers = [("Host", url.netloc.decode()), *_HEADERS]
        headers += [pair for pair in request.headers if pair[0].lower() not in _OURS]
        if request.method == "POST":
            headers.append(("Content-Length", str(body.sending.body_bytes)))
        if request.authorized and self._key is not None:
            headers.append(("Authorization", self._key.authorization))
        if request.variant and isinstance(self._http, httpx.ASGITransport):
            headers.append(("X-Rehearsal-Variant", str(request.variant)))
        return httpx.Request(
            request.method, url, headers=headers, stream=body, extensions={"deadline": deadline}
        )

    def _broken_off(
        self, kind: BreakKind, message: str, sending: Sending, inbox: Inbox
    ) -> Exchange:
        paid = sending.status is not None and 200 <= sending.status < 300
        partial = inbox.document() if paid else b""
        for secret in self._key.secrets if self._key else ():
            partial = partial.replace(secret.encode(), b"[secret]")
        broken_off = sending.broken_off(kind, one_clean_line(self.scrubbed(message)), partial)
        return replace(broken_off, aside=inbox.aside if paid else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Who answers, and how they are reached.

    `fallback_urls`: tried in turn. `app`: an ASGI application that answers in place of the network
    (the rehearsal); nothing then leaves this machine. `trust_env`: proxies and SSL_CERT_FILE from
    the environment. `fake_ip`: see Fetcher. `encoding`: how the dialect writes bodies ("": its
    default).
    """

    base_url: str
    key: ApiKey | None
    fallback_urls: tuple[str, ...] = ()
    app: Callable[..., Any] | None = None
    trust_env: bool = False
    fake_ip: bool = False
    encoding: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every spelling of the key, to be cut from all that is written."""
        return self.key.secrets if self.key else ()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The base URL and its fallbacks. Raises Refused for one that is none, or that the key may
        not be sent to."""
        urls = (self.base_url, *self.fallback_urls)
        endpoints = tuple(replace(endpoint_of(url), encoding=self.encoding) for url in urls)
        if self.app is None:
            for endpoint in endpoints:
                refuse_plain_http(endpoint, with_key=self.key is not None)
        return endpoints


@asynccontextmanager
async def open_transport(
    connection: Connection,
    *,
    concurrency: int,
    connections: int | None = None,
    limits: ReplyLimits = ReplyLimits(),  # noqa: B008 - frozen
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Transport]:
    """A Transport over `connection`, closed at the end.

    `concurrency`: how many idle connections an origin are kept at most. `connections`: how many
    may be open at once; None: as many as asked for. Raises Refused as Connection.endpoints does;
    InputRefused for a proxy that cannot be used.
    """
    for name in ("httpx", "httpcore"):  # below WARNING they log URLs and headers
        logging.getLogger(name).setLevel(logging.WARNING)

    @cache
    def context() -> ssl.SSLContext:
        return ssl_context or trusted(trust_env=connection.trust_env)

    endpoints = connection.endpoints()
    is_proxied = connection.trust_env and connection.app is None
    proxies = Proxies.from_environment() if is_proxied else None
    abroad = SlotTransport(keep=concurrency, ssl_context=context, proxies=proxies, most=connections)
    try:
        yield _over(abroad, connection, endpoints, limits, is_proxied=proxies is not None)
    finally:
        await abroad.aclose()


def _over(
    abroad: SlotTransport,
    connection: Connection,
    endpoints: tuple[Endpoint, ...],
    limits: ReplyLimits,
    *,
    is_proxied: bool,
) -> Transport:
    """The Transport that speaks over `abroad`, or to the application in its place."""
    app = connection.app
    home: httpx.AsyncBaseTransport = abroad if app is None else httpx.ASGITransport(app)
    origins = frozenset(origin_of(httpx.URL(endpoint.base)) for endpoint in endpoints)
    fetcher = Fetcher(
        home=home,
        abroad=abroad if app is None else None,
        origins=origins,
        headers=_HEADERS,
        limits=limits,
        base=httpx.URL(endpoints[0].base + "/"),
        secrets=connection.secrets,
        resolver=None if is_proxied else resolve,
        fake_ip=connection.fake_ip,
    )
    late_seconds = LATE_SECONDS if app is None else 0.0
    unused = "" if connection.trust_env else unused_proxy()
    return Transport(
        endpoints, limits, connection.key, home, origins, fetcher, late_seconds, unused
    )


@lru_cache(maxsize=1024)
def _parsed(url: str) -> httpx.URL:
    """One URL takes every submit of a lane, and a Task's is asked again and again."""
    return httpx.URL(url)


def _place(request: Request, sending: Sending, inbox: Inbox) -> str:
    """How far it came, as a sentence that a cause or a time may follow."""
    if sending.status is not None:
        return f"the reply ({sending.status}) broke off after {inbox.size:,} bytes"
    if not sending.connected:
        return f"no connection to {httpx.URL(request.url).host} was made"
    if sending.sent_bytes < sending.body_bytes:
        return f"only {sending.sent_bytes:,} of {sending.body_bytes:,} bytes were sent"
    return "all was sent, no answer came" if sending.body_bytes else "no answer came"


def _too_late(
    request: Request, sending: Sending, inbox: Inbox, timeout_seconds: float
) -> tuple[BreakKind, str]:
    return "timeout", f"{_place(request, sending, inbox)} within {timeout_seconds:g} s"


def _break_kind(error: Exception, sending: Sending) -> BreakKind:
    if isinstance(error, TimeoutError | httpcore.TimeoutException | httpx.TimeoutException):
        return "timeout"
    malformed = isinstance(error, httpcore.RemoteProtocolError) and error.__cause__ is not None
    return "broken_reply" if malformed or sending.status is not None else "network"
