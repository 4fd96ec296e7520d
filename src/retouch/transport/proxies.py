"""Proxies from the environment, used only where the manifest says `trust_env: true`.

This machine itself is never reached by a proxy: the key would cross the network to the proxy in
the clear. What a variable holds is in no message, for it may hold a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.request import getproxies, proxy_bypass

import httpx

from retouch.errors import InputRefused
from retouch.text import is_loopback_name

_SCHEMES = ("http", "https", "socks5", "socks5h")


class Proxies:
    """Which proxy a URL goes by. Raises InputRefused for a variable that names none."""

    def __init__(self, by_scheme: Mapping[str, httpx.Proxy]) -> None:
        self._by_scheme = by_scheme

    def __bool__(self) -> bool:
        return bool(self._by_scheme)

    @classmethod
    def from_environment(cls) -> Proxies:
        """Those of HTTP_PROXY and HTTPS_PROXY; ALL_PROXY stands for both."""
        found = getproxies()
        by_scheme = {}
        for scheme in ("http", "https"):
            named = scheme if found.get(scheme) else "all"
            if found.get(named):
                by_scheme[scheme] = _proxy(found[named], _variable(f"{named}_proxy"))
        return cls(by_scheme)

    def of(self, scheme: str, host: str) -> httpx.Proxy | None:
        """The proxy for a host (with its port, if one is spelled out); None: straight there."""
        proxy = self._by_scheme.get(scheme)
        name = httpx.URL(f"{scheme}://{host}").host
        if proxy is None or is_loopback_name(name) or proxy_bypass(host):
            return None
        return proxy


def unused_proxy() -> str:
    """The name of a variable that names a proxy; "" where there is none."""
    found = getproxies()
    named = next((name for name in ("https", "all", "http") if found.get(name)), "")
    return named and _variable(f"{named}_proxy")


def _variable(name: str) -> str:
    """The variable as it is spelled: small letters stand before capitals."""
    spelled = [each for each in os.environ if each.lower() == name and os.environ[each]]
    return max(spelled, default=name.upper())


def _proxy(url: str, variable: str) -> httpx.Proxy:
    scheme, separator, rest = url.strip().partition("://")
    hint = "write it like http://127.0.0.1:7890 or socks5://127.0.0.1:1080"
    if not separator:
        raise InputRefused(f"{variable} names a proxy without http:// before it", hint=hint)
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise InputRefused(f"{variable} names a kind of proxy that is not spoken to", hint=hint)
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise InputRefused(
            f"{variable} names a SOCKS proxy, which needs the extra `socks`",
            hint="make setup EXTRAS=socks, or pip install 'retouch[socks]'",
        )
    try:
        proxy = httpx.Proxy(f"{scheme}://{rest}")
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise InputRefused(f"{variable} holds no URL", hint=hint) from None
    if not proxy.url.host:
        raise InputRefused(f"{variable} names no server", hint=hint)
    return proxy
