"""From a result to kept pictures: decoded or downloaded, checked by their bytes, written whole.

A picture that cannot be had is a problem to be said, never a reason to submit again: the work is
paid for. What was downloaded and is no picture is kept in quarantine; where it was harmed on its
way (a page of a proxy's, a picture cut short) it is fetched again, for that is free.
"""

from __future__ import annotations

import binascii
import hashlib
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import anyio
import pybase64

from retouch.dialects.base import Aside, EncodedPicture, LinkedPicture, Produced
from retouch.engine.mirror import Mirror
from retouch.engine.outputs import Outputs
from retouch.engine.pacing import backoff_seconds
from retouch.job import Job
from retouch.ledger.records import FileRecord
from retouch.pictures import called, shape, sniff
from retouch.storage.descriptors import when_free
from retouch.storage.gathered import Gathered, Room
from retouch.threads import Threads
from retouch.transport import Downloaded, DownloadFailed, Transport, held

Download = Callable[[str], Awaitable[Downloaded | DownloadFailed]]
FETCHES = 2
SEEN_BYTES = 4096  # of what is no picture, to tell what it is
TRIES_AT_LEAST = 2  # a download that hangs takes its whole timeout
PAUSE_AT_LEAST_SECONDS = 0.2
PAUSE_AT_MOST_SECONDS = 15.0
_NONE = "is not a whole PNG, JPEG, WEBP, GIF or SVG"
_BLANKS = re.compile(r"\s+|%0A|%0D|%20|\\[nr]", re.IGNORECASE)
_STANDARD = str.maketrans("-_", "+/")
_TEXTS = ("an HTML page", "an XML document", "JSON text", "plain text")


@dataclass(frozen=True, slots=True)
class Received:
    """What was kept of a result, what was wrong with the rest, and how a download failed: an
    expired one before others, for the Task may be asked for a new URL. `warnings` tell of damage
    that touches no pixel."""

    files: tuple[FileRecord, ...]
    problems: tuple[str, ...]
    failed: DownloadFailed | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether there was something, and all of it could be kept."""
        return bool(self.files) and not self.problems


async def patient_download(
    transport: Transport,
    url: str,
    *,
    timeout_seconds: float,
    chance: random.Random,
    wall_clock: Callable[[], datetime],
    room: Room | None = None,
) -> Downloaded | DownloadFailed:
    """A result's bytes; a download is free, so what may pass is tried again until the timeout.

    A URL that is "not found" may only not be there yet, unless it says itself that it has expired.
    """
    began = anyio.current_time()
    tried = 0
    while True:
        got = await transport.download(url, timeout_seconds=timeout_seconds, room=room)
        tried += 1
        if isinstance(got, Downloaded) or not _may_come(got, url, wall_clock()):
            return got
        pause = max(PAUSE_AT_LEAST_SECONDS, backoff_seconds(tried, chance))
        pause = min(pause, PAUSE_AT_MOST_SECONDS)
        is_over = anyio.current_time() - began + pause >= timeout_seconds
        if is_over and tried >= TRIES_AT_LEAST:
            return got
        await anyio.sleep(pause)


def _may_come(failed: DownloadFailed, url: str, now: datetime) -> bool:
    """Whether the same URL may yet give the picture."""
    if failed.retryable:
        return True
    ends = expiry_of(url)
    return failed.status == 404 and (ends is None or ends > now)


def expiry_of(url: str) -> datetime | None:
    """When a signed URL expires, as it says itself: a Unix time, or an age from a date."""
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
        for name in ("e", "expires", "x-oss-expires-at"):
            if query.get(name, "").isdecimal():
                return datetime.fromtimestamp(int(query[name]), UTC)
        for brand in ("amz", "goog", "oss", "tos"):
            begins, age = query.get(f"x-{brand}-date", ""), query.get(f"x-{brand}-expires", "")
            if begins and age.isdecimal():
                signed = datetime.strptime(begins, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return signed + timedelta(seconds=int(age))
        if "se" in query:  # Azure
            ends = datetime.fromisoformat(query["se"])
            return ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


async def receive(
    job: Job,
    attempt: int,
    produced: Produced,
    *,
    outputs: Outputs,
    download: Download,
    threads: Threads,
    mirror: Mirror | None = None,
    aside: tuple[Aside, ...] = (),
    large: anyio.Lock | None = None,
) -> Received:
    """Keep every picture of a result, and copy it to the mirror. Raises StorageFailed.

    `aside`: what the reply's document leaves out. `large`: held for a picture that went to disk as
    it came, while it is looked through.
    """
    files: list[FileRecord] = []
    problems: list[str] = []
    failed: DownloadFailed | None = None
    warnings: list[str] = []
    pictures = produced.pictures[: job.images_wanted]
    if len(pictures) < len(produced.pictures):
        came = f"{len(produced.pictures)} pictures came, {job.images_wanted} were asked for"
        problems.append(f"{came}: the others were not kept")
    for index, picture in enumerate(pictures):
        one = _One(job, attempt, index, outputs, aside, large or anyio.Lock())
        got = await _kept(picture, one, download, threads)
        if isinstance(got, _Kept):
            files.append(got.file)
            if mirror is not None:
                await mirror.put(got.file, bytes(got.gathered.data()))
            warnings += [f"picture {index}: {warning}" for warning in one.warnings]
        elif isinstance(got, DownloadFailed):
            failed = failed if failed is not None and failed.expired else got
            problems.append(f"picture {index}: {got.message} (URL {_digest(picture)})")
        else:
            problems.append(f"picture {index} {got}")
    return Received(tuple(files), tuple(problems), failed, tuple(warnings))


async def _kept(
    picture: EncodedPicture | LinkedPicture, one: _One, download: Download, threads: Threads
) -> _Kept | DownloadFailed | str:
    """The picture kept; or how its download failed; or what is wrong with it."""
    if isinstance(picture, EncodedPicture):
        decoded = _decoded(picture, one.aside)
        if decoded is None:
            return "is not base64"
        file = await one.kept(decoded, threads)
        return _NONE if file is None else _Kept(file, decoded)
    head = b""
    for _ in range(FETCHES):
        got = await download(picture.url)
        if isinstance(got, DownloadFailed):
            return got
        came = got.gathered or Gathered(got.data)
        file = await one.kept(came, threads)
        if file is not None:
            return _Kept(file, came)
        head = await one.put_aside(came, threads)
        if not _was_harmed(head):
            return _NONE
    return DownloadFailed("broken_reply", 200, f"what comes is {called(head)}, or cut short")


def _decoded(picture: EncodedPicture, aside: tuple[Aside, ...]) -> Gathered | None:
    """The picture's bytes; None where its base64 is broken.

    It is paid for, so any spelling is read: line ends, blanks, the URL-safe alphabet, without
    padding. What it is, is judged by the picture.
    """
    string = held(picture.base64, aside)
    if string is not None:
        return string.decoded
    try:
        return Gathered(pybase64.b64decode(picture.base64, validate=True))
    except (binascii.Error, ValueError):
        pass
    try:
        text = _BLANKS.sub("", picture.base64).translate(_STANDARD).rstrip("=")
        return Gathered(pybase64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


def _digest(picture: EncodedPicture | LinkedPicture) -> str:
    """What tells a URL again without holding its signature."""
    url = picture.url if isinstance(picture, LinkedPicture) else ""
    return f"sha256:{hashlib.sha256(url.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _was_harmed(data: bytes) -> bool:
    """Whether what is no whole picture may have been one: it begins like one, or is a text."""
    return sniff(data) is not None or called(data) in _TEXTS


@dataclass(frozen=True, slots=True)
class _Kept:
    """A picture that is durable here, and its bytes."""

    file: FileRecord
    gathered: Gathered = field(repr=False)


@dataclass(frozen=True, slots=True)
class _One:
    """The place of one picture of a result."""

    job: Job
    attempt: int
    index: int
    outputs: Outputs
    aside: tuple[Aside, ...]
    large: anyio.Lock
    warnings: list[str] = field(default_factory=list)

    async def kept(self, came: Gathered, threads: Threads) -> FileRecord | None:
        """Store it; None if it is no whole picture."""
        async with self.large if came.part is not None else nullcontext():
            return await threads(partial(self._keep, came))

    def _keep(self, came: Gathered) -> FileRecord | None:
        data = came.data()
        found = shape(data)
        if found is None:
            return None
        self.warnings.extend(found.warnings)
        place = self.job.output_path(self.index)
        facts = (found.media_type, found.width, found.height)
        return when_free(lambda: self.outputs.keep(place, data, *facts, part=came.part))

    async def put_aside(self, came: Gathered, threads: Threads) -> bytes:
        """Keep what is no picture in quarantine; its beginning, to tell what it is."""
        async with self.large if came.part is not None else nullcontext():
            return await threads(partial(self._quarantine, came))

    def _quarantine(self, came: Gathered) -> bytes:
        data = bytes(came.data())
        name = f"{self.job.key}-{self.attempt}-{self.index}"
        when_free(lambda: self.outputs.quarantine(name, data))
        return data[:SEEN_BYTES]
