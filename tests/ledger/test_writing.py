"""The writer's own: its time, its end, its head, and what it holds open."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retouch.cluster import Shard
from retouch.errors import LedgerDamaged, Refused, StorageFailed
from retouch.ledger import FIRST_PREV, Reader, digest_of, open_ledger, read
from retouch.ledger.head import Head, read_head
from retouch.ledger.records import Started
from retouch.threads import in_place
from tests.support.ledgers import FIRST, begins, done, key_of, stamp, started, unknown, write

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def opened() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - they come and go


def times(path: Path) -> list[str]:
    return [record.at for record in Reader(path)]


async def test_each_group_has_a_moment_of_its_own(tmp_path: Path) -> None:
    """The clock's, or just after it where the group before has that; of one group all have it."""
    path = tmp_path / "ledger.jsonl"
    moments = iter((NOON, NOON, NOON, NOON + MICRO, NOON + timedelta(hours=1), NOON))
    async with open_ledger(path, "r", threads=in_place, now=lambda: next(moments)) as ledger:
        for number in range(6):
            await ledger.append(started(number), started(number, attempt=2))
        assert (ledger.path, ledger.run) == (path, "r")
    late = stamp(NOON + timedelta(hours=1))
    each = [stamp(NOON), stamp(NOON + MICRO), stamp(NOON), stamp(NOON + MICRO), late, stamp(NOON)]
    assert times(path) == [at for at in each for _ in range(2)]


async def test_the_time_is_that_of_the_machine_where_none_is_given(tmp_path: Path) -> None:
    """In UTC, to the microsecond."""
    before = datetime.now(UTC)
    async with open_ledger(tmp_path / "ledger.jsonl", "r") as ledger:
        assert before <= ledger.now() <= datetime.now(UTC)
        await ledger.append(started(1))
    (at,) = times(tmp_path / "ledger.jsonl")
    assert before <= datetime.fromisoformat(at) <= datetime.now(UTC)
    assert len(at) == len("2026-03-01T12:00:00.000000Z")


@pytest.mark.parametrize("behind", [timedelta(0), timedelta(minutes=9), timedelta(minutes=10)])
async def test_what_is_written_comes_after_what_was_read_of_others(
    tmp_path: Path, behind: timedelta
) -> None:
    """Just after it for as long as the clock is behind; and by the clock once that is past it."""
    write(tmp_path / "ledger.1-of-2.jsonl", [started(1, NOON), started(2, NOON - behind)])
    moments = iter((NOON + MICRO - behind, NOON - behind, NOON + timedelta(seconds=5)))
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r", threads=in_place, now=lambda: next(moments)) as ledger:
        await ledger.append(started(3))
        await ledger.append(started(4))
    assert times(path) == [stamp(NOON + MICRO), stamp(NOON + timedelta(seconds=5))]


async def test_a_clock_that_is_ten_minutes_behind_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    """By a microsecond more; the folder and the moment are named, and nothing stays open."""
    write(tmp_path / "ledger.1-of-2.jsonl", [started(1, NOON)])
    before = opened()
    with pytest.raises(Refused) as told:
        async with open_ledger(
            tmp_path / "ledger.jsonl", "r", now=lambda: NOON - timedelta(minutes=10)
        ):
            pass
    assert told.value.message == (
        f"{tmp_path}: a part of the ledger there was last written at {stamp(NOON)}, which is still "
        "to come by the clock of this machine; nothing was sent"
    )
    assert told.value.hint == "set the clock right, and run again"
    assert opened() == before


async def test_how_much_is_durable_is_how_long_the_file_is(tmp_path: Path) -> None:
    """After each group; also where the last line had lacked its newline, or a torn one was cut."""
    path = write(tmp_path / "ledger.jsonl", [started(1), started(2)])
    whole = path.read_bytes()
    for text in (whole, whole[:-1], whole[:-1] + bytes(90), whole + b'{"event":"st', b""):
        path.write_bytes(text)
        async with open_ledger(path, "r", threads=in_place) as ledger:
            assert ledger.durable_bytes == path.stat().st_size
            assert path.read_bytes() == (whole if text else b"")
            await ledger.append(started(3), started(4))
            assert ledger.durable_bytes == path.stat().st_size > len(text)
            await ledger.append(started(5))
            assert ledger.durable_bytes == path.stat().st_size
        assert len(list(Reader(path))) == 5 - (not text) * 2
        path.with_name("ledger.jsonl.head").unlink()


async def test_what_was_torn_is_said_with_its_bytes(tmp_path: Path) -> None:
    """And where it stood; of a newline alone nobody need know."""
    path = write(tmp_path / "ledger.jsonl", [started(1)])
    whole, torn = path.read_bytes(), b'{"event":"started","v":'
    for text, expected in (
        (whole[:-1], []),
        (whole[:-1] + bytes(7), []),
        (whole + torn, [
            f"{path}:2: the last lines were torn ({len(torn)} bytes) and have been cut off; "
            "nothing was done on their account"
        ]),
    ):  # fmt: skip
        said: list[str] = []
        path.write_bytes(text)
        async with open_ledger(path, "r", threads=in_place, say=said.append):
            assert path.read_bytes() == whole
        assert said == expected


async def test_the_head_says_where_it_ended(tmp_path: Path) -> None:
    """Also of a run that wrote nothing where an earlier one had not come to its end; of a ledger
    that is empty there is none."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r", threads=in_place):
        pass
    assert read_head(path) is None
    write(path, [started(1), started(2)])
    async with open_ledger(path, "r", threads=in_place):
        assert read_head(path) is None
    last = digest_of(path.read_bytes().splitlines()[-1])
    assert read_head(path) == Head(2, last) != Head(2, FIRST_PREV)


async def test_a_run_that_fails_says_nothing_of_a_clean_end(tmp_path: Path) -> None:
    """Whatever is raised in it; nothing stays open."""
    path, before = tmp_path / "ledger.jsonl", opened()

    async def fail() -> None:
        async with open_ledger(path, "r", threads=in_place) as ledger:
            await ledger.append(started(1))
            await ledger.append(started(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    head = read_head(path)
    assert head is not None
    assert head.lines == 1  # as of its first group
    assert opened() == before


async def test_nothing_stays_open_however_it_ends(tmp_path: Path) -> None:
    """Lost to another, damaged, or refused; the copy it went on in is closed too."""
    path, before = tmp_path / "ledger.jsonl", opened()
    async with open_ledger(path, "r", threads=in_place) as ledger:
        await ledger.append(started(1))
        path.unlink()
        await ledger.append(unknown(1))
        assert ledger.taken is not None
    assert opened() == before
    with pytest.raises(LedgerDamaged, match="a run lost its ledger"):
        async with open_ledger(path, "r2", threads=in_place):
            pass
    assert opened() == before
    (tmp_path / "displaced-r.jsonl").unlink()
    path.write_bytes(b"hello\n")
    with pytest.raises(LedgerDamaged, match="not a record"):
        async with open_ledger(path, "r2", threads=in_place):
            pass
    assert opened() == before


async def test_the_ledger_is_the_users_to_write_and_anybodys_to_read(tmp_path: Path) -> None:
    """As other files are that are made here: the copy beside it too."""
    path, mask = tmp_path / "ledger.jsonl", os.umask(0)
    try:
        async with open_ledger(path, "r", threads=in_place) as ledger:
            await ledger.append(started(1))
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            path.unlink()
            await ledger.append(unknown(1))
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "displaced-r.jsonl").stat().st_mode) == 0o644


async def test_what_another_division_has_begun_is_not_counted_here(tmp_path: Path) -> None:
    """It counts among what all share; of whoever writes the whole, everything is."""
    mine = next(n for n in range(99) if Shard(1, 2).owns(key_of(n)))
    write(tmp_path / "ledger.jsonl", [started(mine)])
    shard = Shard(1, 2).ledger(tmp_path)
    write(shard, [started(mine, FIRST + MICRO, attempt=2)])
    async with open_ledger(
        shard, "r", threads=in_place, now=lambda: FIRST, keeps=Shard(1, 2).owns
    ) as ledger:
        counted = {attempt: ledger.is_counted(key_of(mine), attempt) for attempt in (1, 2, 3)}
        assert counted == {1: False, 2: True, 3: False}
        assert ledger.shared is not None
    async with open_ledger(tmp_path / "ledger.jsonl", "r", now=lambda: FIRST) as ledger:
        assert ledger.shared is None
        assert all(ledger.is_counted(key_of(mine), attempt) for attempt in (1, 2, 3))


async def test_a_part_alone_is_opened_without_the_others(tmp_path: Path) -> None:
    """Though one of them is damaged; and then with them it is not."""
    write(tmp_path / "ledger.1-of-2.jsonl", [started(1)]).write_bytes(b"hello\n")
    path = tmp_path / "ledger.2-of-2.jsonl"
    async with open_ledger(path, "r", threads=in_place, is_alone=True) as ledger:
        await ledger.append(started(2))
        assert list(ledger.state.outcomes) == [key_of(2)]
    with pytest.raises(LedgerDamaged, match="1-of-2"):
        async with open_ledger(path, "r", threads=in_place):
            pass


async def test_what_refuses_to_be_made_ready_is_said_with_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn end that cannot be cut, and a folder that cannot be synced: nothing is begun."""
    path = write(tmp_path / "ledger.jsonl", [started(1)])
    path.write_bytes(path.read_bytes() + b'{"event":"st')
    before = opened()

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("ftruncate", "fsync", "fdatasync", "lseek"):
        monkeypatch.setattr(os, name, refuse)
        with pytest.raises(StorageFailed, match=r"/ledger\.jsonl: Input/output error"):
            async with open_ledger(path, "r", threads=in_place):
                pass
        monkeypatch.undo()
        assert opened() == before
    async with open_ledger(path, "r", threads=in_place) as ledger:
        assert len(ledger.state.outcomes) == 1


@pytest.mark.parametrize("end", [b"\n", b"", bytes(90)])
async def test_the_last_group_is_written_again_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    """Where it was, byte for byte, with its newline where that was missing."""
    path = write(tmp_path / "ledger.jsonl", [begins(), *(
        started(number, FIRST + timedelta(seconds=number // 2)) for number in range(2, 8)
    )])  # fmt: skip
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + end)
    lines = whole.splitlines(keepends=True)
    offset, written = sum(map(len, lines[:-2])), dict[int, bytes]()
    real = os.write

    def noted(descriptor: int, data: bytes) -> int:
        at = os.fstat(descriptor).st_size if data == b"\n" else os.lseek(descriptor, 0, os.SEEK_CUR)
        written[at] = bytes(data)
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", noted)
        async with open_ledger(path, "r", threads=in_place):
            if end == b"\n":
                assert written == {offset: whole[offset:]}
            else:
                assert written == {offset: whole[offset:-1], len(whole) - 1: b"\n"}
    assert path.read_bytes() == whole


@pytest.fixture
def long_after() -> Iterator[datetime]:
    """Moments an hour apart."""
    return (NOON + timedelta(hours=number) for number in range(99))


async def test_a_head_is_left_as_it_was_where_the_ledger_is_still_there(
    tmp_path: Path, long_after: Iterator[datetime]
) -> None:
    """Somebody else writes in it, and says himself where it ends; of a ledger with no line none is
    written either."""
    path = tmp_path / "ledger.jsonl"
    moments = iter((NOON, NOON + timedelta(seconds=1), next(long_after), next(long_after)))
    async with open_ledger(path, "r", threads=in_place, now=lambda: next(moments)) as ledger:
        await ledger.append(begins())
        await ledger.append(started(1))
        first = read_head(path)
        with path.open("ab") as file:
            file.write(b"{")
        await ledger.append(unknown(1))
    assert read_head(path) == first
    assert first is not None
    assert first.lines == 1
    (tmp_path / "displaced-r.jsonl").unlink()
    other = tmp_path / "other" / "ledger.jsonl"
    other.parent.mkdir()
    async with open_ledger(other, "r", threads=in_place) as ledger:
        other.unlink()
        await ledger.append(unknown(1))
    assert read_head(other) is None


async def test_of_a_group_that_was_lost_only_ends_are_kept(tmp_path: Path) -> None:
    """In their order, chained to what stood before, and of the same state as the copy replayed."""
    path = tmp_path / "ledger.jsonl"
    async with open_ledger(path, "r", threads=in_place) as ledger:
        await ledger.append(begins(), started(1), started(2))
        path.unlink()
        await ledger.append(done(1), unknown(2))
        await ledger.append(done(2))
        aside = tmp_path / "displaced-r.jsonl"
        assert ledger.state.outcomes == read(aside).outcomes
        assert ledger.durable_bytes == 0
        made = ledger.state.done(key_of(2))
        assert made is not None
    assert [type(each).__name__ for each in Reader(aside)] == [
        "RunBegins", "Started", "Started", "Done", "Unknown", "Done",
    ]  # fmt: skip
    assert sum(isinstance(each, Started) for each in Reader(aside)) == 2
