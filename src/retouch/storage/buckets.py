"""Objects in buckets: listed, read whole or in part, created without clobbering, linked to.

One class over what obstore offers (S3 and its likes, GCS, Azure, folders), with three things more:
its refusals told apart (`bucket_errors`), a create whose answer was lost settled by comparing, and
bytes counted. The library is an extra and is imported when a bucket is opened, never before.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from retouch.errors import Refused
from retouch.storage.bucket_access import Access, BucketSettings, access_to
from retouch.storage.bucket_errors import Action, BucketFault, translated
from retouch.storage.bucket_store import open_store, region_by_head
from retouch.storage.bucket_url import BucketURL

T = TypeVar("T")
Say = Callable[[str], None]
Put = Literal["new", "same", "other"]

INSTALL = "`make setup EXTRAS=storage` (or: pip install 'retouch[storage]')"
PATIENCE_SECONDS = 30.0  # for one request with all its repetitions
LARGE_BYTES = 64 * 1024 * 1024  # from here on in parts, which no store creates without clobbering
LINK_SECONDS_MOST = 7 * 86_400  # S3's own limit for a presigned link
DIGEST = "sha256"  # the name of the metadata that holds an object's digest, as we put it
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Traffic:
    """What went to buckets and came from them, in bytes."""

    put_bytes: int = 0
    got_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, count: int) -> None:
        with self._lock:
            self.put_bytes += count

    def got(self, count: int) -> None:
        with self._lock:
            self.got_bytes += count


@dataclass(frozen=True, slots=True)
class Stat:
    """An object as its store tells it. `sha256` is what whoever put it says of its bytes: known
    only where the object itself was asked, and only if it was put with it."""

    url: BucketURL
    size: int
    etag: str
    version: str
    modified: datetime
    sha256: str | None = None


class Bucket:
    """One bucket. Its methods block and raise BucketFault; `put_new_soon` is for an event loop."""

    def __init__(
        self,
        url: BucketURL,
        access: Access | None,
        open_store: Callable[[Access | None], Any],
        *,
        traffic: Traffic,
        say: Say,
    ) -> None:
        self.scheme, self.name = url.scheme, url.bucket
        self.access = access
        self.traffic = traffic
        self._open = open_store
        self._store = open_store(access)
        self._obs = import_module("obstore")
        self._say = say
        self._is_redirected = False
        # OSS answers If-None-Match with NotImplemented, after which all is tried again and again.
        self._creates = access is None or not access.host.endswith(".aliyuncs.com")
        self._is_said = False
        self._lock = threading.Lock()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in no message."""
        known = self.access.credentials if self.access else None
        return known.secrets if known else ()

    # --- Reading -----------------------------------------------------------------------------

    def list(self, folder: BucketURL) -> Iterator[Stat]:
        """Every object below a folder, in no order."""

        def begin() -> tuple[Any, Any]:
            stream = iter(self._obs.list(self._store, folder.key or None, chunk_size=1000))
            return stream, next(stream, None)

        stream, chunk = self._do(begin, "list", folder)
        while chunk is not None:
            yield from (self._stat(each) for each in chunk)
            chunk = self._do(partial(next, stream, None), "list", folder)

    def stat(self, url: BucketURL) -> Stat | None:
        """The object's size and version; None where there is none."""
        try:
            found = self._do(lambda: self._obs.head(self._store, url.key), "get", url)
        except BucketFault as fault:
            if fault.why == "missing" and not self._lacks_bucket(url):
                return None
            raise self._explained(fault, url) from None
        return self._stat(found)

    def begin_of(self, url: BucketURL, length: int) -> tuple[bytes, Stat]:
        """The first `length` bytes of an object, and what it is."""
        return self._get(url, {"range": (0, length)} if length else {})

    def get(self, url: BucketURL, cap: int, *, unless: str | None = None) -> tuple[bytes, Stat]:
        """An object whole, if it has at most `cap` bytes; `unless`: the ETag it must have."""
        return self._get(url, {"if_match": unless} if unless else {}, cap)

    def _get(
        self, url: BucketURL, options: Mapping[str, object], cap: int | None = None
    ) -> tuple[bytes, Stat]:
        def get() -> tuple[bytes, Stat]:
            found = self._obs.get(self._store, url.key, options=dict(options))
            meta = found.meta
            if cap is not None and meta["size"] > cap:
                raise BucketFault(
                    f"{url}: has {meta['size']:,} bytes, larger than {cap:,} bytes",
                    why="other",
                    action="get",
                )
            told = str(found.attributes.get(DIGEST, ""))
            return bytes(found.bytes()), self._stat(meta, told if _HEX.fullmatch(told) else None)

        try:
            data, stat = self._do(get, "get", url)
        except BucketFault as fault:
            raise self._explained(fault, url) from None
        self.traffic.got(len(data))
        return data, stat

    def _stat(self, meta: Mapping[str, Any], sha256: str | None = None) -> Stat:
        return Stat(
            BucketURL(self.scheme, self.name, meta["path"]), meta["size"], meta["e_tag"] or "",
            meta["version"] or "", meta["last_modified"], sha256,
        )  # fmt: skip

    # --- Writing -----------------------------------------------------------------------------

    def put_new(self, url: BucketURL, data: bytes, sha256: str, media_type: str) -> Put:
        """Create an object. `new`, or what was there: the `same` bytes, or `other` ones, which
        stay as they are. `sha256`: 64 hex digits of `data`."""
        attributes = self._attributes(sha256, media_type)
        try:
            if len(data) >= LARGE_BYTES or not self._creates:
                return self._put_unless_there(url, data, sha256, attributes)
            self._do(
                lambda: self._obs.put(
                    self._store, url.key, data, mode="create", use_multipart=False,
                    attributes=attributes,
                ),
                "put", url,
            )  # fmt: skip
        except BucketFault as fault:
            return self._settled(fault, url, data, sha256, attributes)
        self.traffic.put(len(data))
        return "new"

    async def put_new_soon(self, url: BucketURL, data: bytes, sha256: str, media_type: str) -> Put:
        """The same from asyncio, without a thread where nothing goes wrong."""
        import anyio.to_thread  # noqa: PLC0415 - start-up: `plan` has no event loop

        if self._creates and len(data) < LARGE_BYTES:
            attributes = self._attributes(sha256, media_type)
            try:
                await self._obs.put_async(
                    self._store, url.key, data, mode="create", use_multipart=False,
                    attributes=attributes,
                )  # fmt: skip
            except Exception as error:  # the library raises its own kinds and Python's
                fault = translated(error, "put", url, self.secrets)
                settle = partial(self._settled, fault, url, data, sha256, attributes)
                return await anyio.to_thread.run_sync(settle, abandon_on_cancel=True)
            self.traffic.put(len(data))
            return "new"
        put = partial(self.put_new, url, data, sha256, media_type)
        return await anyio.to_thread.run_sync(put, abandon_on_cancel=True)

    def _settled(
        self,
        fault: BucketFault,
        url: BucketURL,
        data: bytes,
        sha256: str,
        attributes: dict[str, str] | None,
    ) -> Put:
        """What became of a create that was refused, or whose answer was lost."""
        if fault.why == "exists" or (fault.why == "changed" and self._creates):
            return "same" if self.holds(url, data, sha256) else "other"
        if fault.why == "unsupported" and self._creates:
            self._creates = False
            return self._put_unless_there(url, data, sha256, attributes)
        if fault.why == "region" and self._follow_region(fault, url):
            return self.put_new(url, data, sha256, (attributes or {}).get("Content-Type", ""))
        if fault.why == "unreachable" and (there := self._stat_or_none(url)):
            if there.size == len(data) and self.holds(url, data, sha256):
                return "same"
            return "other"
        raise self._explained(fault, url) from None

    def _stat_or_none(self, url: BucketURL) -> Stat | None:
        try:
            return self.stat(url)
        except BucketFault:
            return None

    def _put_unless_there(
        self, url: BucketURL, data: bytes, sha256: str, attributes: dict[str, str] | None
    ) -> Put:
        if not self._creates and not self._is_said:
            self._is_said = True
            self._say(
                f"{url.scheme}://{url.bucket}: the server does not know If-None-Match, so what is "
                "there is looked for before each write; of two who write one name at once the last "
                "one's bytes stay"
            )
        if self.stat(url) is not None:
            return "same" if self.holds(url, data, sha256) else "other"
        self._do(
            lambda: self._obs.put(self._store, url.key, data, attributes=attributes), "put", url
        )
        self.traffic.put(len(data))
        return "new"

    def put_over(
        self, url: BucketURL, data: bytes, media_type: str, *, etag: str | None = None
    ) -> str:
        """Write an object whatever stands there, or, with `etag`, only over that very one; "" for
        none at all. Returns its ETag; `changed`, `exists` or `unsupported` is raised as a fault."""
        mode = "overwrite" if etag is None else {"e_tag": etag} if etag else "create"
        attributes = {"Content-Type": media_type} if self.scheme != "file" else None
        done = self._do(
            lambda: self._obs.put(
                self._store, url.key, data, mode=mode, use_multipart=False, attributes=attributes
            ),
            "put", url,
        )  # fmt: skip
        self.traffic.put(len(data))
        return done["e_tag"] or ""

    def _attributes(self, sha256: str, media_type: str) -> dict[str, str] | None:
        if self.scheme == "file":
            return None
        return {"Content-Type": media_type, DIGEST: sha256}

    def holds(self, url: BucketURL, data: bytes, sha256: str) -> bool:
        """Whether the object is these bytes: by its size, then by the digest it was put with or
        its MD5, else by its own bytes."""
        _, there = self._get(url, {"head": True})  # an empty object has no first byte to ask for
        if there.size != len(data):
            return False
        if there.sha256 is not None:
            return there.sha256 == sha256
        plain = _MD5.fullmatch(there.etag)
        if plain and hashlib.md5(data, usedforsecurity=False).hexdigest() == plain[1]:
            return True
        return hashlib.sha256(self._get(url, {})[0]).hexdigest() == sha256

    # --- Links -------------------------------------------------------------------------------

    def link(self, url: BucketURL, seconds: float) -> str:
        """A link by which anybody may get the object for so long. It is a secret while it lasts."""
        lasting = timedelta(seconds=min(seconds, LINK_SECONDS_MOST))
        made = self._do(lambda: self._obs.sign(self._store, "GET", url.key, lasting), "link", url)
        return str(made)

    # --- Refusals ----------------------------------------------------------------------------

    def _do(self, call: Callable[[], T], action: Action, url: BucketURL) -> T:
        """What `call` returns; from the bucket's own region, where it was asked in another one."""
        try:
            return call()
        except BucketFault:
            raise
        except Exception as error:  # the library raises its own kinds and Python's
            fault = translated(error, action, url, self.secrets)
        if fault.why == "region" and self._follow_region(fault, url):
            try:
                return call()
            except Exception as error:
                fault = translated(error, action, url, self.secrets)
        raise fault

    def _explained(self, fault: BucketFault, url: BucketURL) -> BucketFault:
        """The fault as the body of a reply tells it: a HEAD has none, so that a missing bucket
        looks like a missing object there, and a wrong key like a right that lacks."""
        if fault.why not in ("missing", "denied"):
            return fault
        try:
            self._obs.get(self._store, url.key or "-", options={"range": (0, 1)})
        except Exception as error:
            told = translated(error, fault.action, url, self.secrets)
            return told if told.why not in ("missing", "denied") else fault
        return fault

    def _lacks_bucket(self, url: BucketURL) -> bool:
        fault = BucketFault("", why="missing", action="get")
        return self._explained(fault, url).why == "bucket"

    def _follow_region(self, fault: BucketFault, url: BucketURL) -> bool:
        """Ask in the bucket's own region from now on, once; whether that is known."""
        with self._lock:
            if self._is_redirected or self.access is None:
                return self._is_redirected and self.access is not None and not fault.region
            region = fault.region or region_by_head(self.access, self.name)
            if not region or region == self.access.region:
                return False
            self._is_redirected = True
            before = self.access.region
            self.access = Access(
                None if self.access.host.endswith(".amazonaws.com") else self.access.endpoint,
                region, self.access.in_host, self.access.credentials, self.access.is_anonymous,
            )  # fmt: skip
            self._store = self._open(self.access)
        self._say(
            f"{url.scheme}://{url.bucket} is in region {region}, not {before}: asked there; "
            f"`storage: {{region: {region}}}` spares the detour"
        )
        return True


class Buckets:
    """The buckets a process works with, each opened when it is first named. `say` tells of what
    was found out about one."""

    def __init__(
        self,
        settings: tuple[BucketSettings, ...] = (),
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        *,
        say: Say = lambda _text: None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.traffic = Traffic()
        self._settings = settings
        self._environment = environment if environment is not None else {}
        self._home = home or Path("~").expanduser()
        self._say = say
        self._patience = patience_seconds
        self._open: dict[tuple[str, str], Bucket] = {}
        self._lock = threading.Lock()

    def at(self, url: BucketURL) -> Bucket:
        """The bucket an address is in. Raises Refused where it cannot be reached as it is set up,
        or the library is missing."""
        with self._lock:
            place = (url.scheme, url.bucket)
            if place not in self._open:
                self._open[place] = self._opened(url)
            return self._open[place]

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in no message, of all that are open."""
        with self._lock:
            return tuple(each for bucket in self._open.values() for each in bucket.secrets)

    def _opened(self, url: BucketURL) -> Bucket:
        try:
            import_module("obstore.store")
        except ImportError as error:
            raise Refused(
                f"{url}: reading and writing buckets is not installed ({error.name} is missing)",
                hint=INSTALL,
            ) from None
        access = None
        if url.scheme == "s3":
            access = access_to(url.bucket, self._settings, self._environment, self._home)
        opened = partial(open_store, url, self._patience)
        try:
            return Bucket(url, access, opened, traffic=self.traffic, say=self._say)
        except Refused:
            raise
        except Exception as error:
            raise translated(error, "get", url) from None
