"""A mirror and its bucket, in process: what lies there in the end is what lies here, byte by byte.

The store is obstore's own in memory; moto's S3 where a listing tells digests. Runs of the program
with a mirror are in tests/e2e/test_mirror.py."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from retouch.engine import mirror as module
from retouch.engine.mirror import Copied, LedgerPart, Mirror, ledger_parts, told
from retouch.errors import Refused
from retouch.ledger.records import FileRecord
from retouch.storage import bucket_lease
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_lease import BucketLease
from tests.support.buckets import S3Server, moto_here
from tests.support.memory_bucket import FOLDER, MemoryBucket, fault
from tests.support.virtual import run_in_virtual_time

LINES = b'{"line":1}\n{"line":2}\n'
PICTURES = {"images/a/1.png": b"one", "images/a/b/2.jpg": b"two, longer", "images/3.webp": b"3"}
BEAT = 2.0**-6  # seconds; a power of two, so that sums of it are exact


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store in memory compares and writes in one step: nobody else need be waited for."""
    monkeypatch.setattr(bucket_lease, "SETTLE_SECONDS", 0.0)


@dataclass
class Place:
    """An outputs folder, a bucket, and what its mirrors say."""

    folder: Path
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    said: list[str] = field(default_factory=list)

    def mirror(self, **more: Any) -> Mirror:
        return Mirror(self.bucket, FOLDER, self.folder, say=self.said.append, **more)

    def begun(self) -> Mirror:
        mirror = self.mirror()
        mirror.begin("cats")
        return mirror

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    @property
    def token(self) -> str:
        token = json.loads((self.folder / ".mirror").read_text())["token"]
        assert isinstance(token, str)
        return token

    @property
    def lease(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.bucket.objects()["lease/ledger.jsonl.json"])
        return found

    @property
    def there(self) -> dict[str, bytes]:
        """What the mirror holds, but for its lease."""
        return {
            name: data
            for name, data in self.bucket.objects().items()
            if not name.startswith("lease/")
        }

    def elsewhere(self) -> BucketLease:
        """Another machine's way to the lease."""
        return BucketLease(self.bucket, FOLDER / "lease/ledger.jsonl.json", "another")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Three pictures, a ledger, and all that is written beside them."""
    found = Place(tmp_path / "outputs/cats")
    for name, data in PICTURES.items():
        found.write(name, data)
    found.write("ledger.jsonl", LINES)
    return found


def record(name: str, data: bytes) -> FileRecord:
    digest = hashlib.sha256(data).hexdigest()
    return FileRecord(
        path=name, sha256=digest, bytes=len(data), media_type="image/png", width=1, height=1
    )


def gone(_what: str, _key: str) -> None:
    """The store does not answer."""
    raise fault()


# --- All of it -----------------------------------------------------------------------------------

SMALL = {
    "manifest.yaml": b"models: []\n", "plan.json": b"{}\n", "prompts.jsonl": b'{"text":"x"}\n',
    "review.jsonl": b'{"mark":"keep"}\n', "report/index.html": b"<html>",
    "report/a/b.csv": b"a,b\n",
}  # fmt: skip


def test_what_lies_there_is_what_lies_here(place: Place) -> None:
    """Every picture, the ledger, what a run writes beside them, each with its kind; no more."""
    for name, data in SMALL.items():
        place.write(name, data)
    place.write("images/.hidden.part", b"not yet")
    place.write("elsewhere/x.png", b"none of ours")
    (place.folder / "images/link.png").symlink_to(place.folder / "images/a/1.png")
    copied = place.begun().finish(quick=False)
    assert copied == Copied(put=3)
    assert place.there == PICTURES | SMALL | {
        "ledger/ledger.jsonl/000000000000000.jsonl": LINES,
        "mirror.json": b'{"name":"cats","v":1}',
    }
    assert place.bucket.kinds() == {
        "images/3.webp": "image/webp", "images/a/1.png": "image/png",
        "images/a/b/2.jpg": "image/jpeg", "ledger/ledger.jsonl/000000000000000.jsonl":
        "application/x-ndjson", "lease/ledger.jsonl.json": "application/json",
        "manifest.yaml": place.bucket.kinds()["manifest.yaml"], "mirror.json": "application/json",
        "plan.json": "application/json", "prompts.jsonl":
        place.bucket.kinds()["prompts.jsonl"], "review.jsonl":
        place.bucket.kinds()["review.jsonl"], "report/index.html": "text/html",
        "report/a/b.csv": "text/csv",
    }  # fmt: skip
    assert place.lease["released"] is True
    assert place.lease["token"] == place.token
    assert place.said == []


def test_what_nothing_is_known_of_is_told_as_bytes(place: Place) -> None:
    place.write("images/x.unheard", b"?")
    place.write("report/y.unheard", b"?")
    place.begun().finish(quick=False)
    kinds = place.bucket.kinds()
    assert kinds["images/x.unheard"] == kinds["report/y.unheard"] == "application/octet-stream"


def test_each_picture_is_copied_once(place: Place) -> None:
    """A second mirror asks for a list, and puts what is new or has another size."""
    place.begun().finish(quick=False)
    assert place.bucket.count("put", "images/") == 3
    place.write("images/new.png", b"new")
    place.bucket.asked.clear()
    copied = place.begun().finish(quick=False)
    assert (copied.put, copied.other, copied.left) == (1, [], [])
    assert [key for what, key in place.bucket.asked if what == "put"] == ["out/cats/images/new.png"]
    assert ("list", "out/cats/images") in place.bucket.asked
    assert ("list", "out/cats/report") in place.bucket.asked


def test_a_copy_with_other_bytes_is_found_and_kept(place: Place) -> None:
    """Of another size at once, of the same size by `compare`; nothing is written over, and each is
    told once."""
    place.bucket.place("images/a/1.png", b"a torn co")
    place.bucket.place("images/3.webp", b"x")
    mirror = place.begun()
    assert mirror.finish(quick=False) == Copied(put=1, other=["images/a/1.png"])
    mirror = place.begun()
    found = mirror.finish(quick=False, compare=True)
    assert sorted(found.other) == ["images/3.webp", "images/a/1.png"]
    assert (found.put, found.left) == (0, [])
    again = Copied(other=["images/3.webp", "images/a/1.png"])
    mirror.catch_up(again, compare=True)
    assert again == Copied(compared=1, other=["images/3.webp", "images/a/1.png"])
    assert place.there["images/a/1.png"] == b"a torn co"
    assert place.there["images/3.webp"] == b"x"


def test_a_missing_copy_is_put_anew(place: Place) -> None:
    place.begun().finish(quick=False)
    place.bucket.remove("images/a/b/2.jpg")
    copied = place.begun().finish(quick=False)
    assert copied == Copied(put=1)
    assert place.there["images/a/b/2.jpg"] == b"two, longer"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with moto_here() as server:
        yield server


def test_a_listing_that_tells_digests_spares_the_reading(s3: S3Server, tmp_path: Path) -> None:
    """S3's: by `compare` all are held against the bytes here, and none is put again; one of the
    same size and other bytes is found. A report that is the same is not written again."""
    url = s3.new_bucket() / "cats"
    place = Place(tmp_path)
    for name, data in (PICTURES | SMALL | {"ledger.jsonl": LINES}).items():
        place.write(name, data)

    def mirrored(*, compare: bool) -> tuple[Copied, int]:
        bucket = s3.at(url)
        mirror = Mirror(bucket, url, tmp_path, say=place.said.append)
        mirror.begin("cats")
        before = bucket.traffic.put_bytes
        return mirror.finish(quick=False, compare=compare), bucket.traffic.put_bytes - before

    found, put = mirrored(compare=False)
    assert found == Copied(put=3)
    lease = len(s3.objects(url)["lease/ledger.jsonl.json"])
    assert put - lease in range(sum(map(len, (*PICTURES.values(), *SMALL.values(), LINES))), 10**6)
    found, put = mirrored(compare=True)
    assert found == Copied(compared=3)
    small = sum(len(data) for name, data in SMALL.items() if not name.startswith("report/"))
    assert put == small + len(s3.objects(url)["lease/ledger.jsonl.json"])
    s3.at(url).put_over(url / "images/3.webp", b"4", "image/webp")
    found, _ = mirrored(compare=True)
    assert found == Copied(compared=2, other=["images/3.webp"])
    assert s3.objects(url)["images/3.webp"] == b"4"


# --- Who goes on ---------------------------------------------------------------------------------


def test_the_folder_is_known_by_a_token_of_its_own(place: Place) -> None:
    """Made once; what is no token is replaced."""
    path = place.folder / ".mirror"
    place.mirror()
    token = place.token
    assert len(bytes.fromhex(token)) == 16
    assert path.read_bytes() == b'{"token": "%b"}\n' % token.encode()
    place.mirror()
    assert place.token == token
    path.write_text('{"token": "kept as it is"}')
    place.mirror()
    assert place.token == "kept as it is"
    for text in ("", "no JSON", "[]", '{"token": ""}', '{"token": 5}', '{"other": "x"}', "\xff"):
        path.write_text(text, encoding="latin-1")
        place.mirror()
        assert len(bytes.fromhex(place.token)) == 16
        assert path.read_bytes() == b'{"token": "%b"}\n' % place.token.encode()


def test_a_run_that_begins_has_the_lease_and_says_whose_it_is(place: Place) -> None:
    place.begun()
    assert place.there == {"mirror.json": b'{"name":"cats","v":1}'}
    assert place.bucket.kinds()["mirror.json"] == "application/json"
    assert place.lease["released"] is False
    assert place.lease["token"] == place.token


def test_a_shards_ledger_has_a_lease_and_parts_of_its_own(place: Place) -> None:
    place.write("ledger.1-of-2.jsonl", b"{}\n")
    place.elsewhere().take()
    mirror = place.mirror(ledger="ledger.1-of-2.jsonl")
    mirror.begin("cats")
    assert mirror.finish(quick=True) == Copied()
    assert place.there["ledger/ledger.1-of-2.jsonl/000000000000000.jsonl"] == b"{}\n"
    assert place.lease["token"] == "another"


def left(place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another machine had the lease and is silent now; how it is called."""
    other = place.elsewhere()
    other.take()
    monkeypatch.setattr(bucket_lease, "STALE_SECONDS", -1.0)
    found = place.lease
    return f"process {found['pid']} on {found['host']} since {found['since']}"


def test_what_a_dead_machine_left_is_not_gone_on_from_unasked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = left(place, monkeypatch)
    mirror = place.mirror()
    with pytest.raises(Refused) as refused:
        mirror.begin("cats")
    assert refused.value.message == (
        f"s3://box/out/cats: the last run from this mirror did not end ({said}), and what it sent "
        "last may not be in the ledger here; nothing was sent"
    )
    assert refused.value.hint == (
        f"run again there; or `retouch fetch s3://box/out/cats --to {place.folder.parent}` goes on "
        "here, and holds what may have been sent"
    )
    assert place.lease["token"] == "another"
    assert place.there == {}
    found = mirror.finish(quick=False)
    assert found.put == 0
    assert found.left == ["the ledger's end"]
    assert found.fault is not None
    assert found.fault.message == f"s3://box/out/cats: {said} left this mirror without an end"
    assert (found.fault.why, found.fault.action, found.fault.hint) == ("changed", "put", "")
    assert place.there.keys() <= {"lease/clock"}


def test_taking_over_tells_who_left_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the lease is ours, to be let go of."""
    assert place.mirror().take_over() is None
    mirror = place.begun()
    mirror.finish(quick=True)
    said = left(place, monkeypatch)
    mirror = place.mirror()
    assert mirror.take_over() == said
    assert place.lease["token"] == place.token
    assert place.lease["released"] is False
    mirror.put_ledger(len(LINES))
    mirror.let_go()
    assert place.lease["released"] is True


def test_while_another_machine_goes_on_nobody_else_does(place: Place) -> None:
    place.elsewhere().take()
    with pytest.raises(Refused, match="another run goes on from this mirror"):
        place.mirror().begin("cats")
    with pytest.raises(Refused, match="another run goes on from this mirror"):
        place.mirror().take_over()
    assert place.lease["token"] == "another"


def test_a_lease_is_let_go_of_only_where_nothing_lacks(place: Place) -> None:
    """Some of the ledger is not there: the next run of this folder takes it, and no other."""
    mirror = place.begun()
    mirror.let_go()
    assert place.lease["released"] is False
    mirror.put_ledger(len(LINES) - 1)
    mirror.let_go()
    assert place.lease["released"] is False
    mirror.put_ledger(len(LINES))
    mirror.let_go()
    assert place.lease["released"] is True
    place.mirror().let_go()  # it never had it
    mirror = place.mirror()
    mirror.take_over()
    (place.folder / "ledger.jsonl").unlink()
    place.bucket.hinder = gone
    mirror.let_go()  # what hinders it is no harm
    place.bucket.hinder = lambda *_: None
    assert place.lease["released"] is False
    mirror.let_go()
    assert place.lease["released"] is True


def test_who_does_not_hold_the_lease_lets_nothing_go(place: Place) -> None:
    (place.folder / "ledger.jsonl").unlink()
    mirror = place.mirror()
    mirror.let_go()
    assert place.bucket.asked == []


# --- The ledger, in parts ------------------------------------------------------------------------


def test_a_ledger_goes_there_in_parts_each_where_the_last_one_ended(place: Place) -> None:
    """What is there already is not put again; the parts are the ledger."""
    mirror = place.begun()
    first = len(LINES) // 2
    mirror.put_ledger(first)
    mirror.put_ledger(first)
    mirror.put_ledger(first - 5)
    place.write("ledger.jsonl", LINES * 3)
    mirror.put_ledger(len(LINES) * 2)
    mirror.put_ledger(len(LINES) * 3)
    assert {name: data for name, data in place.there.items() if name.startswith("ledger/")} == {
        "ledger/ledger.jsonl/000000000000000.jsonl": LINES[:first],
        "ledger/ledger.jsonl/000000000000011.jsonl": LINES[first:] + LINES,
        "ledger/ledger.jsonl/000000000000044.jsonl": LINES,
    }
    assert place.bucket.count("put", "ledger/") == 3
    assert place.bucket.kinds()["ledger/ledger.jsonl/000000000000011.jsonl"] == (
        "application/x-ndjson"
    )
    parts = ledger_parts(place.bucket, FOLDER)
    assert [(part.begin, part.stat.size) for part in parts["ledger.jsonl"]] == [
        (0, 11), (11, 33), (44, 22),
    ]  # fmt: skip
    assert list(parts) == ["ledger.jsonl"]


def test_a_part_is_put_with_the_digest_of_its_bytes(place: Place) -> None:
    mirror = place.begun()
    mirror.put_ledger(len(LINES))
    [part] = ledger_parts(place.bucket, FOLDER)["ledger.jsonl"]
    _, stat = place.bucket.get(part.stat.url, 10**6)
    assert stat.sha256 == hashlib.sha256(LINES).hexdigest()
    mirror.finish(quick=False)
    _, stat = place.bucket.get(FOLDER / "images/a/1.png", 10**6)
    assert stat.sha256 == hashlib.sha256(b"one").hexdigest()


@pytest.mark.parametrize("cut", [b"", b'{"line":', b"x" * 5000, bytes(20_000)])
def test_whole_lines_alone_go_there(
    place: Place, cut: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end: what a crash cut stays here, however long."""
    monkeypatch.setattr(module, "LOOK_BYTES", 6000)
    lines = LINES * 500
    place.write("ledger.jsonl", lines + cut)
    assert place.begun().finish(quick=True) == Copied()
    assert place.there["ledger/ledger.jsonl/000000000000000.jsonl"] == lines
    place.write("ledger.jsonl", cut)
    again = Place(place.folder)
    assert again.begun().finish(quick=True) == Copied()
    assert not [name for name in again.there if name.startswith("ledger/")]


def test_without_a_ledger_there_is_none_to_copy(place: Place) -> None:
    (place.folder / "ledger.jsonl").unlink()
    assert place.begun().finish(quick=False) == Copied(put=3)
    assert place.there == PICTURES | {"mirror.json": b'{"name":"cats","v":1}'}


def test_who_does_not_hold_the_lease_puts_no_line(place: Place) -> None:
    place.mirror().put_ledger(len(LINES))
    assert place.bucket.asked == []


def test_a_later_run_goes_on_where_the_parts_end(place: Place) -> None:
    place.begun().finish(quick=True)
    place.write("ledger.jsonl", LINES + b"{}\n")
    place.bucket.asked.clear()
    place.begun().finish(quick=True)
    place.write("ledger.jsonl", LINES + b"{}\n{}\n")
    place.begun().finish(quick=True)
    assert [key for what, key in place.bucket.asked if what == "put"] == [
        "out/cats/ledger/ledger.jsonl/000000000000022.jsonl",
        "out/cats/ledger/ledger.jsonl/000000000000025.jsonl",
    ]


@pytest.mark.parametrize("there", [b'{"line":9}\n{"line":2}\n', LINES + b"{}\n", b"x"])
def test_a_ledger_that_has_gone_on_elsewhere_is_refused(place: Place, there: bytes) -> None:
    """Nothing is written, and the lease is free again."""
    place.bucket.place("ledger/ledger.jsonl/000000000000000.jsonl", there)
    mirror = place.mirror()
    with pytest.raises(Refused) as refused:
        mirror.begin("cats")
    assert refused.value.message == (
        "s3://box/out/cats: the ledger there is not the beginning of the one here: another machine "
        "has gone on from this mirror; nothing was sent"
    )
    assert refused.value.hint == (
        f"`retouch fetch s3://box/out/cats --to {place.folder.parent}` brings it here, if nothing "
        "was sent here since; else mirror to a folder of its own"
    )
    assert place.there == {"ledger/ledger.jsonl/000000000000000.jsonl": there}
    assert place.lease["released"] is True
    mirror.put_ledger(10)
    assert place.there == {"ledger/ledger.jsonl/000000000000000.jsonl": there}
    found = mirror.finish(quick=True)
    assert found.fault is not None
    assert (found.fault.message, found.fault.hint) == (refused.value.message, refused.value.hint)


def test_a_ledger_that_is_gone_here_is_not_begun_anew(place: Place) -> None:
    """What is there is another's, as far as this folder knows."""
    place.begun().finish(quick=True)
    (place.folder / "ledger.jsonl").unlink()
    with pytest.raises(Refused, match="has gone on from this mirror"):
        place.begun()


def test_only_the_last_part_is_read_and_no_more_of_it_than_is_borne(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts before it were compared when they were put."""
    mirror = place.begun()
    mirror.put_ledger(11)
    mirror.finish(quick=True)
    place.bucket.asked.clear()
    place.begun().finish(quick=True)
    read = [key for what, key in place.bucket.asked if what == "get" and "/ledger/" in key]
    assert read == ["out/cats/ledger/ledger.jsonl/000000000000011.jsonl"]
    monkeypatch.setattr(module, "READ_CAP_BYTES", 10)
    with pytest.raises(BucketFault, match="larger than 10 bytes"):
        place.begun()


def test_a_part_of_ours_that_ended_earlier_is_followed_by_the_rest(place: Place) -> None:
    """A run that was killed had put some lines: what it had not follows in a part of its own."""
    mirror = place.begun()
    place.bucket.place("ledger/ledger.jsonl/000000000000000.jsonl", LINES[:11])
    mirror.put_ledger(len(LINES))
    assert place.there["ledger/ledger.jsonl/000000000000011.jsonl"] == LINES[11:]
    mirror.put_ledger(len(LINES))
    assert place.bucket.count("put", "ledger/") == 2


def test_a_part_of_anothers_is_refused(place: Place) -> None:
    """Other lines where ours go on."""
    mirror = place.begun()
    place.bucket.place("ledger/ledger.jsonl/000000000000000.jsonl", b'{"line":9}\n')
    with pytest.raises(Refused, match="has gone on from this mirror"):
        mirror.put_ledger(len(LINES))
    place.bucket.remove("ledger/ledger.jsonl/000000000000000.jsonl")
    place.bucket.place("ledger/ledger.jsonl/000000000000000.jsonl", b"")
    with pytest.raises(Refused) as refused:
        mirror.put_ledger(len(LINES))
    assert refused.value.message == (
        "s3://box/out/cats/ledger/ledger.jsonl/000000000000000.jsonl: holds other lines: another "
        "machine goes on from there"
    )
    copied = mirror.finish(quick=True)
    assert copied.left == ["the ledger's end"]
    assert copied.fault is not None
    assert copied.fault.message == refused.value.message
    assert copied.fault.hint == refused.value.hint == ""
    assert place.lease["released"] is False


def test_parts_are_read_in_order_and_a_missing_one_is_told(place: Place) -> None:
    """Of each ledger by itself; what is no part is passed over."""
    for name, data in {
        "ledger/ledger.jsonl/000000000000003.jsonl": b"bb",
        "ledger/ledger.jsonl/000000000000000.jsonl": b"aaa",
        "ledger/ledger.1-of-2.jsonl/000000000000000.jsonl": b"z",
        "ledger/ledger.jsonl/notes.txt": b"?",
    }.items():
        place.bucket.place(name, data)
    found = ledger_parts(place.bucket, FOLDER)
    assert {name: [part.begin for part in parts] for name, parts in found.items()} == {
        "ledger.jsonl": [0, 3], "ledger.1-of-2.jsonl": [0],
    }  # fmt: skip
    assert [str(part.stat.url) for part in found["ledger.jsonl"]] == [
        "s3://box/out/cats/ledger/ledger.jsonl/000000000000000.jsonl",
        "s3://box/out/cats/ledger/ledger.jsonl/000000000000003.jsonl",
    ]
    assert all(isinstance(part, LedgerPart) for part in found["ledger.jsonl"])
    place.bucket.place("ledger/ledger.jsonl/000000000001006.jsonl", b"c")
    with pytest.raises(Refused) as refused:
        ledger_parts(place.bucket, FOLDER)
    assert refused.value.message == (
        "s3://box/out/cats/ledger/ledger.jsonl: a part is missing: one ends at byte 5, the next "
        "begins at 1,006"
    )
    assert refused.value.hint == "was something deleted there? Nothing was changed"


# --- While a run goes on ---------------------------------------------------------------------


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    run_in_virtual_time(main, seed=0)


def test_a_picture_is_copied_as_it_is_kept(place: Place) -> None:
    """By the digest and the kind that its Record tells; the counts say so."""
    mirror = place.begun()
    pictures = {"images/p/1.png": b"first", "images/p/2.png": b"second"}

    async def main() -> None:
        for name, data in pictures.items():
            await mirror.put(record(name, data), data)
        await mirror.put(record("images/p/1.png", b"first"), b"first")

    in_virtual_time(main)
    assert mirror.copied == Copied(put=2)
    assert {name: place.there[name] for name in pictures} == pictures
    assert place.bucket.kinds()["images/p/1.png"] == "image/png"
    _, stat = place.bucket.get(FOLDER / "images/p/1.png", 100)
    assert stat.sha256 == hashlib.sha256(b"first").hexdigest()
    assert place.said == []


def test_other_bytes_under_a_pictures_name_are_told_once_and_kept(place: Place) -> None:
    mirror = place.begun()
    for name in ("images/p/1.png", "images/p/2.png"):
        place.bucket.place(name, b"a stranger's")

    async def main() -> None:
        await mirror.put(record("images/p/1.png", b"first"), b"first")
        await mirror.put(record("images/p/2.png", b"second"), b"second")

    in_virtual_time(main)
    assert mirror.copied == Copied(other=["images/p/1.png", "images/p/2.png"])
    assert place.said == [
        "s3://box/out/cats/images/p/1.png: holds other bytes than the picture here, and keeps them"
    ]


def test_what_was_kept_before_is_copied_too(place: Place) -> None:
    """What is gone here is passed over: `verify` tells of it."""
    mirror = place.begun()
    files = [record("images/gone.png", b"?"), record("images/a/1.png", b"one")]
    in_virtual_time(lambda: mirror.copy(files))
    assert mirror.copied == Copied(put=1)
    assert place.there["images/a/1.png"] == b"one"


def test_a_mirror_that_is_down_is_left_alone_for_longer_and_longer(place: Place) -> None:
    """1 s, 2 s, 4 s, ... 30 s at most, and from the beginning when it was back; what is kept
    meanwhile is left for later; it is said once."""
    mirror = place.begun()
    tried: list[float] = []

    def down(_what: str, _key: str) -> None:
        tried.append(anyio.current_time())
        raise fault()

    async def pauses(seconds: int) -> list[float]:
        tried.clear()
        place.bucket.hinder = down
        for number in range(4 * seconds):
            await mirror.put(record(f"images/{number}.png", b"x"), b"x")
            await anyio.sleep(0.25)
        return [after - before for before, after in pairwise(tried)]

    async def main() -> None:
        assert await pauses(130) == [1, 2, 4, 8, 16, 30, 30, 30]
        place.bucket.hinder = lambda *_: None
        await anyio.sleep(30)
        await mirror.put(record("images/up.png", b"x"), b"x")
        assert await pauses(10) == [1, 2, 4]

    in_virtual_time(main)
    assert mirror.copied.put == 1
    assert len(mirror.copied.left) == 4 * 140
    assert mirror.copied.left[:2] == ["images/0.png", "images/1.png"]
    assert place.said == [
        "mirror: the store is unreachable; pictures are kept here, and copied later"
    ]
    assert mirror.copied.fault is not None
    assert mirror.copied.fault.why == "unreachable"


def test_what_does_not_pass_is_not_tried_again(place: Place) -> None:
    """No right to write there: said, after what was said before it; the rest is left."""
    mirror = place.begun()

    def refused(_what: str, _key: str) -> None:
        raise fault("denied")

    async def main() -> None:
        place.bucket.hinder = gone
        await mirror.put(record("images/0.png", b"x"), b"x")
        place.bucket.hinder = refused
        await anyio.sleep(2)
        for number in range(1, 4):
            await mirror.put(record(f"images/{number}.png", b"x"), b"x")
            await anyio.sleep(100)

    before = len(place.bucket.asked)
    in_virtual_time(main)
    assert len(place.bucket.asked) - before == 2
    assert mirror.copied.left == [f"images/{number}.png" for number in range(4)]
    assert place.said == [
        "mirror: the store is unreachable; pictures are kept here, and copied later",
        "mirror: the store is denied; pictures are kept here, and copied later",
    ]


def test_a_picture_that_takes_too_long_is_left_for_later(place: Place) -> None:
    """45 s; one that takes 44 is there."""
    mirror = place.begun()

    async def main() -> None:
        began = anyio.current_time()
        place.bucket.seconds = 44
        await mirror.put(record("images/slow.png", b"x"), b"x")
        assert anyio.current_time() - began == 44
        place.bucket.seconds = 1000
        await mirror.put(record("images/slower.png", b"x"), b"x")
        assert anyio.current_time() - began == 44 + 45

    in_virtual_time(main)
    assert mirror.copied == Copied(put=1, left=["images/slower.png"])
    assert place.said == []


def test_giving_up_ends_what_is_being_copied(place: Place) -> None:
    """At once; what comes after it is left, too, and the end copies what is left unless the run
    was stopped by hand."""
    mirror = place.begun()
    place.bucket.seconds = 40

    async def main() -> None:
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(mirror.put, record(f"images/{number}.png", b"x"), b"x")
            await anyio.sleep(1)
            mirror.give_up()
        assert anyio.current_time() - began == 1
        await mirror.put(record("images/late.png", b"x"), b"x")
        assert anyio.current_time() - began == 1

    in_virtual_time(main)
    assert sorted(mirror.copied.left) == [
        "images/0.png", "images/1.png", "images/2.png", "images/late.png",
    ]  # fmt: skip
    quick = mirror.finish(quick=True)
    assert quick.left == ["images/0.png", "images/1.png", "images/2.png", "images/late.png"]
    assert place.there["ledger/ledger.jsonl/000000000000000.jsonl"] == LINES
    assert not [name for name in place.there if name.startswith("images/")]
    assert mirror.finish(quick=False).left == []


async def _kept_up(
    mirror: Mirror, durable: Callable[[], int], until: Callable[[], bool]
) -> list[Refused]:
    """Keep up until something is so; what the run was told to stop for."""
    stopped: list[Any] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:

            async def keep_up() -> None:
                await mirror.keep_up(durable, stopped.append)
                group.cancel_scope.cancel()

            group.start_soon(keep_up)
            while not until():  # noqa: ASYNC110 - told by a thread
                await anyio.sleep(BEAT / 8)
            group.cancel_scope.cancel()
    return stopped


@pytest.fixture
def _beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", BEAT)
    monkeypatch.setattr(module, "PART_SECONDS", 3 * BEAT)


@pytest.mark.usefixtures("_beats")
def test_the_lease_is_renewed_and_every_third_beat_the_new_lines_go_there(place: Place) -> None:
    """Only as far as they are durable."""
    mirror = place.begun()
    place.write("ledger.jsonl", LINES * 10 + b"not durable yet")
    durable = iter(range(22, 2200, 22))
    place.bucket.asked.clear()
    stopped = anyio.run(
        _kept_up, mirror, lambda: next(durable), lambda: place.bucket.count("put", "ledger/") >= 3
    )
    assert stopped == []
    what = ["lease" if "/lease/" in key else "part" for _, key in place.bucket.asked]
    assert what[:12] == ["lease", "lease", "lease", "part"] * 3
    parts = ledger_parts(place.bucket, FOLDER)["ledger.jsonl"]
    assert [(part.begin, part.stat.size) for part in parts[:3]] == [(0, 22), (22, 22), (44, 22)]
    assert place.lease["released"] is False


@pytest.mark.usefixtures("_beats")
def test_a_run_whose_mirror_another_has_taken_stops(place: Place) -> None:
    """It is told who; nothing more of it goes there."""
    mirror = place.begun()
    taken = place.lease | {"token": "another", "host": "elsewhere", "pid": 5}
    place.bucket.place("lease/ledger.jsonl.json", json.dumps(taken).encode())
    stopped = anyio.run(_kept_up, mirror, lambda: len(LINES), lambda: False)
    [reason] = stopped
    assert isinstance(reason, Refused)
    assert reason.message == (
        "s3://box/out/cats: another run goes on from this mirror now (process 5 on elsewhere since "
        f"{taken['since']})"
    )
    assert reason.hint == "let one machine at a time go on from a mirror"
    assert "ledger/ledger.jsonl/000000000000000.jsonl" not in place.there
    mirror.put_ledger(len(LINES))
    assert "ledger/ledger.jsonl/000000000000000.jsonl" not in place.there


@pytest.mark.usefixtures("_beats")
def test_a_mirror_that_fails_is_kept_up_with_later(place: Place) -> None:
    """Beats that fail stop nothing."""
    mirror = place.begun()
    failed = 0

    def down(what: str, key: str) -> None:
        nonlocal failed
        failed += 1
        if failed < 6:
            raise fault()

    place.bucket.hinder = down
    stopped = anyio.run(
        _kept_up, mirror, lambda: len(LINES), lambda: place.bucket.count("put", "ledger/") >= 1
    )
    assert stopped == []
    assert place.there["ledger/ledger.jsonl/000000000000000.jsonl"] == LINES


@pytest.mark.usefixtures("_beats")
def test_a_mirror_that_could_not_be_had_at_first_is_had_when_it_is_back(place: Place) -> None:
    """By a beat; then its ledger goes on from what is there."""
    place.begun().put_ledger(11)
    mirror = place.mirror()
    place.bucket.hinder = gone
    with pytest.raises(BucketFault):
        mirror.begin("cats")
    place.bucket.hinder = lambda *_: None
    place.bucket.asked.clear()
    stopped = anyio.run(
        _kept_up, mirror, lambda: len(LINES), lambda: place.bucket.count("put", "ledger/") >= 1
    )
    assert stopped == []
    assert place.there["ledger/ledger.jsonl/000000000000011.jsonl"] == LINES[11:]
    assert place.lease["token"] == place.token


@pytest.mark.usefixtures("_beats")
def test_one_that_a_dead_machine_left_stops_the_run_that_finds_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = left(place, monkeypatch)
    [reason] = anyio.run(_kept_up, place.mirror(), lambda: len(LINES), lambda: False)
    assert isinstance(reason, Refused)
    assert reason.message == f"s3://box/out/cats: {said} left this mirror without an end"


@pytest.mark.usefixtures("_beats")
def test_lines_of_anothers_stop_the_run(place: Place) -> None:
    mirror = place.begun()
    place.bucket.place("ledger/ledger.jsonl/000000000000000.jsonl", b'{"line":9}\n')
    [reason] = anyio.run(_kept_up, mirror, lambda: len(LINES), lambda: False)
    assert "has gone on from this mirror" in reason.message


@pytest.mark.usefixtures("_beats")
def test_a_bucket_that_hangs_holds_up_no_end(place: Place) -> None:
    """A run that is cancelled while a beat is under way ends at once."""
    mirror = place.begun()
    hangs, free = threading.Event(), threading.Event()

    def hang(_what: str, _key: str) -> None:
        hangs.set()
        free.wait(20)

    place.bucket.hinder = hang
    began = time.monotonic()
    try:
        assert anyio.run(_kept_up, mirror, lambda: 0, hangs.is_set) == []
        assert time.monotonic() - began < 10
    finally:
        free.set()


# --- The end -------------------------------------------------------------------------------------


def test_the_end_of_a_run_that_lost_its_ledger_copies_nothing(place: Place) -> None:
    mirror = place.begun()
    mirror.abandon()
    place.bucket.asked.clear()
    assert mirror.finish(quick=False) == Copied(left=["the ledger's end"])
    assert place.bucket.asked == []
    assert place.lease["released"] is False


def test_the_end_waits_a_while_for_a_mirror_that_is_down(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 s, a second between two tries; then it tells what lacks, and why. It does not wait where
    it is stopped by hand, where it never was, or for what does not pass."""
    clock = [1000.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    told = SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep)
    monkeypatch.setattr(module, "time", told)

    def taken(mirror: Mirror, *, quick: bool = False) -> tuple[float, Copied]:
        began = clock[0]
        copied = mirror.finish(quick=quick)
        return clock[0] - began, copied

    mirror = place.begun()
    place.bucket.hinder = gone
    seconds, copied = taken(mirror)
    assert seconds == 16
    assert copied.left == ["the ledger's end"]
    assert copied.fault is not None
    assert copied.fault.message == "the store is unreachable"
    assert taken(mirror, quick=True)[0] == 0
    assert taken(place.mirror())[0] == 0
    place.bucket.hinder = denied
    assert taken(mirror)[0] == 0
    place.bucket.hinder = back_after(lambda: clock[0] > began + 5)
    began = clock[0]
    seconds, copied = taken(mirror)
    assert (seconds, copied) == (6, Copied(put=3))
    assert place.there.keys() >= PICTURES.keys()


def denied(_what: str, _key: str) -> None:
    raise fault("denied")


def back_after(is_up: Callable[[], bool]) -> Callable[[str, str], None]:
    def hinder(_what: str, _key: str) -> None:
        if not is_up():
            raise fault()

    return hinder


def test_pictures_that_the_end_cannot_copy_are_told_the_rest_is_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is refused, one goes while others are copied; the ledger and the last one are there."""
    monkeypatch.setattr(module, "AT_ONCE", 1)
    mirror = place.begun()

    def refuse(what: str, name: str) -> None:
        if what == "put" and name == "images/3.webp":
            (place.folder / "images/a/1.png").unlink()
            raise fault("denied")

    place.bucket.hinder = refuse
    copied = mirror.finish(quick=False)
    assert copied.left == ["images/3.webp", "images/a/1.png"]
    assert copied.fault is not None
    assert copied.fault.why == "denied"
    assert copied.put == 1
    assert place.there["images/a/b/2.jpg"] == b"two, longer"
    assert place.there["ledger/ledger.jsonl/000000000000000.jsonl"] == LINES


def test_sixteen_are_copied_at_once(place: Place) -> None:
    """None of them is there before sixteen are under way."""
    for number in range(13):
        place.write(f"images/more/{number}.png", b"x")
    mirror = place.begun()
    together = threading.Barrier(16, timeout=10)

    def meet(what: str, _name: str) -> None:
        if what == "put" and _name.startswith("images/"):
            together.wait()

    place.bucket.hinder = meet
    assert mirror.finish(quick=False) == Copied(put=16)


def test_what_lacks_from_the_run_is_told_where_the_end_cannot_be_had(place: Place) -> None:
    """Each name once, in order."""
    mirror = place.begun()
    mirror.copied.left = ["images/b.png", "images/a.png", "images/b.png"]
    place.bucket.hinder = denied
    copied = mirror.finish(quick=False)
    assert copied.left == ["images/a.png", "images/b.png"]
    place.bucket.hinder = lambda *_: None
    copied = mirror.finish(quick=True)
    assert copied.left == ["images/a.png", "images/b.png"]
    assert copied.fault is None


def test_what_a_run_counted_is_in_the_ends_count(place: Place) -> None:
    """And twice the end counts nothing twice."""
    mirror = place.begun()
    place.bucket.place("images/a/1.png", b"a stranger's")

    async def main() -> None:
        await mirror.put(record("images/3.webp", b"3"), b"3")
        await mirror.put(record("images/a/1.png", b"one"), b"one")

    in_virtual_time(main)
    expected = Copied(put=2, other=["images/a/1.png"])
    assert mirror.finish(quick=False) == expected
    assert mirror.copied.put == 2
    assert mirror.finish(quick=False) == expected


# --- What is told --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("copied", "lines"),
    [
        (Copied(), []),
        (Copied(compared=5), []),
        (Copied(put=1), ["1 picture, ledger and report copied to s3://box/out/cats"]),
        (Copied(put=2), ["2 pictures, ledger and report copied to s3://box/out/cats"]),
        (
            Copied(put=2, left=["images/a.png"]),
            ["the mirror lacks 1 file, like images/a.png; all are kept here, and `retouch mirror "
             "MANIFEST` copies them"],
        ),
        (
            Copied(left=["images/a.png", "images/b.png"], fault=fault("denied", hint="")),
            ["the mirror lacks 2 files, like images/a.png: the store is denied; all are kept here, "
             "and `retouch mirror MANIFEST` copies them"],
        ),
        (
            Copied(other=["images/x.png"], left=["images/a.png"], fault=fault()),
            ["1 picture differ in s3://box/out/cats, like images/x.png: nothing there is written "
             "over",
             "the mirror lacks 1 file, like images/a.png: the store is unreachable (look there); "
             "all are kept here, and `retouch mirror MANIFEST` copies them"],
        ),
    ],
)  # fmt: skip
def test_what_copying_came_to_is_told(place: Place, copied: Copied, lines: list[str]) -> None:
    assert list(told(place.mirror(), copied)) == lines
