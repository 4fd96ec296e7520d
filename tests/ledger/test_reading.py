"""A ledger read line by line: how far it came, what each line is, and whose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger import FIRST_PREV, End, Reader, digest_of, reading
from retouch.ledger.head import Head, head_path, read_head, write_head
from retouch.ledger.records import AnyRecord, Reused, Unsent, decode
from tests.support.ledgers import begins, done, file_of, key_of, started, write
from tests.support.lives import ERROR

RECORDS: list[AnyRecord] = [
    started(1),
    started(2, prompt="p" * 700),
    done(1),
    started(1, attempt=2),
]
TAILS = {  # what follows the last newline, and whether it is only torn
    "nothing": (b"", False),
    "a beginning": (b'{"event":"started","v":1,"at":"', True),
    "zeros": (bytes(900), True),
}


def grouped(groups: Sequence[int]) -> list[AnyRecord]:
    """So many Records a group, each group of another moment or another run."""
    found: list[AnyRecord] = []
    for number, size in enumerate(groups):
        run, at = f"run-{number // 2}", f"2026-01-0{1 + (number + 1) // 2}"
        found += (replace(RECORDS[each % 4], run=run, at=at) for each in range(size))
    return found


def ends_of(data: bytes, groups: Sequence[int], head: int) -> list[End]:
    """How far a reading came after each line."""
    found, size, begins_at = list[End](), 0, 0
    bodies = data.split(b"\n")[:-1]
    numbers = [number for number, each in enumerate(groups) for _ in range(each)]
    for line, body in enumerate(bodies, 1):
        if line == 1 or numbers[line - 1] != numbers[line - 2]:
            begins_at = size
        size += len(body) + 1
        found.append(End(line, size, digest_of(body), 0, False, begins_at, line == head))
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(0, 12),
    st.tuples(st.sampled_from(list(TAILS)), st.booleans()),
    st.integers(16, 900),
)
def test_how_far_a_reading_came_is_known_after_each_line(
    tmp_path_factory: pytest.TempPathFactory,
    groups: list[int], lines: int, end: tuple[str, bool], buffer: int,
) -> None:  # fmt: skip
    """Lines, bytes, the digest that the next one must name, where its group begins, whether it is
    where the head says; whatever the file is read in, and whatever its end lacks."""
    path = tmp_path_factory.mktemp("reading") / "ledger.jsonl"
    data = write(path, grouped(groups)).read_bytes()
    whole = ends_of(data, groups, 0)
    head = lines if 0 < lines <= len(whole) else 0
    if head:
        write_head(path, Head(head, whole[head - 1].prev))
    expected = ends_of(data, groups, head)
    tail, is_ended = end
    more, is_torn = TAILS[tail]
    if not is_ended:
        data = data[:-1]
        more, is_torn = (more, False) if tail == "zeros" else (b"", False)
        last, filling = expected.pop(), len(more)
        expected.append(msgspec.structs.replace(
            last, size=last.size - 1, torn_bytes=filling, unfinished=True))  # fmt: skip
    path.write_bytes(data + more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_BUFFER_BYTES", buffer)
        reader = Reader(path)
        assert reader.end == End() == End(0, 0, FIRST_PREV, 0, False, 0, False)
        assert [reader.end for _ in reader] == expected
    last = expected[-1]
    if is_torn:
        last = msgspec.structs.replace(last, torn_bytes=len(more), is_clean=False)
    assert reader.end == last
    if not is_torn:
        assert list(reader) == list(Reader(path))
        assert reader.end == last


def test_a_torn_beginning_leaves_nothing_read(tmp_path: Path) -> None:
    """The first line alone was cut: the next one is the first."""
    path = write(tmp_path / "ledger.jsonl", [started(1)])
    path.write_bytes(path.read_bytes()[:-30])
    reader = Reader(path)
    assert list(reader) == []
    assert reader.end == End(0, 0, FIRST_PREV, path.stat().st_size)


def test_a_reading_begins_anew(tmp_path: Path) -> None:
    """Of a ledger that is gone, or is another one by now, nothing is left of the first reading."""
    path = write(tmp_path / "ledger.jsonl", [started(1), started(2)])
    reader = Reader(path)
    assert len(list(reader)) == reader.end.lines == 2
    path.unlink()
    assert list(reader) == []
    assert reader.end == End()


@pytest.mark.parametrize("read_before", [0, 1, 2])
def test_a_line_before_a_hole_follows_what_was_read(tmp_path: Path, read_before: int) -> None:
    """Torn is a group of lines that follow each other: one from elsewhere before its hole shows
    that somebody put it there."""
    path = write(tmp_path / "ledger.jsonl", [started(n, source="x" * 900) for n in range(5)])
    lines = path.read_bytes().splitlines(keepends=True)
    before = b"".join(lines[:read_before])
    right = digest_of(lines[read_before - 1][:-1]) if read_before else FIRST_PREV
    for prev in (right, FIRST_PREV, "", "0123456789abcdef"):
        line = lines[read_before].replace(b'"prev":"%b"' % right.encode(),
                                          b'"prev":"%b"' % prev.encode())  # fmt: skip
        text = before + line + lines[read_before + 1]
        hole = -(-(len(before + line) + 150) // 512) * 512
        path.write_bytes(text[:hole] + bytes(512) + text[hole + 512 :])
        if prev == right:
            assert len(list(Reader(path))) == read_before + 1
        else:
            with pytest.raises(LedgerDamaged, match=rf"jsonl:{read_before + 1}: "):
                list(Reader(path))


HINT = (
    "nothing was sent; restore the newest copy of the ledger and its .head, or let "
    "`retouch salvage {path}` keep what is whole and hold what may have come after"
)


def refused(path: Path) -> LedgerDamaged:
    with pytest.raises(LedgerDamaged) as told:
        list(Reader(path))
    return told.value


def test_damage_names_its_line_and_what_to_do(tmp_path: Path) -> None:
    """A line that is missing, one that is first and is not, and one that was changed."""
    path = write(tmp_path / "ledger.jsonl", [started(1), started(2), started(3)])
    lines = path.read_bytes().splitlines(keepends=True)
    hint = HINT.format(path=path)
    for text, number, what in (
        (lines[1] + lines[2], 1, "is not first"),
        (lines[0] + lines[2], 2, "does not follow line 1: it was changed"),
        (lines[0].replace(b'"v":1', b'"v":0'), 1, "not a record of version 1"),
        (lines[0] + b"null\n", 2, "not a record (Expected `object`, got `null`)"),
    ):
        path.write_bytes(text)
        told = refused(path)
        assert (told.message, told.hint) == (f"{path}:{number}: {what}", hint)
    path.write_bytes(b"".join(lines))
    write_head(path, Head(5, "0" * 16))
    told = refused(path)
    said = f"{path}:4: is missing: 5 lines were here at the last end"
    assert (told.message, told.hint) == (said, hint)
    write_head(path, Head(2, "0" * 16))
    told = refused(path)
    said = f"{path}:2: was changed since the ledger last ended"
    assert (told.message, told.hint) == (said, hint)


@pytest.mark.parametrize("version", [2, 3, 10**30])
@pytest.mark.parametrize("is_readable", [True, False])
def test_what_a_newer_retouch_wrote_is_known_for_it(
    tmp_path: Path, version: int, is_readable: bool
) -> None:
    """Though it could be read as one of ours: which version, and that nothing is damaged."""
    path = write(tmp_path / "ledger.jsonl", [started(1)])
    prev = digest_of(path.read_bytes()[:-1])
    line = msgspec.json.encode(replace(started(2), prev=prev))
    line = line.replace(b'"v":1', b'"v":%d' % version)
    if not is_readable:
        line = line.replace(b'"event":"started"', b'"event":"brand-new"')
    path.write_bytes(path.read_bytes() + line + b"\n")
    told = refused(path)
    assert told.message == (
        f"{path}:2: a newer retouch wrote this ledger (records of version {version}; this one "
        "reads 1)"
    )
    assert told.hint == "nothing is damaged and nothing was sent; update retouch and run again"


@pytest.mark.parametrize("version", ["1", "0", "-7", "null", '"2"', "2.5", "true", "[2]"])
def test_what_is_no_newer_version_is_no_record(tmp_path: Path, version: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"event":"brand-new","v":%b}\n' % version.encode())
    assert "not a record (" in refused(path).message


WILD = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WILD, WILD), max_size=6), st.sets(WILD, max_size=3), st.booleans())
def test_the_records_of_a_key_are_found_whatever_its_letters(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[tuple[str, str]], asked: set[str], is_ended: bool,
) -> None:  # fmt: skip
    """And whatever else the lines say: as a look at each Record finds them, with their lines."""
    path = tmp_path_factory.mktemp("keys") / "ledger.jsonl"
    records: list[AnyRecord] = [begins()]
    for key, words in written:
        error = replace(ERROR, message=f'{words}"key":"{words}"')
        records += [
            Unsent(key=key, attempt=1, error=error),
            Reused(key=words, source_ledger=f'"key":"{key}"', files=(file_of(1),)),
        ]
    data = write(path, records).read_bytes()
    if not is_ended:
        path.write_bytes(data[:-1])
    reader = Reader(path)
    keys = asked | {key for key, _ in written[:1]} | {words for _, words in written[1:2]}
    found = [
        (number, record)
        for number, record in enumerate(reader, 1)
        if getattr(record, "key", None) in keys
    ]
    assert list(reader.of_keys(keys)) == found
    assert list(reader.of_keys(())) == []


def test_records_are_found_as_far_as_the_last_reading_came(tmp_path: Path) -> None:
    """What was appended since is not looked at; where the ledger is gone by now, there is none."""
    path = write(tmp_path / "ledger.jsonl", [started(1), done(1)])
    reader, keys = Reader(path), {key_of(1)}
    assert list(reader.of_keys(keys)) == []
    assert len(list(reader)) == 2
    with path.open("ab") as file:
        file.write(b'{"key":"' + key_of(1).encode() + b'"}\n')
    assert [number for number, _ in reader.of_keys(keys)] == [1, 2]
    path.unlink()
    assert list(reader.of_keys(keys)) == []


def test_few_lines_are_parsed_for_a_few_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a million Jobs, seconds: those of the Keys, and what has none."""
    path = write(tmp_path / "ledger.jsonl", [begins(), *map(started, range(50)), done(7)])
    reader, times = Reader(path), 0
    assert len(list(reader)) == 52

    def counted(line: bytes) -> AnyRecord:
        nonlocal times
        times += 1
        return decode(line)

    monkeypatch.setattr(reading, "decode", counted)
    assert [number for number, _ in reader.of_keys({key_of(7)})] == [9, 52]
    assert times == 3


@pytest.mark.parametrize("more", [b"XX", b"X", b"x", b"}", b"\0x", b"{"])
def test_what_follows_a_last_line_without_newline_is_damage(tmp_path: Path, more: bytes) -> None:
    """Only zeros may: somebody else wrote the rest."""
    path = write(tmp_path / "ledger.jsonl", [started(1), started(2)])
    path.write_bytes(path.read_bytes()[:-1] + more)
    with pytest.raises(LedgerDamaged, match=r"jsonl:2: not a record"):
        list(Reader(path))


def test_a_disk_that_refuses_is_said_with_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is read, searched, or looked at again after a torn line."""
    path = write(tmp_path / "ledger.jsonl", [started(1), done(1)])
    reader = Reader(path)
    assert len(list(reader)) == 2

    class Refusing:
        """A file of which so many readings succeed."""

        def __init__(self, file: object, left: int) -> None:
            self._file, self._left = file, left

        def __enter__(self) -> Refusing:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()  # type: ignore[attr-defined]

        def __iter__(self) -> Refusing:
            return self

        def __next__(self) -> bytes:
            return self.read()

        def seek(self, offset: int) -> None:
            self._file.seek(offset)  # type: ignore[attr-defined]

        def read(self, size: int = -1) -> bytes:
            if not self._left:
                raise OSError(5, "Input/output error")
            self._left -= 1
            return self._file.read(size)  # type: ignore[attr-defined, no-any-return]

    real = os.fdopen
    said = rf"^{path}: cannot be read: Input/output error$"
    for left in (0, 1, 2):
        if left:
            path.write_bytes(path.read_bytes()[:-9])
        monkeypatch.setattr(os, "fdopen", lambda *given, n=left: Refusing(real(*given), n))
        with pytest.raises(StorageFailed, match=said):
            list(Reader(path))
        monkeypatch.undo()
    monkeypatch.setattr(os, "fdopen", lambda *given: Refusing(real(*given), 0))
    with pytest.raises(StorageFailed, match=said):
        list(reader.of_keys({key_of(1)}))


def test_a_head_is_two_numbers_on_a_line(tmp_path: Path) -> None:
    """As many lines as anybody can write; what else is there was changed, and may be removed."""
    path = tmp_path / "ledger.jsonl"
    assert read_head(path) is None
    assert head_path(path) == tmp_path / "ledger.jsonl.head"
    for lines in (0, 1, 10**15 - 1):
        write_head(path, Head(lines, "0123456789abcdef"))
        assert read_head(path) == Head(lines, "0123456789abcdef")
    for text in (b"", b"1 0\n", b"1 0123456789abcdef", b"1  0123456789abcdef\n", b"x" * 999,
                 b"1 0123456789ABCDEF\n", b"1000000000000000 0123456789abcdef\n"):  # fmt: skip
        head_path(path).write_bytes(text)
        with pytest.raises(LedgerDamaged) as told:
            read_head(path)
        said = f"{path}.head:1: is not what was written there; it was changed"
        assert told.value.message == said
        assert "if the ledger itself is known to be good, remove this file" in str(told.value.hint)
