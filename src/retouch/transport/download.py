"""Fetching a result: from a public address that was checked and is then held to.

The provider names these URLs, so each is judged as a stranger's: https only (or the endpoint's
very origin; what is named as http is asked for by https), a relative one is the endpoint's,
resolved once, every address public (or the endpoint's own host), Host and SNI kept while the
connection goes to the checked address. At most three redirects, each judged anew. No key and no
cookie is ever sent; signed queries stay out of messages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import anyio
import httpx

from retouch.dialects.base import ErrorKind
from retouch.storage.gathered import Gathered, Room
from retouch.text import one_clean_line, url_without_query, without_secrets
from retouch.transport.addresses import Address, is_fake, is_public, literal_address, resolve
from retouch.transport.endpoints import Origin, origin_of
from retouch.transport.faults import told
from retouch.transport.reading import Inbox, ReplyLimits, ReplyRefused, read_body
from retouch.transport.wire import LATE_SECONDS

REDIRECTS = 3
CONNECT_SECONDS = 10.0
_EXPIRED = (401, 403, 404, 410)
_REDIRECTING = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A result's bytes, whole; what they are is for their reader to find out. `gathered`: where
    they are, if that is not `data`."""

    data: bytes = field(default=b"", repr=False)
    gathered: Gathered | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DownloadFailed:
    """Why a result could not be fetched; trying again costs nothing.

    `expired`: the URL is no longer good (401, 403, 404, 410); the Task may be asked for a new
    one. `status` is None where no server answered. `retryable` is False where the same URL can
    only fail the same way. `barred`: a URL of this kind is never fetched, so every result would be
    lost alike.
    """

    kind: ErrorKind
    status: int | None
    message: str
    expired: bool = False
    retryable: bool = False
    barred: bool = False


class NotFetched(Exception):
    """A URL that may not be fetched, or whose answer is of no use."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        barred: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = DownloadFailed(kind, status, message, kind == "expired", retryable, barred)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Downloads results. `home` reaches the endpoints' own origins, `abroad` everything else;
    None there means a rehearsal in process, which never leaves this machine. `resolver` is None
    behind a proxy, where names are the proxy's to resolve. `fake_ip` lets names, never literal
    addresses, lead to where a proxy or NAT64 on this network stands for a public address."""

    home: httpx.AsyncBaseTransport
    abroad: httpx.AsyncBaseTransport | None
    origins: frozenset[Origin]
    headers: tuple[tuple[str, str], ...]
    limits: ReplyLimits
    base: httpx.URL
    secrets: tuple[str, ...] = field(default=(), repr=False)
    resolver: Callable[[str, int], Awaitable[tuple[Address, ...]]] | None = resolve
    fake_ip: bool = False

    async def download(
        self, url: str, *, timeout_seconds: float, cap_bytes: int, room: Room | None = None
    ) -> Downloaded | DownloadFailed:
        """The bytes behind `url`; raises nothing but cancellation."""
        shown = _shown(url)
        deadline = anyio.current_time() + timeout_seconds
        late_seconds = 0.0 if self.abroad is None else LATE_SECONDS
        try:
            with anyio.CancelScope(deadline=deadline + late_seconds):
                gathered = await self._follow(url, cap_bytes, deadline, room)
                if room is not None:
                    return Downloaded(gathered=gathered)
                return Downloaded(bytes(gathered.data()))
        except NotFetched as failed:
            failure = failed.failure
        except Exception as error:
            if anyio.current_time() < deadline:
                failure = DownloadFailed("network", None, told(error), retryable=True)
            else:
                failure = _too_late(timeout_seconds)
        else:
            failure = _too_late(timeout_seconds)
        message = without_secrets(f"{shown}: {failure.message}", self.secrets)
        return replace(failure, message=one_clean_line(message))

    async def _follow(
        self, text: str, cap_bytes: int, deadline: float, room: Room | None
    ) -> Gathered:
        url = _parsed(text, self.base)
        for _ in range(REDIRECTS + 1):
            response = await self._open_safely(url, deadline)
            try:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTING or not location:
                    return await self._read(response, cap_bytes, room)
                url = _parsed(location, url)
            finally:
                await response.aclose()
        raise NotFetched("broken_reply", f"more than {REDIRECTS} redirects")

    async def open(self, url: httpx.URL, deadline: float) -> httpx.Response:
        """The reply's head, from where `url` may be fetched; raises NotFetched where it may not."""
        if origin_of(url) in self.origins:
            return await self.home.handle_async_request(self._request(url, deadline))
        if url.scheme != "https":
            raise NotFetched(
                "broken_reply", "a result's URL must be https; not fetched", barred=True
            )
        if self.abroad is None:
            raise NotFetched(
                "broken_reply", "a rehearsal does not leave this machine; not fetched", barred=True
            )
        addresses = await self._checked_addresses(url)
        if not addresses:
            return await self.abroad.handle_async_request(self._request(url, deadline))
        for address in addresses[:-1]:
            try:
                return await self.abroad.handle_async_request(self._request(url, deadline, address))
            except Exception:  # noqa: S112 - the next address may answer; the last one's error is told
                continue
        return await self.abroad.handle_async_request(self._request(url, deadline, addresses[-1]))

    async def _open_safely(self, url: httpx.URL, deadline: float) -> httpx.Response:
        """As `open`; a stranger's http URL is asked for by https, which most servers have too."""
        if url.scheme != "http" or origin_of(url) in self.origins:
            return await self.open(url, deadline)
        try:
            return await self.open(url.copy_with(scheme="https", port=url.port), deadline)
        except NotFetched:
            raise
        except Exception as error:
            if anyio.current_time() >= deadline:
                raise
            raise NotFetched(
                "broken_reply",
                "a result's URL must be https; it is http, and https is not served there "
                f"({told(error)}); not fetched",
                barred=True,
            ) from None

    async def _checked_addresses(self, url: httpx.URL) -> tuple[Address, ...]:
        """The addresses that may be connected to; none where a proxy is to resolve the name."""
        host = url.raw_host.decode()
        own_host = url.host in {own for _, own, _ in self.origins}
        addresses: tuple[Address, ...]
        if self.resolver is None:
            literal = literal_address(host)
            addresses = () if literal is None else (literal,)
        else:
            addresses = await self.resolver(host, url.port or 443)
        is_name = literal_address(host) is None
        for address in addresses:
            is_allowed = is_public(address) or (self.fake_ip and is_name and is_fake(address))
            if not own_host and not is_allowed:
                hint = ""
                if is_name and is_fake(address):
                    hint = "; if a proxy's fake-ip or NAT64 does that here: "
                    hint += "`provider: {fake_ip: true}`"
                raise NotFetched(
                    "broken_reply",
                    f"the result's URL leads to {address}, which is not a public address;"
                    f" not fetched{hint}",
                    barred=True,
                )
        return addresses

    def _request(
        self, url: httpx.URL, deadline: float, address: Address | None = None
    ) -> httpx.Request:
        host = url.netloc.decode()
        timeout = {"connect": CONNECT_SECONDS, "read": self.limits.window_seconds}
        extensions: dict[str, object] = {"timeout": timeout, "deadline": deadline}
        if address is not None:
            if literal_address(url.host) is None:
                extensions["sni_hostname"] = url.raw_host.decode().rstrip(".")
            url = url.copy_with(host=str(address))
        headers = [("Host", host), *self.headers]
        return httpx.Request(
            "GET", url, headers=headers, stream=httpx.ByteStream(b""), extensions=extensions
        )

    async def _read(self, response: httpx.Response, cap_bytes: int, room: Room | None) -> Gathered:
        status = response.status_code
        if status != 200:
            raise _refused_by_server(status)
        inbox = Inbox(room, is_document=False)
        limits = ReplyLimits(
            cap_bytes, self.limits.minimum_bytes_per_second, self.limits.window_seconds
        )
        try:
            await read_body(response, inbox, limits)
        except ReplyRefused as refused:
            raise NotFetched(
                refused.kind, str(refused), status=status, retryable=refused.may_pass
            ) from None
        if not inbox.size:
            raise NotFetched("broken_reply", "the reply is empty", status=status, retryable=True)
        return inbox.gathered


def _too_late(seconds: float) -> DownloadFailed:
    return DownloadFailed("timeout", None, f"not whole within {seconds:g} s", retryable=True)


def _refused_by_server(status: int) -> NotFetched:
    kind: ErrorKind = "bad_request"
    if status in _EXPIRED:
        kind = "expired"
    elif status == 429:
        kind = "rate"
    elif status == 408 or status >= 500:
        kind = "transient"
    elif status < 400:
        kind = "broken_reply"
    return NotFetched(
        kind,
        f"the server answered {status}",
        status=status,
        # A 204 or 206 to a plain GET comes from something between the server and here.
        retryable=kind in ("rate", "transient") or 200 < status < 300,
    )


def _parsed(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError):
        raise NotFetched("broken_reply", "the result's URL cannot be read") from None
    if not url.host:
        raise NotFetched("broken_reply", "the result's URL names no server; not fetched")
    return url


def _shown(url: str) -> str:
    try:
        return url_without_query(url)
    except ValueError:  # urlsplit refuses some brackets
        return "a result's URL"
