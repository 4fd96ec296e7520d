"""Records read back one by one: each the very line that was replayed, and little else is read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger import Reader, lines
from retouch.ledger.lines import NOWHERE, Lines, NamedPaths, Position
from retouch.ledger.records import AnyRecord, Done, Started
from tests.support.ledgers import done, file_of, started, write

NEAR, AHEAD = 1_000, 20_000
WILD = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def laid(path: Path, records: list[AnyRecord], known: Lines) -> dict[Position, AnyRecord]:
    """The Records as they stand in a file, one more part of those lines, by where each does."""
    reader = Reader(write(path, records))
    base = known.part(path)
    found = {reader.where(base): record for record in reader}
    known.reach(base, reader.end.size)
    return found


class Reads:
    """What is read of files, with `NEAR` bytes for a line alone and `AHEAD` in their order."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lengths: list[int] = []
        patch.setattr(lines, "_NEAR_BYTES", NEAR)
        patch.setattr(lines, "_AHEAD_BYTES", AHEAD)
        patch.setattr(lines, "_REMEMBERED", 1)
        real = os.pread

        def counted(descriptor: int, length: int, offset: int) -> bytes:
            self.lengths.append(length)
            return real(descriptor, length, offset)

        patch.setattr(os, "pread", counted)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=8),
    st.lists(st.integers(0, 99), max_size=30),
    st.integers(1, 90),
)
def test_any_line_is_read_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], asked: list[int], near: int
) -> None:
    """Of two parts, through windows that end anywhere in a line."""
    folder = tmp_path_factory.mktemp("lines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_NEAR_BYTES", near)
        patch.setattr(lines, "_AHEAD_BYTES", 5 * near)
        patch.setattr(lines, "_REMEMBERED", 2)
        known = Lines()
        records = [done(number, warnings=("x" * size,)) for number, size in enumerate(sizes)]
        found = laid(folder / "a", list(records), known)
        found |= laid(folder / "b", [started(9), *records], known)
        assert len(found) == 2 * len(sizes) + 1
        places = list(found)
        for which in asked:
            place = places[which % len(places)]
            assert known.read(place) == found[place]


def test_lines_in_their_order_are_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many with one reading, and few bytes twice; of two orders at once each has its own."""
    known = Lines()
    places = list(laid(tmp_path / "a", [started(number) for number in range(400)], known))
    size = (tmp_path / "a").stat().st_size
    reads = Reads(monkeypatch)
    for place in places:
        known.read(place)
    assert size > 8 * AHEAD
    assert len(reads.lengths) <= 2 + size // AHEAD + 1
    reads.lengths.clear()
    for first, second in zip(places[:200], places[200:], strict=True):
        known.read(first)
        known.read(second)
    assert len(reads.lengths) <= 4 + size // AHEAD + 2


def test_a_line_alone_is_read_with_little_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backwards, far apart, and now of one part, now of another."""
    known = Lines()
    records: list[AnyRecord] = [started(number) for number in range(400)]
    one = list(laid(tmp_path / "a", records, known))
    other = list(laid(tmp_path / "b", records, known))
    reads = Reads(monkeypatch)
    for apart in range(399, 0, -7):
        known.read(one[apart])
    assert reads.lengths == [NEAR] * 57
    reads.lengths.clear()
    known.move(0, tmp_path / "a")  # what was read is forgotten
    for apart in range(0, 400, 60):
        known.read(one[apart])
        known.read(other[apart + 5])
    assert reads.lengths == [NEAR] * 14


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near a line that was read for itself, and asked for once more."""
    known = Lines()
    places = list(laid(tmp_path / "a", [started(number) for number in range(9)], known))
    lengths = [len(each) for each in (tmp_path / "a").read_bytes().splitlines()]
    assert 2 * max(lengths) + 2 <= NEAR < 3 * min(lengths)
    reads = Reads(monkeypatch)
    for place in (places[0], places[1], places[0], places[1]):
        known.read(place)
    assert len(reads.lengths) == 1
    known.read(places[2])
    assert len(reads.lengths) == 2


def test_a_long_line_is_read_in_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each much longer than the one before."""
    known = Lines()
    (place,) = laid(tmp_path / "a", [done(1, warnings=("x" * 50 * NEAR,))], known)
    reads = Reads(monkeypatch)
    known.read(place)
    assert reads.lengths == [NEAR, 8 * NEAR, 64 * NEAR]


def test_a_record_that_was_just_read_is_at_hand(tmp_path: Path) -> None:
    """One Job is asked about several times over: it is the same Record, and not parsed anew; of
    very many the first are forgotten."""
    known = Lines()
    places = list(laid(tmp_path / "a", [started(number) for number in range(200)], known))
    first = known.read(places[0])
    assert all(known.read(place) for place in places[:60])
    assert known.read(places[0]) is first
    assert all(known.read(place) for place in places[60:])
    again = known.read(places[0])
    assert again == first
    assert again is not first


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_a_line_that_was_changed_is_named_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """In whatever pieces the lines before it are counted; and what to do about it."""
    monkeypatch.setattr(lines, "_CHUNK_BYTES", chunk)
    known, path = Lines(), tmp_path / "a"
    places = list(laid(path, [started(number) for number in range(4)], known))
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":2'))
    for number, place in enumerate(places, 1):
        with pytest.raises(LedgerDamaged) as told:
            known.read(place)
        assert told.value.message == f"{path}:{number}: was changed while it was in use"
        assert "`retouch verify` it" in str(told.value.hint)
    path.write_bytes(b"\n" + path.read_bytes()[1:])
    for number, place in enumerate(places[1:], 3):
        with pytest.raises(LedgerDamaged, match=rf"a:{number}: "):
            known.read(place)


@pytest.mark.parametrize("end", [b"\n", b"", b"\0", bytes(700)])
def test_a_last_line_is_read_back_whatever_stands_for_its_newline(
    tmp_path: Path, end: bytes
) -> None:
    """As a crash may leave it; what somebody else wrote after it makes it another line."""
    path = write(tmp_path / "a", [started(1), done(1)])
    text = path.read_bytes()[:-1]
    for more in (end, end + b"x", b"XX"):
        path.write_bytes(text + end)
        known, reader = Lines(), Reader(path)
        base = known.part(path)
        places = [reader.where(base) for _ in reader]
        path.write_bytes(text + more)
        assert isinstance(known.read(places[0]), Started)
        if more == end or b"\n" in more:
            assert isinstance(known.read(places[1]), Done)
        else:
            with pytest.raises(LedgerDamaged, match=r"a:2: was changed"):
                known.read(places[1])


def test_what_is_no_record_any_more_is_damage_though_its_digest_is_right(tmp_path: Path) -> None:
    """As another version would take it: said as any other change."""
    path = tmp_path / "a"
    for body in (b'{"event":"new"}', b"\xff", b"[" * 100_000, b"", b"null"):
        known, digest = Lines(), hashlib.sha256(body).digest()
        path.write_bytes(body + b"\n")
        place = lines.position(known.part(path), 0, digest)
        with pytest.raises(LedgerDamaged, match=r"a:1: was changed"):
            known.read(place)


def test_a_disk_that_refuses_is_said_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is gone, too: whatever asks hears of the one that it is about."""
    known, path = Lines(), tmp_path / "a"
    (place,) = laid(path, [started(1)], known)

    def refuse(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse)
        with pytest.raises(StorageFailed) as told:
            known.read(place)
    assert told.value.message == f"{path}: cannot be read: Input/output error"
    path.unlink()
    with pytest.raises(StorageFailed) as told:
        known.read(place)
    assert told.value.message == f"{path}: cannot be read: it is gone"


def test_no_file_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state may be kept as long as one likes; also after a refusal."""
    known, path = Lines(), tmp_path / "a"
    (place,) = laid(path, [started(1)], known)
    monkeypatch.setattr(lines, "_REMEMBERED", 0)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - they come and go

    def refuse(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    for _ in range(20):
        known.move(0, path)
        assert known.read(place) == known.read(place)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", refuse)
            with pytest.raises(StorageFailed):
                list(known.paths())
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - the same


def test_a_part_goes_on_in_a_copy_of_itself(tmp_path: Path) -> None:
    """And the other stays; what was read of the former file answers no more."""
    known = Lines()
    records: list[AnyRecord] = [started(number) for number in range(3)]
    one, other = laid(tmp_path / "a", records, known), laid(tmp_path / "b", records, known)
    assert [known.read(place) for place in (*one, *other)] == [*one.values(), *other.values()]
    known._recent.clear()
    known.move(lines._OFFSET_BITS + 1, write(tmp_path / "c", [started(7)] * 3))
    assert [known.read(place) for place in one] == list(one.values())
    with pytest.raises(LedgerDamaged, match=r"/c:1: "):
        known.read(next(iter(other)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(WILD, max_size=3), max_size=4), st.integers(70, 900), WILD)
def test_every_picture_that_a_line_names_is_on_record(
    tmp_path_factory: pytest.TempPathFactory, places: list[list[str]], chunk: int, prompt: str
) -> None:
    """As its Record parsed again says it, whatever letters it has and wherever a piece of the
    file ends; of what came after it was replayed nothing."""
    folder = tmp_path_factory.mktemp("paths")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK_BYTES", chunk)
        known = Lines()
        paths = [[f"images/{name}.png" for name in each] for each in places]
        records: list[AnyRecord] = [
            done(
                number,
                prompt=f'"path":"{prompt}"',
                files=tuple(replace(file_of(0), path=name) for name in each),
            )
            for number, each in enumerate(paths)
        ]
        for name in ("a", "b"):
            laid(folder / name, [*records, started(9)], known)
            with (folder / name).open("ab") as file:
                file.write(b'{"files":[{"path":"images/later.png"}]}\n')
        assert sorted(known.paths()) == sorted([name for each in paths for name in each] * 2)


def test_names_come_as_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece at a time: a ledger of gigabytes is never held whole."""
    known = Lines()
    laid(tmp_path / "a", [done(number) for number in range(20)], known)
    monkeypatch.setattr(lines, "_CHUNK_BYTES", NEAR)
    reads, names = Reads(monkeypatch), known.paths()
    assert next(names) == "images/0.png"
    assert len(reads.lengths) <= 2
    assert list(names) == [f"images/{number}.png" for number in range(1, 20)]
    assert sum(reads.lengths) == (tmp_path / "a").stat().st_size


@given(st.lists(st.lists(WILD, max_size=6), max_size=4), st.lists(WILD, max_size=4))
def test_names_are_known_by_their_hashes(parts: list[list[str]], others: list[str]) -> None:
    """As a list of them knows them, however they were taken in and whatever was asked between."""
    first, *more = parts or [[]]
    known, every = NamedPaths(first), list(first)
    for names in more:
        assert known.hashes_named_twice == {
            hash(name) for name, count in Counter(every).items() if count > 1
        }
        known.add(names)
        every += names
    assert len(known) == len(every)
    assert all(name in known for name in every)
    assert [name in known for name in others] == [name in every for name in others]
    assert known.hashes_named_twice == {
        hash(name) for name, count in Counter(every).items() if count > 1
    }


def test_names_are_sorted_once_for_all_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million, once for each picture would take days."""
    times = 0

    def counted(hashes: object) -> object:
        nonlocal times
        times += 1
        return sorted(hashes)  # type: ignore[call-overload]

    monkeypatch.setattr(lines, "sorted", counted, raising=False)
    known = NamedPaths(map(str, range(50)))
    assert sum(str(name) in known for name in range(100)) == 50
    assert times == 1
    known.add(["new"])
    assert ("new" in known, "newer" in known) == (True, False)
    assert times == 2


def test_a_position_tells_part_byte_and_digest_in_twelve_bytes() -> None:
    """Whatever the part and however long it is; none is nowhere."""
    known = Lines()
    bases = [known.part(Path(str(number))) for number in range(3)]
    assert bases == [0, 1 << 48, 2 << 48]
    places = {
        lines.position(base, offset, bytes(range(32)))
        for base in bases
        for offset in (0, 1, (1 << 48) - 1)
    }
    assert len(places) == 9
    assert {len(place) for place in places} == {lines.POSITION_BYTES} == {12}
    assert {place[8:] for place in places} == {bytes(range(4))}
    assert not NOWHERE
