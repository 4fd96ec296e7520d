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
from retouch.ledger.possession import Possession
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
