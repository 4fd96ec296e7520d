"""Where the provider is: base URLs checked and brought to one form before the key meets them."""

from __future__ import annotations

import httpx

from retouch.dialects.base import Endpoint
from retouch.errors import Refused
from retouch.manifest.urls import UnfitURL, base_url, unfit_in_the_clear
from retouch.text import url_without_query

Origin = tuple[str, str, int]
_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Scheme, host and port, the port spelled out: what "the same server" means."""
    return (url.scheme, url.host.rstrip("."), url.port or _PORTS.get(url.scheme, 0))


def endpoint_of(text: str) -> Endpoint:
    """A base URL as an Endpoint, in the manifest's one form. Raises Refused for what is none."""
    try:
        return Endpoint(base_url(text.strip()))
    except UnfitURL as unfit:
        raise _refused(text, unfit) from None


def refuse_plain_http(endpoint: Endpoint, *, with_key: bool = True) -> None:
    """Raises Refused where a key, or pictures bound for the internet, would go in the clear."""
    unfit = unfit_in_the_clear(endpoint.base, with_key=with_key)
    if unfit is not None:
        raise _refused(endpoint.base, unfit)


def _refused(text: str, unfit: UnfitURL) -> Refused:
    shown = url_without_query(text) if "://" in text else text.rpartition("@")[2]
    return Refused(f"base_url {shown!r} {unfit.what}", hint=unfit.remedy)
