"""Where input pictures come from: the request itself, `--map` folders, and the service's files.

Nothing is ever fetched from the network; from this machine only where that is allowed.
"""

from __future__ import annotations

import binascii
import http.client
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pybase64

from .orders import Reference
from .refusal import Refusal, bad_request

PICTURE_BYTES_MAX = 50 * 1024 * 1024
_DATA_URI = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w=.+-]+)*?);base64,", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Reads References to bytes; `own_file` answers URLs of the service itself, else None."""

    url_map: Mapping[str, Path]
    own_file: Callable[[str], bytes | None]
    fetches_loopback: bool = False

    def read(self, reference: Reference) -> bytes:
        """The picture's bytes; a 400 that says why not."""
        value = reference.value
        if reference.path is not None:
            return reference.path.read_bytes()
        if isinstance(value, bytes):
            data = value
        elif value.lower().startswith(("http://", "https://")):
            data = self._from_url(value, reference.name)
        elif reference.url_only:
            raise bad_request(f"{reference.name}: must be a public URL", param=reference.name)
        else:
            data = _from_base64(value, reference)
        if len(data) > PICTURE_BYTES_MAX:
            raise _too_large(reference.name, len(data))
        return data

    def _from_url(self, url: str, name: str) -> bytes:
        own = self.own_file(url)
        if own is not None:
            return own
        for prefix, target in self.url_map.items():
            path = _mapped(url, prefix, target)
            if path is not None:
                return _file_bytes(path, name)
        if self.fetches_loopback and _is_here(url):
            return _fetched(url, name)
        raise bad_request(
            f"{name}: the URL cannot be fetched; the rehearsal service reads no network, "
            "only its own files and folders given with --map URL=DIR",
            param=name,
        )


def _is_here(url: str) -> bool:
    """Whether a URL leads to this machine, by an address and no name."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _fetched(url: str, name: str) -> bytes:
    """What a server on this machine answers, redirects not followed; a 400 if that is no picture's
    bytes."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}".rstrip("?"))
        reply = connection.getresponse()
        if reply.status != 200:
            raise bad_request(f"{name}: the URL answers {reply.status}", param=name)
        return reply.read(PICTURE_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        kind = type(error).__name__
        raise bad_request(f"{name}: the URL cannot be fetched: {kind}", param=name) from error
    finally:
        connection.close()


def _mapped(url: str, prefix: str, target: Path) -> Path | None:
    """The file `url` stands for under one mapping; None if it is not under it."""
    plain = url.partition("#")[0].partition("?")[0]
    if target.is_file():
        return target if plain == prefix.partition("?")[0] else None
    start = prefix.rstrip("/") + "/"
    if not plain.startswith(start):
        return None
    root = target.resolve()
    path = (root / unquote(plain[len(start) :]).lstrip("/").replace("\0", "")).resolve()
    return path if path.is_relative_to(root) else None


def _file_bytes(path: Path, name: str) -> bytes:
    try:
        if not path.is_file():
            raise bad_request(f"{name}: the mapped file cannot be read: no such file", param=name)
        if path.stat().st_size > PICTURE_BYTES_MAX:
            raise _too_large(name, path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise bad_request(
            f"{name}: the mapped file cannot be read: {error.strerror}", param=name
        ) from error


def _too_large(name: str, size: int) -> Refusal:
    return bad_request(f"{name}: {size:,} bytes; at most {PICTURE_BYTES_MAX:,}", param=name)


def _from_base64(value: str, reference: Reference) -> bytes:
    name = reference.name
    match = _DATA_URI.match(value[:200])
    if match is None and not reference.raw_base64:
        raise bad_request(
            f"{name}: neither a data URI (data:image/png;base64,...) nor a URL", param=name
        )
    try:
        encoded = memoryview(value.encode("ascii"))
        return pybase64.b64decode(encoded[match.end() if match else 0 :], validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise bad_request(f"{name}: broken base64: {error}", param=name) from error
