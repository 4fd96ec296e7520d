"""Results and task inputs on disk, and the signed, expiring links that lead to results.

Thousands of tasks must not live in memory: bytes go to a folder, each picture once: to a temporary
one, removed when the service ends, or to a given one, for a service that is to be taken up again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, urlsplit

ACCESS_KEY = "rehearsal-access-key"


class Spool:
    """Bytes put aside on disk, by their digest. Thread-safe.

    `folder`: where, and to stay; None: a temporary one, gone with the service.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = Lock()
        self._folder = folder

    def put(self, data: bytes) -> Path:
        """Put `data` aside and say where."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="retouch-rehearsal-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            path = self._folder / hashlib.sha256(data).hexdigest()
        if not path.exists():
            part = path.with_suffix(f".{secrets.token_hex(4)}")
            part.write_bytes(data)
            part.replace(path)
        return path


@dataclass(frozen=True, slots=True)
class Link:
    """What a signed URL names: the task and the picture's index."""

    task_id: str
    index: int


class LinkBroken(Exception):
    """The URL is not one this service signed, or it has expired; the message says which."""


class Signer:
    """Makes and checks links `{root}/files/{task}/{index}.{suffix}?e={unix time}&token=...`.

    The form of the query is the provider's; the secret lives as long as the service.
    """

    def __init__(self, root: str, seconds_valid: float) -> None:
        self._root = root
        self._seconds_valid = seconds_valid
        self._secret = secrets.token_bytes(32)

    def sign(self, link: Link, suffix: str, now: float, *, expired: bool = False) -> str:
        """The URL of a picture, valid from `now` on; `expired` makes one that no longer is."""
        path = f"/files/{link.task_id}/{link.index}.{suffix}"
        expiry = int(now) - 60 if expired else int(now + self._seconds_valid)
        return f"{self._root}{path}?e={expiry}&token={self._token(path, expiry)}"

    def owns(self, url: str) -> bool:
        """Whether `url` leads to a file of this service."""
        return url.startswith(f"{self._root}/files/")

    def read(self, url: str, now: float) -> Link:
        """The Link in a URL (or its path and query); raises LinkBroken."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        expiry, token = query.get("e", [""])[0], query.get("token", [""])[0]
        if not expiry.isascii() or not expiry.isdecimal() or len(expiry) > 15:
            raise LinkBroken("bad token")
        if not hmac.compare_digest(token.encode(), self._token(parts.path, int(expiry)).encode()):
            raise LinkBroken("bad token")
        if int(expiry) < now:
            raise LinkBroken("token out of date")
        _, _, task_id, name = parts.path.split("/")
        return Link(task_id, int(name.partition(".")[0]))

    def _token(self, path: str, expiry: int) -> str:
        digest = hmac.new(self._secret, f"{path}?e={expiry}".encode(), hashlib.sha1).digest()
        return f"{ACCESS_KEY}:{base64.urlsafe_b64encode(digest).decode()}"
