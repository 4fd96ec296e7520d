"""The copy of an outputs folder in a bucket: pictures as they are kept, the ledger in parts.

A mirror never ends a run and never fails a Job: what it could not take is counted and left to
`catch_up`. Everything in it is created and never written over, but for what changes here too
(report, marks, the manifest as run). Below the mirror's address:

    images/...                    as in the outputs folder
    ledger/ledger.jsonl/000...    the ledger's bytes from there on, a part each; read in order they
                                  are the ledger
    lease/ledger.jsonl.json       who goes on from here
    (a shard's ledger alike, under its own name: who has it leaves others' alone)
    report/..., manifest.yaml, plan.json, prompts.jsonl, review.jsonl, mirror.json
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import msgspec

from retouch.errors import Refused, RetouchError
from retouch.ledger.records import FileRecord
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_lease import BEAT_SECONDS, BucketLease
from retouch.storage.bucket_url import BucketURL
from retouch.storage.buckets import Bucket, Stat
from retouch.storage.durable import keep_first, replace_whole
from retouch.storage.part import WHOLE
from retouch.text import how_many

AT_ONCE = 16  # copies in flight when nothing else is done
PUT_SECONDS = 45.0  # seconds for one picture in a run; then the picture is left for later
END_SECONDS = 15.0  # seconds a run's end waits for a mirror that is down
PAUSE_SECONDS, PAUSE_AT_MOST_SECONDS = 1.0, 30.0  # between two tries of a mirror that is down
PART_SECONDS = 30.0  # how much of a ledger may be missing in the mirror while a run goes on
SMALL = ("manifest.yaml", "plan.json", "prompts.jsonl", "review.jsonl")
ABOUT = "mirror.json"
TOKEN = ".mirror"  # noqa: S105 - of the folder, not of a person
READ_CAP_BYTES = 512 * 1024 * 1024
LOOK_BYTES = 8 * 1024 * 1024  # of a ledger's end that are looked through at once

Say = Callable[[str], None]


class About(msgspec.Struct, frozen=True):
    """What `mirror.json` says: which manifest's outputs these are."""

    name: str
    v: int = 1


@dataclass(slots=True)
class Copied:
    """What copying came to. `other`: names under which the mirror holds other bytes."""

    put: int = 0
    left: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    compared: int = 0
    fault: BucketFault | None = None


class Mirror:
    """One outputs folder's mirror, with one part of its ledger. Methods without `async` block."""

    def __init__(
        self,
        bucket: Bucket,
        url: BucketURL,
        folder: Path,
        *,
        say: Say,
        ledger: str = WHOLE.ledger,
    ) -> None:
        self.url = url
        self.copied = Copied()
        self.say = say
        self._bucket = bucket
        self._folder = folder
        self._ledger = ledger
        self._lease = BucketLease(bucket, url / f"lease/{self._ledger}.json", _token_of(folder))
        self._is_held = self._was_held = False
        self._sent = 0  # bytes of the ledger that are there
        self._is_off = False
        self._is_abandoned = False
        self._pause = PAUSE_SECONDS
        self._down_until = 0.0
        self._running: set[anyio.CancelScope] = set()

    def abandon(self) -> None:
        """The ledger here is this run's no more: nothing of it is copied, and the lease is left."""
        self._is_abandoned = True

    # --- Beginning ---------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """Have the lease, and see that the ledger here is not behind the one there.

        Raises Refused where another machine goes on, or has gone on, from this mirror; BucketFault
        where the bucket cannot be written.
        """
        taken = self._lease.take(over=False)
        if taken.left_by is not None:
            raise Refused(
                f"{self.url}: the last run from this mirror did not end ({taken.left_by.said}), "
                "and what it sent last may not be in the ledger here; nothing was sent",
                hint=f"run again there; or `retouch fetch {self.url} --to {self._folder.parent}` "
                "goes on here, and holds what may have been sent",
            )
        self._was_held = True
        try:
            self._sent = self._compared()
        except Refused:
            self._lease.release()
            raise
        self._is_held = True
        about = msgspec.json.encode(About(name))
        self._bucket.put_over(self.url / ABOUT, about, "application/json")

    def take_over(self) -> str | None:
        """Have the lease to bring here what is there; who left it without an end, if somebody did.
        Raises Refused while another machine goes on from there, BucketFault."""
        left_by = self._lease.take().left_by
        self._is_held = True
        return None if left_by is None else left_by.said

    def let_go(self) -> None:
        """The end was not reached: the lease is released if nothing is missing there."""
        try:
            if self._is_held and self._sent >= _size(self._folder / self._ledger):
                self._lease.release()
        except (BucketFault, Refused):
            return  # it is this folder's own, and the next run knows it

    def _compared(self) -> int:
        """How many bytes of the ledger here are there already. Raises Refused for another one."""
        parts = ledger_parts(self._bucket, self.url).get(self._ledger)
        if not parts:
            return 0
        last = parts[-1]
        end = last.begin + last.stat.size
        here = _span(self._folder / self._ledger, last.begin, end)
        if here == self._bucket.get(last.stat.url, READ_CAP_BYTES)[0]:
            return end
        raise Refused(
            f"{self.url}: the ledger there is not the beginning of the one here: another machine "
            "has gone on from this mirror; nothing was sent",
            hint=f"`retouch fetch {self.url} --to {self._folder.parent}` brings it here, if "
            "nothing was sent here since; else mirror to a folder of its own",
        )

    # --- While a run goes on -----------------------------------------------------------------

    async def put(self, file: FileRecord, data: bytes) -> None:
        """Copy a picture that is kept here; what hinders it is counted, and raises nothing."""
        if self._is_off or anyio.current_time() < self._down_until:
            self.copied.left.append(file.path)
            return
        is_put = False
        with anyio.move_on_after(PUT_SECONDS) as scope:
            self._running.add(scope)
            try:
                put = self._bucket.put_new_soon
                self._note(file.path, await put(self.url / file.path, data, file.sha256,
                                                file.media_type))  # fmt: skip
                is_put = True
                self._pause = PAUSE_SECONDS
            except BucketFault as fault:
                self._hindered(fault)
            finally:
                self._running.discard(scope)
        if not is_put:
            self.copied.left.append(file.path)

    async def copy(self, files: Iterable[FileRecord]) -> None:
        """Copy pictures that were kept here before."""
        for file in files:
            path = self._folder / file.path
            try:
                data = await anyio.to_thread.run_sync(path.read_bytes)
            except OSError:
                continue  # `verify` tells of it
            await self.put(file, data)

    def _note(self, path: str, put: Literal["new", "same", "other"]) -> None:
        self.copied.put += put == "new"
        if put == "other":
            if not self.copied.other:
                self.say(f"{self.url / path}: holds other bytes than the picture here, and keeps "
                          "them")  # fmt: skip
            self.copied.other.append(path)

    def _hindered(self, fault: BucketFault) -> None:
        """Say it, and leave the mirror alone for a while, or for good."""
        if self.copied.fault is None or not fault.may_pass:
            self.say(f"mirror: {fault.message}; pictures are kept here, and copied later")
        self.copied.fault = fault
        self._is_off = not fault.may_pass
        self._down_until = anyio.current_time() + self._pause
        self._pause = min(self._pause * 2, PAUSE_AT_MOST_SECONDS)

    def give_up(self) -> None:
        """Leave what is being copied for later: the run is to stop now."""
        self._is_off = True
        for scope in tuple(self._running):
            scope.cancel()

    async def keep_up(self, durable_bytes: Callable[[], int],
                      stop: Callable[[RetouchError], None]) -> None:  # fmt: skip
        """Renew the lease and copy the ledger's new lines, again and again, until cancelled.
        `stop` is told when another machine has the mirror."""
        since_part = 0.0
        while True:
            await anyio.sleep(BEAT_SECONDS)
            since_part += BEAT_SECONDS
            try:
                if lost := await anyio.to_thread.run_sync(self._beat, abandon_on_cancel=True):
                    stop(Refused(lost, hint="let one machine at a time go on from a mirror"))
                    return
                if since_part >= PART_SECONDS:
                    part = partial(self.put_ledger, durable_bytes())
                    await anyio.to_thread.run_sync(part)
                    since_part = 0.0
            except BucketFault:
                continue  # said where pictures meet it; the end tries again
            except Refused as error:
                stop(error)
                return

    def _left(self, said: str) -> Refused:
        return Refused(f"{self.url}: {said} left this mirror without an end")

    def _beat(self) -> str | None:
        """Who has the mirror in our place, as a sentence; None while it is ours."""
        if not self._is_held:  # it could not be had when the run began
            if left_by := self._lease.take(over=False).left_by:
                raise self._left(left_by.said)
            self._sent = self._compared()
            self._is_held = True
            return None
        taken_by = self._lease.renew()
        if taken_by is None:
            return None
        self._is_held = False
        return f"{self.url}: another run goes on from this mirror now ({taken_by.said})"

    # --- The end -----------------------------------------------------------------------------

    def put_ledger(self, end: int) -> None:
        """Copy the ledger up to `end` bytes, which are whole lines and durable. Raises BucketFault,
        and Refused where another machine's lines are there."""
        if end <= self._sent or not self._is_held:
            return
        data = _span(self._folder / self._ledger, self._sent, end)
        digest = hashlib.sha256(data).hexdigest()
        place = self.url / f"ledger/{self._ledger}/{self._sent:015d}.jsonl"
        if self._bucket.put_new(place, data, digest, "application/x-ndjson") == "other":
            there = self._compared()  # a part of ours may end earlier: the rest follows it
            if there <= self._sent:
                raise Refused(f"{place}: holds other lines: another machine goes on from there")
            self._sent = there
            self.put_ledger(end)
            return
        self._sent = end

    def finish(self, *, quick: bool, compare: bool = False) -> Copied:
        """Copy what is missing (`quick`: but for pictures), the ledger and the report, and let go
        of the lease. `compare`: what is there is held against the bytes here. What hinders it is
        in what is returned."""
        patience = time.monotonic() + END_SECONDS
        while True:
            copied = self._finished(quick=quick, compare=compare)
            is_over = quick or time.monotonic() > patience or not self._was_held
            if is_over or copied.fault is None or not copied.fault.may_pass:
                return copied
            time.sleep(PAUSE_SECONDS)

    def _finished(self, *, quick: bool, compare: bool) -> Copied:
        copied = Copied(put=self.copied.put, other=self.copied.other)
        if self._is_abandoned:
            copied.left = ["the ledger's end"]
            return copied
        try:
            if not self._is_held and (left_by := self._lease.take(over=False).left_by):
                raise self._left(left_by.said)
            if not self._is_held:
                self._sent = self._compared()
                self._is_held = True
            if not quick:
                self.catch_up(copied, compare=compare)
                self._refresh()
            self.put_ledger(_whole_lines(self._folder / self._ledger))
            self._lease.release()
        except BucketFault as fault:
            copied.fault = fault
            copied.left = copied.left or sorted(set(self.copied.left)) or ["the ledger's end"]
        except Refused as error:
            copied.fault = BucketFault(error.message, why="changed", action="put", hint=error.hint)
            copied.left = copied.left or ["the ledger's end"]
        if quick and self.copied.left:
            copied.left = sorted(set(self.copied.left))
        self.copied.put = copied.put
        return copied

    def catch_up(self, copied: Copied, *, compare: bool) -> None:
        """Copy every picture that lies here and not there; `compare`: what lies there is held
        against the bytes here, too. Raises BucketFault where the mirror cannot be listed."""
        there = {each.url.key: each for each in self._bucket.list(self.url / "images")}
        wanted = [
            path for path in _files(self._folder, "images")
            if compare or not _is_alike(there.get((self.url / path).key), self._folder / path)
        ]  # fmt: skip
        already = set(copied.other)

        def copy(path: str) -> tuple[str, str]:
            try:
                data = (self._folder / path).read_bytes()
                known = there.get((self.url / path).key)
                if known is not None and _is_same(known, data):
                    return path, "same"
                digest = hashlib.sha256(data).hexdigest()
                kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                return path, self._bucket.put_new(self.url / path, data, digest, kind)
            except BucketFault as fault:
                copied.fault = fault
                return path, "left"
            except OSError:
                return path, "left"

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for path, put in pool.map(copy, wanted):
                copied.put += put == "new"
                copied.compared += put == "same"
                if put == "left":
                    copied.left.append(path)
                elif put == "other" and path not in already:
                    copied.other.append(path)

    def _refresh(self) -> None:
        """Write what changes from run to run over what the last one wrote. Raises BucketFault."""
        there = {each.url.key: each for each in self._bucket.list(self.url / "report")}
        for path in (*SMALL, *_files(self._folder, "report")):
            try:
                data = (self._folder / path).read_bytes()
            except OSError:
                continue
            known = there.get((self.url / path).key)
            if known is None or not _is_same(known, data):
                kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                self._bucket.put_over(self.url / path, data, kind)


@dataclass(frozen=True, slots=True, order=True)
class LedgerPart:
    """A part of a ledger in a mirror: its bytes from `begin` on."""

    begin: int
    stat: Stat = field(compare=False)


def ledger_parts(bucket: Bucket, url: BucketURL) -> dict[str, list[LedgerPart]]:
    """The parts of each ledger in a mirror, in order. Raises Refused where some are missing."""
    found: dict[str, list[LedgerPart]] = {}
    for stat in bucket.list(url / "ledger"):
        folder, _, name = stat.url.key.rpartition("/")
        begin = name.removesuffix(".jsonl")
        if begin.isdecimal():
            found.setdefault(folder.rpartition("/")[2], []).append(LedgerPart(int(begin), stat))
    for name, parts in found.items():
        parts.sort()
        end = 0
        for part in parts:
            if part.begin != end:
                raise Refused(
                    f"{url / 'ledger'}/{name}: a part is missing: one ends at byte {end:,}, the "
                    f"next begins at {part.begin:,}",
                    hint="was something deleted there? Nothing was changed",
                )
            end += part.stat.size
    return found


def told(mirror: Mirror, copied: Copied) -> Iterator[str]:
    """What a mirror came to, in sentences; nothing where all is there and nothing was new."""
    if copied.other:
        yield (
            f"{how_many(len(copied.other), 'picture')} differ in {mirror.url}, like "
            f"{copied.other[0]}: nothing there is written over"
        )
    if copied.left:
        reason = f": {copied.fault.message}" if copied.fault else ""
        hint = f" ({copied.fault.hint})" if copied.fault and copied.fault.hint else ""
        yield (
            f"the mirror lacks {how_many(len(copied.left), 'file')}, like {copied.left[0]}{reason}"
            f"{hint}; all are kept here, and `retouch mirror MANIFEST` copies them"
        )
    elif copied.put:
        yield f"{how_many(copied.put, 'picture')}, ledger and report copied to {mirror.url}"


def _token_of(folder: Path) -> str:
    """What the outputs folder is known by; made when it is first mirrored, by one process."""
    path = folder / TOKEN
    token = secrets.token_hex(16)
    made = json.dumps({"token": token}).encode() + b"\n"
    for _ in range(2):
        try:
            known = json.loads(path.read_text(encoding="utf-8"))["token"]
            if isinstance(known, str) and known:
                return known
        except FileNotFoundError:
            keep_first(path, made)
            continue
        except (OSError, ValueError, KeyError, TypeError):
            pass
        break
    replace_whole(path, made)
    return token


def _span(path: Path, begin: int, end: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)
    except FileNotFoundError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _whole_lines(path: Path) -> int:
    """How many bytes of a ledger that nobody writes are whole lines."""
    end = _size(path)
    while end:
        begin = max(0, end - LOOK_BYTES)
        if at := _span(path, begin, end).rfind(b"\n") + 1:
            return begin + at
        end = begin
    return 0


def _files(folder: Path, below: str) -> Iterator[str]:
    """Relative paths of the regular files below a folder; none that begins with a dot."""
    for place, folders, names in os.walk(folder / below):
        folders.sort()
        relative = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in sorted(names):
            path = os.path.join(place, name)  # noqa: PTH118 - 100,000 of them
            if not name.startswith(".") and os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
                yield f"{relative}/{name}"


def _is_alike(there: Stat | None, path: Path) -> bool:
    """Whether an object has a file's size."""
    return there is not None and there.size == _size(path)


def _is_same(there: Stat, data: bytes) -> bool:
    """Whether an object is surely these bytes, as its listing tells it."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return there.size == len(data) and there.etag.strip('"') == md5
