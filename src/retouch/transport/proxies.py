"""Proxies from the environment, used only where the manifest says `trust_env: true`."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.request import getproxies, proxy_bypass

import httpx


class ProxiedTransport(httpx.AsyncBaseTransport):
    """Sends each request by the proxy named for its scheme, or directly where there is none.

    httpx's own pool serves the proxies: it is slower, and knows how to tunnel.
    """

    def __init__(
        self,
        direct: httpx.AsyncBaseTransport,
        proxies: dict[str, str],
        ssl_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._direct = direct
        limits = httpx.Limits(max_connections=None, keepalive_expiry=4.0)
        self._by_scheme = {
            scheme: httpx.AsyncHTTPTransport(proxy=proxy, verify=ssl_context(), limits=limits)
            for scheme, proxy in proxies.items()
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.headers.get("host", request.url.host)
        proxy = self._by_scheme.get(request.url.scheme)
        if proxy is None or proxy_bypass(host):
            return await self._direct.handle_async_request(request)
        return await proxy.handle_async_request(request)

    async def aclose(self) -> None:
        await self._direct.aclose()
        for proxy in self._by_scheme.values():
            await proxy.aclose()


def proxies_from_environment() -> dict[str, str]:
    """Proxy URLs by scheme (`http`, `https`); `all` stands for both."""
    found = getproxies()
    everything = found.get("all")
    proxies = {scheme: found.get(scheme, everything) for scheme in ("http", "https")}
    return {scheme: proxy for scheme, proxy in proxies.items() if proxy}
