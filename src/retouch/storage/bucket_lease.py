"""Who goes on from a mirror, said in an object beside it, so that two machines do not at once.

The lease is written over only as it was read (If-Match), renewed every few seconds, and stays
behind with `released` when its holder ends in order. One that is not released and is renewed no
more was left by a machine that died: what that one sent last may not be in the mirror. Silence is
measured by the store's own clock.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from retouch.errors import Refused
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import BucketURL
from retouch.storage.buckets import Bucket
from retouch.text import one_clean_line

BEAT_SECONDS = 15.0
# Not every store compares and writes in one step (SeaweedFS 4.48 lets two through at once): what
# was written is looked at again, when whoever wrote with us has done so too.
SETTLE_SECONDS = 0.5
STALE_SECONDS = 60.0
_TRIES = 5
_CAP_BYTES = 65_536
_JSON = "application/json"


class Holder(msgspec.Struct, frozen=True):
    """One holding. `token` is the outputs folder's own, so that it knows itself again."""

    host: str
    pid: int
    token: str
    since: str
    heartbeat: str
    released: bool = False

    @property
    def said(self) -> str:
        """The holder, for people."""
        return one_clean_line(f"process {self.pid} on {self.host} since {self.since}", 200)


@dataclass(frozen=True, slots=True)
class Taken:
    """How a lease was had. `left_by`: another machine's run that did not end in order."""

    left_by: Holder | None = None


class BucketLease:
    """The lease at an address, for the outputs folder with this token. Methods block."""

    def __init__(self, bucket: Bucket, url: BucketURL, token: str) -> None:
        self._bucket = bucket
        self._url = url
        now = _now()
        self._mine = Holder(socket.gethostname(), os.getpid(), token, now, now)
        self._etag: str | None = None
        self._compares = True  # whether the store writes over only what was read

    def take(self, *, over: bool = True) -> Taken:
        """Have the lease; not `over` one that another machine left, which stays as it is. Raises
        Refused naming the holder, BucketFault."""
        for _ in range(_TRIES):
            there = self._read()
            left_by = self._free(*there) if there else None
            if left_by is not None and not over:
                return Taken(left_by)
            if not self._write(there[1] if there else ""):
                continue
            if there is None or there[0].token != self._mine.token:
                time.sleep(SETTLE_SECONDS)
            if self._is_mine():
                return Taken(left_by)
        raise Refused(
            f"{self._url}: others take this lease all the time", hint="let one run at a time"
        )

    def renew(self) -> Holder | None:
        """Say that it is still held; whoever has taken it instead. Raises BucketFault."""
        self._mine = msgspec.structs.replace(self._mine, heartbeat=_now())
        if self._etag is None or not self._write(self._etag):
            there = self._read()
            if there is not None and there[0].token != self._mine.token:
                return there[0]
            self._write(there[1] if there else "")
        elif not self._compares:
            there = self._read()
            return there[0] if there and there[0].token != self._mine.token else None
        return None

    def release(self) -> None:
        """Say that the holder ended in order. Raises BucketFault."""
        if self._etag is not None:
            self._mine = msgspec.structs.replace(self._mine, heartbeat=_now(), released=True)
            self._write(self._etag)
            self._etag = None

    def _read(self) -> tuple[Holder, str, datetime] | None:
        try:
            data, stat = self._bucket.get(self._url, _CAP_BYTES)
        except BucketFault as fault:
            if fault.why == "missing":
                return None
            raise
        try:
            return msgspec.json.decode(data, type=Holder), stat.etag, stat.modified
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Refused(
                f"{self._url}: is no lease of retouch's", hint="see what it is, and move it away"
            ) from None

    def _free(self, holder: Holder, _etag: str, modified: datetime) -> Holder | None:
        """Whoever left the lease without an end; None where it was released, or is ours. Raises
        Refused while it is held."""
        if holder.token == self._mine.token or holder.released:
            return None
        silent = (self._clock() - modified).total_seconds()
        if silent < STALE_SECONDS:
            raise Refused(
                f"{self._url.parent}: another run goes on from this mirror ({holder.said}, last "
                f"heard of {max(silent, 0):.0f} s ago)",
                hint=f"wait for it to end, or stop it; if it is dead, try again in "
                f"{STALE_SECONDS:.0f} s; nothing was sent",
            )
        return holder

    def _clock(self) -> datetime:
        """What time it is there."""
        probe = self._url.parent / "clock"
        self._bucket.put_over(probe, b"", "text/plain")
        stat = self._bucket.stat(probe)
        return stat.modified if stat else datetime.now(UTC)

    def _write(self, etag: str) -> bool:
        """Write ours over what has this ETag ("": nothing); whether it was still so."""
        data = msgspec.json.encode(self._mine) + b"\n"
        if not self._compares:
            there = self._read()
            if (there[1] if there else "") != etag:
                return False
        try:
            condition = etag if self._compares else None
            self._etag = self._bucket.put_over(self._url, data, _JSON, etag=condition)
        except BucketFault as fault:
            if fault.why == "unsupported" and self._compares:
                self._compares = False
                return self._write(etag)
            if fault.why in ("exists", "changed", "missing"):
                return False
            raise
        return True

    def _is_mine(self) -> bool:
        """Whether ours is what stands there: of two that wrote at once where nothing compares."""
        there = self._read()
        return there is not None and there[0].token == self._mine.token


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
