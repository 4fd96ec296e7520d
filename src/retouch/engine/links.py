"""Links to local pictures, for models that take only URLs: put into a bucket once, signed anew for
each request.

What is put is named by its digest. A link is a secret while it lasts: it is handed to the request
that needs it, and stands in no record, log or key. The first one of a run is tried before anything
that costs is sent, as whoever has it would: without credentials.
"""

from __future__ import annotations

import hashlib
import http.client
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from retouch.errors import Refused, WorkRefused
from retouch.job import Picture
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import BucketURL
from retouch.storage.buckets import Bucket
from retouch.text import is_loopback_name

PROBE_SECONDS = 20.0
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_CONVERTED = "image/png"  # what a transform writes


class Links(Protocol):
    """Makes links to pictures."""

    async def of(self, picture: Picture, data: bytes) -> str:
        """A link to these bytes, which are the picture's as sent. Raises Refused where none can be
        had as things are set up, WorkRefused where it may be had later."""
        ...


def media_type_of(picture: Picture) -> str:
    """What the bytes are, as sent."""
    return _CONVERTED if picture.transforms else picture.media_type or _CONVERTED


@dataclass
class BucketLinks:
    """Presigned links into a bucket's folder, each good for `seconds`."""

    bucket: Bucket
    folder: BucketURL
    seconds: float
    allow_loopback: bool = False
    _there: set[str] = field(default_factory=set)
    _is_tried: bool = False
    _trying: anyio.Lock = field(default_factory=anyio.Lock)

    async def of(self, picture: Picture, data: bytes) -> str:
        media_type = media_type_of(picture)
        digest = hashlib.sha256(data).hexdigest()
        place = self.folder / f"{digest}{SUFFIXES.get(media_type, '')}"
        try:
            if place.key not in self._there:
                put = await self.bucket.put_new_soon(place, data, digest, media_type)
                if put == "other":
                    raise Refused(
                        f"publish: {place}: holds other bytes than its name says, and keeps them",
                        hint="somebody else wrote there: move it away, or publish elsewhere",
                    )
                self._there.add(place.key)
            link = self.bucket.link(place, self.seconds)
            if not self._is_tried:
                await self._try(place, link)
        except BucketFault as fault:
            message = f"publish: {fault.message}"
            kind = WorkRefused if fault.may_pass else Refused
            raise kind(message, hint=fault.hint) from None
        return link

    async def _try(self, place: BucketURL, link: str) -> None:
        """Get one byte by the first link of all, as its reader will. (S3 signs the method: a HEAD
        by a link to GET is refused.)"""
        async with self._trying:
            if self._is_tried:
                return
            if not self.allow_loopback:
                refuse_unreachable(link)
            why = await anyio.to_thread.run_sync(partial(probe, link))
            if why:
                raise Refused(
                    f"publish: a link to {place} gives no picture: {why}; nothing was sent",
                    hint="the credentials need s3:GetObject there, and the endpoint must be one "
                    "that the provider reaches",
                )
            self._is_tried = True


@dataclass
class RehearsedLinks:
    """Links that the rehearsal service itself answers: files in a folder below `root`."""

    folder: Path
    root: str

    async def of(self, picture: Picture, data: bytes) -> str:
        name = f"{hashlib.sha256(data).hexdigest()}{SUFFIXES.get(media_type_of(picture), '')}"
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
        return f"{self.root}/{name}"


def refuse_unreachable(link: str) -> None:
    """Raises Refused for a link that leads to this machine or a private network."""
    host = str(urlsplit(link).hostname)
    try:
        is_private = not ip_address(host).is_global
    except ValueError:
        is_private = is_loopback_name(host)
    if is_private:
        raise Refused(
            f"publish: its links would lead to {host}, which no provider can reach; nothing was "
            "sent",
            hint="publish to a bucket with a public endpoint; for a provider on this machine write "
            "`publish: {allow_loopback: true}`",
        )


def probe(link: str) -> str:
    """Why a link gives no picture, without the link; "" if it does. Blocks."""
    parts = urlsplit(link)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=PROBE_SECONDS)
    try:
        target = f"{parts.path}?{parts.query}"
        connection.request("GET", target, headers={"Range": "bytes=0-0", "Accept": "image/*"})
        reply = connection.getresponse()
        reply.read(1)
        media_type = reply.headers.get("content-type", "")
    except (OSError, http.client.HTTPException) as error:
        return f"{parts.hostname} does not answer ({type(error).__name__})"
    finally:
        connection.close()
    if reply.status not in (200, 206):
        return f"{parts.hostname} answers {reply.status}"
    return "" if media_type.startswith("image/") else f"it is told as {media_type or 'nothing'}"
