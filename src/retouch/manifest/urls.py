"""The provider's address: checked, and brought to one form, which has its version in it.

One rule for the manifest and for the transport: `base_url` and `unfit_in_the_clear`. Messages
never repeat what a URL may hide.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from retouch.text import is_host, is_loopback_name, is_private_name

_VERSION = re.compile(r"/v[0-9]+[a-z0-9.]*(?:/|$)", re.ASCII | re.IGNORECASE)
_ENDPOINTS = re.compile(r"/(?:images/(?:edits|generations|tasks)|models|queue|chat)(?:/.*)?$")


class UnfitURL(ValueError):
    """An address that must not be used; the message is one clause, `remedy` what to write."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def base_url(text: str) -> str:
    """The address as `https://host[:port]/v1`, or with another path that has its version in it.

    Raises UnfitURL. `/v1beta`, `/api/v3` and `/v1beta/openai` are versions too (Gemini, Ark):
    nothing is added to them. Source: PROTOCOL §1 (some pages give the base with `/v1`, some
    without), BAD-INPUT row 40.
    """
    example = "write it like https://api.qnaigc.com/v1"
    parts, port = _parts(text, example)
    if parts.scheme not in ("http", "https"):
        raise UnfitURL("does not begin with https://", example)
    if "@" in parts.netloc:
        raise UnfitURL(
            "holds credentials; nothing was sent",
            "remove what stands before the @, and put the key into the variable that "
            "`api_key_env` names",
        )
    host = parts.hostname or ""
    if not is_host(host):
        raise UnfitURL("names no host", example)
    if parts.query or parts.fragment:
        raise UnfitURL("has a query or fragment", f"end it after the path; {example}")
    return _in_one_form(parts, host, port)


def unfit_in_the_clear(base: str, *, with_key: bool) -> UnfitURL | None:
    """Why nothing is sent to an address (in `base_url`'s form); None where it may be.

    http is for this machine; without a key for a private network too, named by its address or by
    a name without dots: pictures do not cross the internet unencrypted (DETAILS, "OpenAI").
    """
    parts = urlsplit(base)
    host = parts.hostname or ""
    if parts.scheme != "http" or is_loopback_name(host):
        return None
    if with_key:
        return UnfitURL(
            "is http to another machine: the key would travel unencrypted, and is not sent",
            "write https:// (http is for this machine; with `api_key_env: null`, which sends no "
            "key, for a private network)",
        )
    if not is_private_name(host):
        return UnfitURL(
            "is http to a public host: pictures would travel unencrypted; nothing is sent",
            "write https:// (http is for this machine or a private network)",
        )
    return None


def hook_url(text: str) -> str:
    """An address that notices are posted to, as it stands. Raises UnfitURL.

    It may hold a secret in path and query, so no message repeats it.
    """
    example = "write it like https://hooks.example.com/a/b"
    parts, _ = _parts(text, example)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not is_host(host):
        raise UnfitURL("is no http URL with a host", example)
    if "@" in parts.netloc or parts.fragment:
        raise UnfitURL("holds credentials before the host, or a fragment", example)
    if parts.scheme == "http" and not (is_loopback_name(host) or is_private_name(host)):
        raise UnfitURL(
            "is http to another network: what a run costs would travel unencrypted",
            "write https:// (http is for this machine and private addresses)",
        )
    return text


def _parts(text: str, example: str) -> tuple[SplitResult, int | None]:
    """An address and its port; raises UnfitURL for what no URL can be."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UnfitURL("is no URL", example) from None
    if any(ord(character) <= 32 or ord(character) == 127 for character in text):
        raise UnfitURL("holds a blank or a control character", example)
    return parts, port


def _in_one_form(parts: SplitResult, host: str, port: int | None) -> str:
    path = re.sub(r"/+", "/", parts.path).rstrip("/")
    if _ENDPOINTS.search(path):
        raise UnfitURL("is the address of a call, not the base", "end it after /v1")
    shown = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    place = shown if port in (None, default) else f"{shown}:{port}"
    version = "" if _VERSION.search(path) else "/v1"
    return f"{parts.scheme}://{place}{path}{version}"
