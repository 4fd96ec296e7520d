"""URLs of pictures: fetched by the provider, never by us; checked for what cannot be meant."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
URL_CHARACTERS = 8000


def is_url(reference: str) -> bool:
    """Whether a reference is meant as a URL of any scheme (`C:` is a drive, not a scheme)."""
    return "://" in reference[:40] or (
        _SCHEME.match(reference) is not None and reference[:5].lower() == "data:"
    )


def unfit_url(url: str) -> str:
    """Why a URL cannot be given to a provider, as a clause; empty if it can."""
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        return "holds a blank or a control character"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme.lower() not in ("http", "https"):
        return "is no http or https URL"
    if not host:
        return "names no host"
    if "@" in parts.netloc:
        return "holds credentials, which would be sent to the provider"
    if len(url) > URL_CHARACTERS:
        return f"is longer than {URL_CHARACTERS:,} characters"
    return ""
