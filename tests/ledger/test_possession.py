"""A ledger that is somebody else's by now: nothing more begins in it, and no end is lost."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from retouch.errors import LedgerDamaged, LedgerTaken, Refused, StorageFailed
from retouch.ledger import Ledger, Reader, digest_of, open_ledger, possession, read
from retouch.ledger.head import Head, read_head
from retouch.ledger.possession import Lost, Possession, refuse_displaced, set_aside, taken
from retouch.ledger.records import AnyRecord, Done, RunBegins, Started, Unknown
from retouch.ledger.salvage import salvage
from retouch.storage.durable import replace_whole
from retouch.storage.lease import NAME
from retouch.storage.lock import exclusive
from retouch.threads import in_place
from tests.support.ledgers import begins, done, started, unknown

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Taking:
    """One way in which a run loses its ledger, what it is told, and whether another file stands
    at the path now."""

    how: Callable[[Path], object]
    said: str
    is_elsewhere: bool


def _replaced(path: Path) -> None:
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def _written(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"{")


CUT = Taking(lambda path: os.truncate(path, path.stat().st_size - 1), "it was cut while", True)
TAKINGS = [
    Taking(Path.unlink, "it was removed while the run wrote it", True),
    Taking(_replaced, "it was replaced while the run wrote it", True),
    CUT,
    Taking(_written, "somebody else writes in it", False),
]


def kept(aside: Path) -> list[AnyRecord]:
    """What the copy holds; where the ledger was cut, what can be salvaged of it."""
    found = salvage(aside)
    if found is None:
        return list(Reader(aside))
    return [*islice(Reader(aside), found.end.lines), *found.held]


async def _told(ledger: Ledger) -> LedgerTaken:
    with pytest.raises(LedgerTaken) as told:
        await ledger.append(started(2))
    return told.value


@pytest.mark.parametrize("taking", TAKINGS, ids=lambda each: each.said[:8])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 100])
async def test_how_what_was_in_flight_ended_is_kept_beside_a_lost_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taking: Taking, chunk_bytes: int
) -> None:
    """The copy is whole, goes on where the run was, and holds no beginning; every later beginning
    is refused in the same words, which name the copy."""
    monkeypatch.setattr(possession, "_CHUNK_BYTES", chunk_bytes)
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r1", threads=in_place) as ledger:
        await ledger.append(begins(), started(1))
        there = path.read_bytes()
        taking.how(path)
        told = await _told(ledger)
        assert ledger.durable_bytes == 0
        await ledger.append(done(1))
        later = await _told(ledger)
    aside = tmp_path / "displaced-r1.jsonl"
    assert (later.message, later.hint) == (told.message, told.hint)
    assert told.message.startswith(f"{path}: {taking.said}")
    assert told.message.endswith("; nothing more was sent")
    assert told.hint is not None
    assert str(aside) in told.hint
    assert ("put it back as ledger.jsonl" in told.hint) == taking.is_elsewhere
    assert aside.read_bytes().startswith(path.read_bytes() if taking is CUT else there)
    if taking is CUT:
        assert [type(each) for each in kept(aside)] == [RunBegins, Unknown]
        assert "`retouch salvage` it" in told.hint
        return
    assert [type(each) for each in kept(aside)] == [RunBegins, Started, Done]
    assert ledger.state.outcomes == read(aside).outcomes


@pytest.mark.parametrize("taking", TAKINGS, ids=lambda each: each.said[:8])
async def test_a_run_refuses_to_begin_beside_what_another_has_left(
    tmp_path: Path, taking: Taking
) -> None:
    """Put back, it is the ledger again; where a shorter one stands in its place, its head tells
    how many lines were there."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r1", threads=in_place) as ledger:
        await ledger.append(begins(), started(1))
        there = path.read_bytes()
        taking.how(path)
        await ledger.append(unknown(1))
    aside = tmp_path / "displaced-r1.jsonl"
    with pytest.raises(LedgerDamaged, match="a run lost its ledger") as told:
        async with open_ledger(path, "r2", threads=in_place):
            pass
    assert told.value.message.startswith(str(aside))
    assert "put it back as ledger.jsonl" in str(told.value.hint)
    if taking.is_elsewhere:
        head = read_head(path)
        assert head is not None
        assert head == Head(2, digest_of(there.splitlines()[-1]))
    aside.replace(path)
    if taking is CUT:
        assert [type(each) for each in kept(path)] == [RunBegins, Unknown]
        return
    async with open_ledger(path, "r2", threads=in_place) as ledger:
        assert ledger.state.outcomes[unknown(1).key].state == "unknown"


async def test_a_ledger_that_another_process_has_locked_is_not_opened(tmp_path: Path) -> None:
    """Though the lock file beside it is gone: the folder and the ledger's own lock are named."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r1", threads=in_place):
        with pytest.raises(Refused, match=r"\(another process has the ledger locked\)") as told:
            async with open_ledger(path, "r2", threads=in_place):
                pass
    assert told.value.message.startswith(f"{tmp_path}: ")


async def test_a_disk_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the ledger's path."""

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StorageFailed, match=r"ledger\.jsonl: No locks available"):
        async with open_ledger(tmp_path / "ledger.jsonl", "r1", threads=in_place):
            pass


def test_whoever_took_the_folder_over_is_named(tmp_path: Path) -> None:
    """The lease tells, before anything of the ledger itself does."""
    path = tmp_path / "ledger.jsonl"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    with exclusive(tmp_path) as hold:
        ours = Possession(descriptor, path, hold)
        assert ours.lost(0) is None
        rival = replace(hold.lease, token="another's", pid=7)
        replace_whole(tmp_path / NAME, msgspec.json.encode(rival))
        lost = ours.lost(0)
    os.close(descriptor)
    assert lost is not None
    assert (lost.how, lost.is_elsewhere) == (f"it was taken over by {rival.said}", False)


def test_how_a_ledger_was_lost_is_seen_in_the_file_itself(tmp_path: Path) -> None:
    """At its path, by its inode and by its length, which alone tells what is in no file any more;
    and it is ours where it ends where we left it."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDWR)
    ours = Possession(descriptor, path)
    found = {size: ours.lost(size) for size in (9, 10, 11)}
    assert found == {
        9: Lost("somebody else writes in it"),
        10: None,
        11: Lost("it was cut while the run wrote it", is_elsewhere=True, is_cut=True),
    }
    replaced = Lost("it was replaced while the run wrote it", is_elsewhere=True)
    path.rename(tmp_path / "former")
    path.symlink_to(tmp_path / "former")
    assert ours.lost(10) == replaced
    path.unlink()
    path.write_bytes(b"0123456789")
    assert ours.lost(10) == replaced
    path.unlink()
    assert ours.lost(10) == Lost("it was removed while the run wrote it", is_elsewhere=True)
    os.close(descriptor)


def test_what_the_user_is_told_says_how_it_goes_on() -> None:
    """By where what stood in the ledger is now."""
    path, aside = Path("out/ledger.1-of-2.jsonl"), Path("out/displaced-r.1-of-2.jsonl")
    for lost, hint in (
        (Lost("HOW"), f"let one run write in an outputs folder at a time; how this one ended is in "
                      f"{aside}"),
        (Lost("HOW", is_elsewhere=True),
         f"what this run wrote is whole in {aside}: if no other run has written since, put it back "
         "as ledger.1-of-2.jsonl"),
        (Lost("HOW", is_elsewhere=True, is_cut=True),
         f"what was cut off is lost, how this run ended is in {aside}: put it back as "
         "ledger.1-of-2.jsonl and `retouch salvage` it"),
    ):  # fmt: skip
        told = taken(path, lost, aside)
        assert (told.message, told.hint) == (f"{path}: HOW; nothing more was sent", hint)


@pytest.mark.parametrize(
    ("name", "ledger"),
    [
        ("displaced-r.1.jsonl", "ledger.jsonl"),
        ("displaced-r.jsonl", "ledger.jsonl"),
        ("displaced-r.1-of-2.jsonl", "ledger.1-of-2.jsonl"),
        ("displaced-r.12-of-300.jsonl", "ledger.12-of-300.jsonl"),
    ],
)
def test_the_end_that_lies_beside_a_ledger_is_named_with_its_place(
    tmp_path: Path, name: str, ledger: str
) -> None:
    """Of several the first; whatever else lies there is none."""
    for other in ("displaced-r.txt", "displaced.jsonl", "kept-displaced-r.jsonl"):
        (tmp_path / other).touch()
    refuse_displaced(tmp_path / "ledger.jsonl")
    for each in (name, "displaced-s.jsonl", "displaced-t.jsonl"):
        (tmp_path / each).touch()
    with pytest.raises(LedgerDamaged) as told:
        refuse_displaced(tmp_path / "ledger.2-of-2.jsonl")
    assert told.value.message == (
        f"{tmp_path / name}: a run lost its ledger, and wrote here how it ended"
    )
    assert told.value.hint == (
        f"if nothing has been sent since, put it back as {ledger}; else move it away, and "
        "`retouch resolve` what is unknown; nothing was sent"
    )


@pytest.mark.parametrize("chunk", [1, 3, 4, 1 << 20])
def test_the_copy_holds_what_was_the_runs_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Of a part under that part's name, appended to and read; what was cut is not there."""
    monkeypatch.setattr(possession, "_CHUNK_BYTES", chunk)
    path, text = tmp_path / "ledger.1-of-2.jsonl", b"0123456789ab"
    path.write_bytes(text)
    descriptor, synced = os.open(path, os.O_RDWR), list[int]()
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    for run, size in (("whole", 12), ("some", 8), ("cut", 50), ("none", 0)):
        copy, aside = set_aside(Possession(descriptor, path), size, run)
        assert aside == tmp_path / f"displaced-{run}.1-of-2.jsonl"
        assert aside.read_bytes() == text[:size]
        assert {aside.stat().st_ino, tmp_path.stat().st_ino} <= set(synced)
        os.lseek(copy, 0, os.SEEK_SET)
        os.write(copy, b"more")
        assert os.pread(copy, 99, 0) == aside.read_bytes() == text[:size] + b"more"
        os.close(copy)
        with pytest.raises(FileExistsError):
            set_aside(Possession(descriptor, path), size, run)
    os.close(descriptor)


def test_a_copy_that_cannot_be_made_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDWR)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - they come and go

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        set_aside(Possession(descriptor, path), 10, "r")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - the same
    os.close(descriptor)


def test_the_lock_is_the_ledgers_own(tmp_path: Path) -> None:
    """Nobody else takes it while it is open, shared neither."""
    path = tmp_path / "ledger.jsonl"
    path.touch()
    ours, theirs = (os.open(path, os.O_RDWR) for _ in range(2))
    Possession(ours, path).take()
    Possession(ours, path).take()
    for how in (fcntl.LOCK_EX, fcntl.LOCK_SH):
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, how | fcntl.LOCK_NB)
    with pytest.raises(Refused, match="another process has the ledger locked"):
        Possession(theirs, path).take()
    os.close(ours)
    Possession(theirs, path).take()
    os.close(theirs)
