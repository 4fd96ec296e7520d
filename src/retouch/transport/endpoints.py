"""Where the provider is: base URLs checked and brought to one form before the key meets them."""

from __future__ import annotations

import httpx

from retouch.dialects.base import Endpoint
from retouch.errors import Refused
from retouch.manifest.urls import with_version
from retouch.text import url_without_query
from retouch.transport.addresses import is_loopback_name, is_private_name

Origin = tuple[str, str, int]
_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Scheme, host and port, the port spelled out: what "the same server" means."""
    return (url.scheme, url.host.rstrip("."), url.port or _PORTS.get(url.scheme, 0))


def endpoint_of(base_url: str) -> Endpoint:
    """`base_url` as an Endpoint: no slash at its end, `/v1` added where no version is.

    Raises Refused for what is no http(s) URL or holds a user, a query or a fragment.
    """
    shown = url_without_query(base_url) if "://" in base_url else base_url.rpartition("@")[2]
    hint = "write it like https://api.qnaigc.com/v1"
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, UnicodeError):
        raise Refused(f"base_url {shown!r} is no URL", hint=hint) from None
    if url.scheme not in _PORTS or not url.host:
        raise Refused(f"base_url {shown!r} is not an http or https URL", hint=hint)
    if url.userinfo:
        raise Refused(f"base_url {shown!r} holds a user or password; use the API key", hint=hint)
    if url.query or url.fragment:
        raise Refused(f"base_url {shown!r} holds a query or a fragment", hint=hint)
    return Endpoint(with_version(str(url)))


def refuse_plain_http(endpoint: Endpoint, *, with_key: bool = True) -> None:
    """Raises Refused where a key, or pictures bound for the internet, would go in the clear.

    http is for this machine; without a key for a private network too, named by its address or
    by a name without dots (DETAILS, "OpenAI").
    """
    url = httpx.URL(endpoint.base)
    if url.scheme != "http" or is_loopback_name(url.host):
        return
    secure = f"write https://{url.netloc.decode()}{url.path}"
    if with_key:
        raise Refused(
            f"base_url {endpoint.base!r} is plain http: the API key is not sent there",
            hint=f"{secure}; http is for this machine alone (without a key for a private network)",
        )
    if not is_private_name(url.host):
        raise Refused(
            f"base_url {endpoint.base!r} is plain http to a public host: nothing is sent there",
            hint=f"{secure}; http is for this machine or a private network",
        )
