"""The ledger file: appended durably, read with suspicion, cut only where a crash tore it."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger import FIRST_PREV, Ledger, Reader, digest_of, open_ledger, read, writing
from retouch.ledger.head import Head, read_head, write_head
from retouch.ledger.records import AnyRecord, ErrorRecord, Started, Unsent, encode
from retouch.ledger.recovery import SECTOR_BYTES
from retouch.ledger.state import replay
from retouch.storage.durable import storage_failed
from retouch.threads import in_place, in_thread
from tests.support.lives import CEILING, Teller

pytestmark = pytest.mark.anyio
T = TypeVar("T")
EVERY_KIND = 289  # of 20 Records drawn from this seed, each kind is one


@pytest.fixture(autouse=True)
def _without_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of openings: what the disk keeps is the crash simulator's to prove."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


def started(number: int, source: str = "猫/晚霞.jpg") -> Started:
    return Started(
        key=f"{number:064x}", attempt=1, model="m", prompt="p", source=source, ceiling=CEILING
    )


def told(records: int, seed: int = 1) -> list[AnyRecord]:
    """A legal ledger's Records."""
    teller, chance = Teller(12), random.Random(seed)
    while len(teller.records) < records:
        teller.random_step(chance)
    return teller.records[:records]


async def write(path: Path, records: list[AnyRecord], *, finished: bool = True) -> bytes:
    """Append the Records, one group each; finished: with its head file. Returns the bytes."""
    async with open_ledger(path, "r1", threads=in_place) as ledger:
        for record in records:
            await ledger.append(record)
    if not finished:
        without_head(path)
    return bytes_of(path)


def _inode(path: Path) -> int:
    return path.stat().st_ino


def without_head(path: Path) -> None:
    """As if the run had not come to its end."""
    path.with_name(f"{path.name}.head").unlink()


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


async def reopened(path: Path) -> tuple[Ledger, list[str]]:
    """Open, append one Record, close; the ledger and what was said."""
    said: list[str] = []
    async with open_ledger(path, "r2", threads=in_place, say=said.append) as ledger:
        await ledger.append(started(999))
    return ledger, said


async def test_lines_are_chained_stamped_and_counted(tmp_path: Path) -> None:
    """Every line holds the digest of the one before; the head says where it ended."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, [started(n) for n in range(5)])
    prev = FIRST_PREV
    for line, record in zip(data.splitlines(), Reader(path), strict=True):
        assert record.prev == prev
        assert (record.v, record.run) == (1, "r1")
        assert record.at.endswith("Z")
        assert len(record.at) == len("2026-03-01T12:00:00.000000Z")
        prev = digest_of(line)
    assert (tmp_path / "ledger.jsonl.head").read_text() == f"5 {prev}\n"


async def test_groups_are_told_apart_even_by_a_clock_that_stands(tmp_path: Path) -> None:
    """Neighbouring groups never share their time; lines of one group always do."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with open_ledger(tmp_path / "l", "r", threads=in_place, now=lambda: noon) as ledger:
        await ledger.append(started(1), started(2))
        await ledger.append(started(3))
        await ledger.append(started(4))
    times = [record.at for record in Reader(tmp_path / "l")]
    assert times[0] == times[1]
    assert times[1] != times[2] != times[3]


async def test_a_clock_set_back_changes_nothing(tmp_path: Path) -> None:
    """Order comes from the chain, not the clock."""
    hours = count()
    async with open_ledger(
        tmp_path / "l",
        "r",
        threads=in_place,
        now=lambda: datetime(2026, 3, 1, tzinfo=UTC) - timedelta(hours=next(hours)),
    ) as ledger:
        for number in range(5):
            await ledger.append(started(number))
    assert [record.key[-1] for record in Reader(tmp_path / "l")] == list("01234")  # type: ignore[union-attr]


async def test_what_gathers_shares_a_sync_and_keeps_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 appends at once: few syncs, the chain whole, each task's records in its own order,
    a call's records next to each other, and the state that of the file."""
    syncs = 0
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r") as ledger, anyio.create_task_group() as group:

        async def one(number: int) -> None:
            error = ErrorRecord(kind="network", message="x")
            await ledger.append(started(number))
            assert ledger.state.outcomes[f"{number:064x}"].state == "sent"
            await ledger.append(
                Unsent(key=f"{number:064x}", attempt=1, error=error),
                started(number + 1000),
            )

        for number in range(300):
            group.start_soon(one, number)
    assert syncs <= 20
    records = list(Reader(path))
    assert len(records) == 900
    places = {(type(r), r.key): place for place, r in enumerate(records)}  # type: ignore[union-attr]
    for number in range(300):
        unsent = places[Unsent, f"{number:064x}"]
        assert places[Started, f"{number:064x}"] < unsent
        assert places[Started, f"{number + 1000:064x}"] == unsent + 1
    assert read(path).outcomes == ledger.state.outcomes


async def test_a_cancelled_append_is_whole_all_the_same(tmp_path: Path) -> None:
    """A Record that was begun is durable, whatever becomes of who waited for it."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r") as ledger:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ledger.append(started(1))
        assert [type(record) for record in Reader(path)] == [Started]
        assert len(ledger.state.outcomes) == 1


@pytest.mark.parametrize("part", range(4))
async def test_cut_at_every_byte_what_is_torn_is_cut_off_and_said(
    in_memory: Path, part: int
) -> None:
    """Every whole line before the cut is kept; the torn rest is cut, said, and appended after."""
    path = in_memory / "ledger.jsonl"
    data = await write(path, told(20, EVERY_KIND), finished=False)
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    for cut in range(part, len(data) + 1, 4):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        lacks_newline = cut + 1 in ends
        torn = cut not in (0, *ends) and not lacks_newline
        ledger, said = await reopened(path)
        assert bool(said) == torn
        assert not torn or f"ledger.jsonl:{whole + 1}: " in said[0]
        records = list(Reader(path))
        assert len(records) == whole + lacks_newline + 1
        assert ledger.state.outcomes == replay(records).outcomes
        without_head(path)


async def test_cut_at_every_line_of_a_finished_ledger_is_damage(tmp_path: Path) -> None:
    """What the head says was there is missed: the first line that is gone is named."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, told(40))
    ends = [0] + [at + 1 for at, byte in enumerate(data) if byte == 10]
    for lines, end in enumerate(ends[:-1]):
        path.write_bytes(data[:end])
        with pytest.raises(LedgerDamaged, match=rf"jsonl:{lines + 1}: is missing: 40 lines"):
            read(path)
    path.unlink()
    with pytest.raises(LedgerDamaged, match=r"jsonl:1: is missing"):
        read(path)


async def test_every_byte_flipped_is_damage_named_by_its_line(in_memory: Path) -> None:
    """Of a finished ledger: no flip passes, none crashes, and the message names the line hit or
    the one after it, whose link broke. (Only the newline of the last line may go unseen: nothing
    is lost with it.)"""
    path = in_memory / "ledger.jsonl"
    data = await write(path, told(20, EVERY_KIND))
    sound = read(path)
    chance = random.Random(5)
    line = 1
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(data):
            hurt = 0 if at % 5 == 0 and byte else byte ^ 1 << chance.randrange(8)
            os.pwrite(file.fileno(), bytes([hurt]), at)
            if at == len(data) - 1 and hurt == 0:
                assert read(path).outcomes == sound.outcomes
            else:
                with pytest.raises(LedgerDamaged) as damaged:
                    read(path)
                named = int(damaged.value.message.split("jsonl:")[1].split(":")[0])
                assert named in (line, line + 1), damaged.value.message
            os.pwrite(file.fileno(), bytes([byte]), at)
            line += byte == 10


async def test_every_byte_of_the_head_flipped_is_damage(tmp_path: Path) -> None:
    """The head is written whole: one that cannot be read, or is of another ledger, was changed."""
    path = tmp_path / "ledger.jsonl"
    await write(path, told(40))
    head = tmp_path / "ledger.jsonl.head"
    data = head.read_bytes()
    for at in range(len(data)):
        hurt = bytearray(data)
        hurt[at] ^= 1
        head.write_bytes(hurt)
        with pytest.raises(LedgerDamaged, match=r"ledger\.jsonl"):
            read(path)


@pytest.mark.parametrize("lines", [slice(0, 1), slice(10, 11), slice(10, 30), slice(38, 40)])
@pytest.mark.parametrize("finished", [True, False])
async def test_lines_lost_as_a_whole_are_missed(
    tmp_path: Path, lines: slice, finished: bool
) -> None:
    """In the middle the chain shows it; at the end the head does, where there is one."""
    path = tmp_path / "ledger.jsonl"
    data = (await write(path, told(40), finished=finished)).splitlines(keepends=True)
    del data[lines]
    path.write_bytes(b"".join(data))
    if lines.stop == 40 and not finished:
        assert len(list(Reader(path))) == 38  # the newest lines of a run that never ended
        return
    with pytest.raises(LedgerDamaged, match=rf"jsonl:{lines.start + 1}: "):
        read(path)


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (b'{"event":"started","v":2,"new":1}\n', "newer retouch"),
        (b'{"event":"started","v":2,"new":1}', "newer retouch"),
        (b'{"event":"brand-new","v":7}\n', "newer retouch"),
        (b'{"v":99999999999999999999}\n', "newer retouch"),
        (b'{"a":' * 100_000 + b"\n", "not a record"),
        (b'{"a":' * 100_000, "not a record"),
        (b"[" * 100_000 + b"]" * 100_000 + b"\n", "not a record"),
        (b"\xff\xfe\n", "not a record"),
        (b"\n", "not a record"),
        (b"hello", "not a record"),
        (b"\0\0\0\0\n", "not a record"),
        (b'{"event":"started"}\n', "not a record"),
        (b"null\n", "not a record"),
        (b'{"a":1}', "not a record"),
        (b'{"event":"started","v":1}\n', "not a record"),
        (b'{"event":"started","v":0}\n', "not a record"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:24].hex(),
)
async def test_what_is_no_record_is_damage(tmp_path: Path, tail: bytes, what: str) -> None:
    """A newer version, JSON nested without end, other bytes: the line is named, no crash."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, told(3), finished=False)
    path.write_bytes(data + tail)
    with pytest.raises(LedgerDamaged, match=rf"jsonl:4: .*{what}") as damaged:
        read(path)
    assert "nothing was sent" in damaged.value.hint


@pytest.mark.parametrize("text", [b"", b'{"event":"sta', b'{"event":"started","seconds":-'])
@pytest.mark.parametrize("zeros", [0, 1, 5000])
async def test_a_tail_filled_with_zeros_is_torn(tmp_path: Path, text: bytes, zeros: int) -> None:
    """File systems fill what was never written with NUL bytes."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, told(3), finished=False)
    path.write_bytes(data + text + bytes(zeros))
    ledger, said = await reopened(path)
    assert bool(said) == bool(text or zeros)
    assert path.read_bytes().startswith(data)
    assert len(list(Reader(path))) == 4
    assert ledger.state.outcomes == read(path).outcomes


async def test_a_record_whose_newline_became_zeros_is_kept(tmp_path: Path) -> None:
    """It is whole: cutting it could forget what was paid for."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, told(3), finished=False)
    path.write_bytes(data[:-1] + bytes(700))
    _, said = await reopened(path)
    assert not said
    assert path.read_bytes().startswith(data)
    assert len(list(Reader(path))) == 4


async def two_groups(
    path: Path, *, first: int = 3, last: int = 8, pad: int = 1
) -> tuple[bytes, int]:
    """A ledger of two groups that was not closed; its bytes, and where the last group begins."""
    async with open_ledger(path, "r1", threads=in_place) as ledger:
        await ledger.append(*(started(number, "x" * pad) for number in range(first)))
        offset = len(bytes_of(path))
        await ledger.append(*(started(number) for number in range(first, first + last)))
    without_head(path)
    return bytes_of(path), offset


def with_hole(data: bytes, offset: int, sectors: set[int]) -> bytes:
    """The data with those sectors never written, what was durable before `offset` kept."""
    hurt = bytearray(data)
    for sector in sectors:
        begin = max(offset, sector * SECTOR_BYTES)
        end = min(len(data), (sector + 1) * SECTOR_BYTES)
        hurt[begin:end] = bytes(max(0, end - begin))
    return bytes(hurt)


async def test_a_hole_in_the_last_group_is_torn(tmp_path: Path) -> None:
    """Whichever sectors of it never reached the disk: cut off where the group began to miss, no
    acknowledged line lost, no line after a hole believed."""
    path = tmp_path / "ledger.jsonl"
    data, offset = await two_groups(path)
    sectors = range(offset // SECTOR_BYTES, -(-len(data) // SECTOR_BYTES))
    chance, refused = random.Random(3), 0
    for _ in range(150):
        lost = {sector for sector in sectors if chance.random() < 0.3}
        path.write_bytes(with_hole(data, offset, lost))
        path.with_name(path.name + ".head").unlink(missing_ok=True)
        try:
            await reopened(path)
        except LedgerDamaged:
            refused += 1  # the first line's beginning is gone with its sector: not provable
            continue
        kept = list(Reader(path))
        assert [record.key for record in kept[:3]] == [f"{n:064x}" for n in range(3)]  # type: ignore[union-attr]
        assert path.read_bytes()[:offset] == data[:offset]
    assert refused < 75


async def test_a_hole_over_a_lines_beginning_is_torn_where_its_neighbours_tell_its_group(
    tmp_path: Path,
) -> None:
    """The lines before and after it are of one group: so is the one between."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r1", threads=in_place) as ledger:
        await ledger.append(started(1))
        offset = len(bytes_of(path))
        await ledger.append(*(started(number, "x" * 700) for number in range(2, 5)))
    without_head(path)
    data = bytes_of(path)
    second = data.index(b"\n", offset) + 1
    sector = second // SECTOR_BYTES  # its beginning, and the end of the line before it
    begins_on = -(-second // SECTOR_BYTES) * SECTOR_BYTES
    path.write_bytes(data[:second] + bytes(begins_on - second) + data[begins_on:])
    assert path.read_bytes() != with_hole(data, offset, {sector})
    await reopened(path)
    keys = [int(record.key, 16) for record in Reader(path)]  # type: ignore[union-attr]
    assert keys == [1, 2, 999]


@pytest.mark.parametrize("pad", range(0, 512, 24))
async def test_a_hole_before_the_last_group_is_damage(pad: int, tmp_path: Path) -> None:
    """Lines that were acknowledged are never cut: a later group survives and gives it away, also
    where the hole has swallowed the beginning of a group's last line."""
    path = tmp_path / "ledger.jsonl"
    data, offset = await two_groups(path, first=4, last=3, pad=pad)
    for sector in range(1, offset // SECTOR_BYTES):
        path.write_bytes(with_hole(data, 0, {sector}))
        with pytest.raises(LedgerDamaged):
            read(path)


async def test_a_torn_group_after_a_clean_end_is_cut_but_never_below_it(tmp_path: Path) -> None:
    """The head protects what was there at the last end from being taken for torn."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, [started(number) for number in range(12)])
    sector = len(data) // SECTOR_BYTES - 1
    path.write_bytes(with_hole(data, 0, {sector, sector + 1}))
    with pytest.raises(LedgerDamaged, match="12 lines were here"):
        read(path)


async def test_a_last_line_changed_since_the_end_is_named(tmp_path: Path) -> None:
    """It chains, and is not the one that the head knows."""
    path = tmp_path / "ledger.jsonl"
    data = (await write(path, [started(n) for n in range(5)])).splitlines(keepends=True)
    data[4] = data[4].replace(b'"p"', b'"q"')
    path.write_bytes(b"".join(data))
    with pytest.raises(LedgerDamaged, match=r"jsonl:5: was changed since the ledger last ended"):
        read(path)


async def test_a_head_that_cannot_be_written_is_said_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended is durable all the same."""
    said: list[str] = []
    path = tmp_path / "ledger.jsonl"

    def full(*_: object) -> None:
        raise StorageFailed("no room for it")

    monkeypatch.setattr(writing, "write_head", full)
    async with open_ledger(path, "r1", threads=in_place, say=said.append) as ledger:
        await ledger.append(started(1))
    told_once = "no room for it; the ledger is whole, only where it ended is not noted"
    assert set(said) == {told_once}
    assert len(list(Reader(path))) == 1


async def test_the_head_is_renewed_every_half_minute_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with each group, nor twice; after a clock that went back at once."""
    seconds = iter((0, 10, 20, 30, 59, 60, 61, 5, 6))
    renewed: list[int] = []

    def noted(path: Path, head: Head) -> None:
        renewed.append(head.lines)
        write_head(path, head)

    def now() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))

    monkeypatch.setattr(writing, "write_head", noted)
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r1", threads=in_place, now=now) as ledger:
        for number in range(8):
            await ledger.append(started(number))
        assert renewed == [1, 4, 6, 8]
        await ledger.append(started(8))
    assert renewed == [1, 4, 6, 8, 9]
    async with open_ledger(path, "r2", threads=in_place) as ledger:
        await ledger.append(started(9))
    assert renewed == [1, 4, 6, 8, 9, 10]


async def test_a_hole_hides_no_line_that_was_swapped_after_it(tmp_path: Path) -> None:
    """Of the lines that survive in a torn group each must follow the one before it."""
    path = tmp_path / "ledger.jsonl"
    data, offset = await two_groups(path, first=3, last=12)
    ends = [at for at in range(offset, len(data)) if data[at : at + 1] == b"\n"]
    inside = range(offset // SECTOR_BYTES + 1, ends[4] // SECTOR_BYTES)
    torn = with_hole(data, offset, {next(
        each for each in inside
        if each * SECTOR_BYTES - data.rfind(b"\n", 0, each * SECTOR_BYTES) > 150
    )})  # fmt: skip
    path.write_bytes(torn)
    read(path)
    first, second, third = ends[-4:-1]
    one, other = torn[first + 1 : second + 1], torn[second + 1 : third + 1]
    path.write_bytes(torn[: first + 1] + other + one + torn[third + 1 :])
    with pytest.raises(LedgerDamaged):
        read(path)


async def test_an_edit_that_chains_to_nothing_is_damage(tmp_path: Path) -> None:
    """A record swapped in with the right form and the wrong digest."""
    path = tmp_path / "ledger.jsonl"
    data = (await write(path, told(5), finished=False)).splitlines(keepends=True)
    forged = list(Reader(path))[2]
    data[2] = encode(forged).replace(b'"p"', b'"q"') + b"\n"
    path.write_bytes(b"".join(data))
    with pytest.raises(LedgerDamaged, match=r"jsonl:4: does not follow line 3"):
        read(path)


@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "pipe"])
@pytest.mark.parametrize("name", ["ledger.jsonl", "ledger.jsonl.head"])
async def test_what_is_no_plain_file_is_refused_and_left_alone(
    tmp_path: Path, what: str, name: str
) -> None:
    """A link is not followed, a pipe does not hang, and what they lead to is not touched."""
    path, target = tmp_path / name, tmp_path / "target"
    if what == "link":
        target.write_text("precious")
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(target)
    with pytest.raises(StorageFailed, match=name):
        async with open_ledger(tmp_path / "ledger.jsonl", "r", threads=in_place):
            pass
    assert not target.exists() or target.read_text() == "precious"


@pytest.mark.parametrize("more", [b"\n", b"x", b"12 0123456789abcdef\n"])
async def test_a_head_with_something_after_it_is_damage(tmp_path: Path, more: bytes) -> None:
    """It is written whole, so whatever follows was written by somebody else."""
    path = tmp_path / "ledger.jsonl"
    await write(path, told(40))
    head = tmp_path / "ledger.jsonl.head"
    head.write_bytes(head.read_bytes() + more)
    with pytest.raises(LedgerDamaged, match=r"ledger\.jsonl\.head:1"):
        read(path)


async def test_a_new_ledgers_name_is_durable_before_anything_is_done_on_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose folder was not synced may be gone after a power cut, with all it says."""
    synced: list[int] = []
    folder = _inode(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    async with open_ledger(tmp_path / "l", "r", threads=in_place) as ledger:
        assert folder in synced
        await ledger.append(started(1))


async def test_a_ledger_that_grows_while_it_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer appends and renews the head just then: whoever looks sees no cut."""
    path = tmp_path / "ledger.jsonl"
    head = tmp_path / "ledger.jsonl.head"
    whole = await write(path, told(41))
    newest = head.read_bytes()
    path.unlink()
    head.unlink()
    before = await write(path, told(40))

    def grown(ledger: Path) -> Head | None:
        ledger.write_bytes(whole)
        head.write_bytes(newest)
        return read_head(ledger)

    monkeypatch.setattr("retouch.ledger.reading.read_head", grown)
    assert len(whole) > len(before)
    assert len(list(Reader(path))) == 41


async def test_a_link_in_the_place_of_the_next_head_goes_and_not_its_target(tmp_path: Path) -> None:
    """The head is made anew beside the old one; whatever lies in that place is removed."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / ".ledger.jsonl.head.part").symlink_to(precious)
    await write(tmp_path / "ledger.jsonl", told(3))
    assert precious.read_text() == "precious"
    assert (tmp_path / "ledger.jsonl.head").read_text().startswith("3 ")


async def test_a_clean_end_is_written_once(tmp_path: Path) -> None:
    """Opening and closing a finished ledger writes nothing."""
    path = tmp_path / "ledger.jsonl"
    await write(path, told(3))
    before = written_when(tmp_path)
    await write(path, [])
    assert written_when(tmp_path) == before


def written_when(folder: Path) -> dict[Path, int]:
    return {each: each.stat().st_mtime_ns for each in folder.iterdir()}


async def failing(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[[], OSError]
) -> StorageFailed:
    """Append 1 whole, then let `os.name` fail for the second; the error of the third."""
    async with open_ledger(path, "r1", threads=in_place) as ledger:
        await ledger.append(started(1))

        def refuse(*_: object) -> int:
            raise fault()

        monkeypatch.setattr(os, name, refuse)
        with pytest.raises(StorageFailed):
            await ledger.append(started(2))
        monkeypatch.undo()
        with pytest.raises(StorageFailed) as failed:
            await ledger.append(started(3))
        assert len(ledger.state.outcomes) == 1
    return failed.value


@pytest.mark.parametrize("call", ["write", "fdatasync"])
async def test_a_refusal_of_the_disk_breaks_the_ledger_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It is not retried, though the disk may have come to its senses; the path is named; the
    next opening goes on."""
    path = tmp_path / "ledger.jsonl"
    fault = OSError(5, "Input/output error")
    failed = await failing(path, monkeypatch, call, lambda: fault)
    assert failed.message == f"{path}: Input/output error"
    assert failed.hint == storage_failed(path, fault).hint
    assert path.with_name("ledger.jsonl.head").read_text().startswith("1 ")  # as it began
    await reopened(path)
    keys = [record.key for record in Reader(path)]  # type: ignore[union-attr]
    # A failed sync leaves its lines to the next opening, which writes and syncs them again.
    assert [int(key, 16) for key in keys] == ([1, 999] if call == "write" else [1, 2, 999])


@pytest.mark.parametrize("is_stuck", [False, True])
async def test_a_write_cut_short_leaves_no_part_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stuck: bool
) -> None:
    """A disk that takes 10 bytes and then is full: the line is taken back; where not even that
    can be done, the next opening does it."""
    path, real = tmp_path / "ledger.jsonl", os.write

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async with open_ledger(path, "r1", threads=in_place) as ledger:
        await ledger.append(started(1))
        left = [10]

        def full(descriptor: int, data: bytes) -> int:
            if not left[0]:
                raise OSError(28, "No space left on device")
            size = real(descriptor, data[: left[0]])
            left[0] -= size
            return size

        monkeypatch.setattr(os, "write", full)
        if is_stuck:
            monkeypatch.setattr(os, "ftruncate", refuse)
        with pytest.raises(StorageFailed, match="No space left"):
            await ledger.append(started(2))
        monkeypatch.undo()
    if is_stuck:
        assert path.read_bytes().count(b"\n") == 1 != path.read_bytes().endswith(b"\n")
        _, said = await reopened(path)
        assert f"{path}:2: the last lines were torn (10 bytes)" in said[0]
        assert len(list(Reader(path))) == 2
        return
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"\n")


async def test_a_newline_that_was_added_is_not_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger whose last line lacked it gets it; a refused write after that leaves it there."""
    path = tmp_path / "ledger.jsonl"
    data = await write(path, told(3), finished=False)
    path.write_bytes(data[:-1])
    async with open_ledger(path, "r2", threads=in_place) as ledger:

        def refuse(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", refuse)
        with pytest.raises(StorageFailed):
            await ledger.append(started(1))
        monkeypatch.undo()
    assert bytes_of(path) == data


@pytest.mark.parametrize("torn", [b"", b'{"event":"sta'])
async def test_an_unclean_end_is_written_again_and_synced_before_it_is_built_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    """Where a sync had failed the last group may be in memory alone, and taken for written; also
    where a torn group comes after it."""
    path = tmp_path / "ledger.jsonl"
    data, offset = await two_groups(path)
    path.write_bytes(data + torn)
    written: list[bytes] = []
    real = os.write

    def note(descriptor: int, piece: bytes) -> int:
        written.append(bytes(piece))
        return real(descriptor, piece)

    monkeypatch.setattr(os, "write", note)
    monkeypatch.setattr(os, "fdatasync", lambda _: written.append(b"synced"))
    async with open_ledger(path, "r2", threads=in_place):
        assert written == [data[offset:], b"synced"]
    written.clear()
    async with open_ledger(path, "r3", threads=in_place):
        assert not written  # it ended cleanly
    assert bytes_of(path) == data


async def test_any_other_failure_breaks_it_too(tmp_path: Path) -> None:
    """Where a thread cannot be had, nothing is known of what was written: nobody goes on."""

    async def no_threads(call: Callable[[], T], /) -> T:
        raise RuntimeError("can't start new thread")

    async with open_ledger(tmp_path / "l", "r", threads=no_threads) as ledger:
        with pytest.raises(RuntimeError):
            await ledger.append(started(1))
        with pytest.raises(StorageFailed, match="can't start new thread"):
            await ledger.append(started(2))


async def test_an_unreadable_ledger_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said with its path, also to root, who may read everything."""
    path = tmp_path / "ledger.jsonl"
    await write(path, told(3))
    without_head(path)
    real = os.open

    def refuse(name: Path, flags: int) -> int:
        if name == path:
            raise PermissionError(13, "Permission denied")
        return real(name, flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageFailed, match=r"ledger\.jsonl: Permission denied"):
        read(path)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_sync_waits_for_no_picture(tmp_path: Path, anyio_backend: str) -> None:
    """Though every thread of the pool is writing a picture, a Record becomes durable."""
    written = threading.Event()
    threads = int(anyio.to_thread.current_default_thread_limiter().total_tokens)
    async with (
        open_ledger(tmp_path / "ledger.jsonl", "r1") as ledger,
        anyio.create_task_group() as group,
    ):
        for _ in range(threads):
            group.start_soon(in_thread, written.wait)
        await anyio.wait_all_tasks_blocked()
        watch = threading.Timer(10, written.set)  # an append is never cancelled
        watch.start()
        await ledger.append(started(1))
        assert not written.is_set()
        watch.cancel()
        written.set()
    assert len(list(Reader(tmp_path / "ledger.jsonl"))) == 1
