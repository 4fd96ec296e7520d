"""What a crash may leave at the end of a ledger, told apart from damage: by its bytes alone."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from retouch.ledger import FIRST_PREV, digest_of, recovery
from retouch.ledger.records import Done, Started, encode
from retouch.ledger.recovery import SECTOR_BYTES, is_beginning, is_torn_group, place_of
from tests.support.ledgers import done, started

PLACE, OTHER = ("run-1", "2026-01-01"), ("run-1", "2026-01-02")
SECTOR = bytes(SECTOR_BYTES)
WHOLE = encode(done(1, source='"猫" \\ {', seconds=-1.5e-7))


@pytest.mark.parametrize("zeros", [0, 1, 700])
def test_every_beginning_of_a_record_is_one(zeros: int) -> None:
    """Cut at any byte, within a letter too, and filled up with zeros; the whole is none."""
    for cut in range(len(WHOLE)):
        assert is_beginning(WHOLE[:cut] + bytes(zeros)), WHOLE[:cut]
    assert not is_beginning(WHOLE + bytes(zeros))


NONE = (
    b"hello", b"[", b'["a"', b'"a', b"1", b"-", b"\0x", b"{}", b'{"a":1}', b'{"a":1}x', b"{x",
    b'{"a"x', b'{"a":\xff', b'{"a":tru"', b'{"a":1,}', b'{"a":' * 100_000, b" ", b"\n",
    b'{"a":"\xff",', b'{"a":1 2', b'{"a":1X', b"{}X",
)  # fmt: skip
CUT = (
    b"", b"\0", b"{", b'{"', b'{"a":', b'{"a":-', b'{"a":1.', b'{"a":1', b'{"a":1e', b'{"a":tr',
    b'{"a":"\\u12', b'{"a":{"b":[1,', b"{ ",
)  # fmt: skip


@pytest.mark.parametrize("tail", NONE, ids=lambda tail: tail[:12].hex())
def test_what_no_record_begins_with_is_none(tail: bytes) -> None:
    assert not is_beginning(tail)


@pytest.mark.parametrize("tail", CUT, ids=lambda tail: tail.hex() or "nothing")
def test_a_value_may_be_cut_within_itself(tail: bytes) -> None:
    """Also a number after its sign, its point or its exponent's letter."""
    assert is_beginning(tail)


def line(number: int, prev: str, place: tuple[str, str] = PLACE, size: int = 1_500) -> bytes:
    """One of a group's, of so many bytes with its newline."""
    run, at = place
    record = replace(started(number, source=""), run=run, at=at, prev=prev)
    return encode(replace(record, source="x" * (size - 1 - len(encode(record))))) + b"\n"


def chained(places: Iterable[tuple[str, str]], size: int = 1_500) -> list[bytes]:
    """Lines of these groups, each after the one before."""
    found, prev = list[bytes](), FIRST_PREV
    for number, place in enumerate(places):
        found.append(line(number, prev, place, size))
        prev = digest_of(found[-1][:-1])
    return found


def holed(data: bytes, begin: int, end: int) -> bytes:
    return data[:begin] + bytes(end - begin) + data[end:]


OF_ONE = b"".join(chained([PLACE] * 4))  # lines at 0, 1500, 3000, 4500
LATER = b"".join(chained([PLACE, PLACE, OTHER, OTHER]))


def is_torn(rest: bytes, offset: int = 0, before: tuple[str, str] | None = None) -> bool:
    return is_torn_group(rest, offset, FIRST_PREV, before)


HOLES: list[tuple[str, int, int, bool]] = [
    ("a sector within a line", 512, 1024, True),
    ("a sector of the second line", 2048, 2560, True),
    ("several sectors", 1536, 2560, True),
    ("from a line's beginning to a sector's end", 1500, 1536, True),
    ("from there over several", 1500, 2560, True),
    ("across a newline", 1024, 1536, True),
    ("to no sector's end", 512, 1023, False),
    ("from no sector's beginning", 513, 1024, False),
    ("one byte", 600, 601, False),
    ("up to a line's end alone", 1024, 1499, False),
    ("the whole of a line", 1500, 2999, False),
]


@pytest.mark.parametrize(("begin", "end", "torn"), [row[1:] for row in HOLES],
                         ids=[row[0] for row in HOLES])  # fmt: skip
def test_a_hole_is_of_whole_sectors(begin: int, end: int, torn: bool) -> None:
    """As a disk writes them: what begins or ends within one was zeroed by somebody."""
    rest = holed(OF_ONE, begin, end)
    assert is_torn(rest) == torn
    shifted = is_torn_group(rest, 512 * 7, FIRST_PREV, None)
    assert shifted == torn


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2_000), st.integers(0, 11), st.integers(1, 11), st.integers(700, 1_700))
@example(1, 1, 1, 1024)
def test_a_hole_is_known_wherever_in_the_file_its_group_begins(
    offset: int, first: int, sectors: int, size: int
) -> None:
    """By the sectors of the file, and not of what is left of it; over a newline or not. From a
    line's beginning, where the group before may have ended, it need begin no sector."""
    lines = chained([PLACE] * 5, size=size)
    rest = b"".join(lines)
    begin = max(0, (-(-offset // SECTOR_BYTES) + first) * SECTOR_BYTES - offset)
    end = min(len(rest), begin + sectors * SECTOR_BYTES)
    if begin >= len(rest) - 200:
        return
    assert is_torn_group(holed(rest, begin, end), offset, FIRST_PREV, PLACE)
    inside = begin + (1 if begin else 2)
    if (offset + inside) % SECTOR_BYTES:
        begins_a_line = inside % size == 0
        found = is_torn_group(holed(rest, inside, end), offset, FIRST_PREV, PLACE)
        assert found == begins_a_line


def test_a_hole_up_to_the_files_end_is_torn() -> None:
    """What was never written there has no newline; where there is one, it was written."""
    cut = OF_ONE[:1_800]
    assert is_torn(holed(cut, 1536, 1_800))
    assert is_torn(OF_ONE[:1_500] + bytes(37))
    assert not is_torn(holed(cut + b"\n", 1536, 1_800))
    assert not is_torn(holed(cut, 1537, 1_800))


def test_what_lacks_nothing_is_not_torn() -> None:
    """A line that does not follow the one before it, or is no record, without a hole."""
    assert not is_torn(OF_ONE)
    assert not is_torn(b"hello\n" + OF_ONE)
    assert not is_torn(b'{"a":"\0"}\n')
    assert not is_torn(OF_ONE[:1_800])


def test_what_survives_is_of_one_group() -> None:
    """A later group shows that the one with the hole was acknowledged."""
    assert is_torn(holed(OF_ONE, 512, 1024))
    assert not is_torn(holed(LATER, 512, 1024))
    assert not is_torn(holed(LATER, 3_584, 4_096))
    assert is_torn(holed(LATER[3_000:], 72, 584), 0) is False
    assert is_torn_group(holed(LATER[3_000:], 72, 584), 3_000, FIRST_PREV, None)


def test_a_line_without_its_beginning_is_of_the_group_before_it_or_of_none_that_is_known() -> None:
    """It may have been the last one of a group that was acknowledged: shown by nothing else."""
    rest = holed(OF_ONE, 0, 512)
    assert is_torn(rest, before=PLACE)
    assert not is_torn(rest, before=OTHER)
    assert not is_torn(rest, before=None)
    every = holed(OF_ONE[:1_500], 0, 512)
    assert is_torn(every, before=OTHER)
    assert is_torn(every, before=None)


def test_a_beginning_tells_whose_line_it_was() -> None:
    """Of another group than those that survive after it, it was acknowledged."""
    lines = chained([PLACE, OTHER, OTHER])
    rest = holed(b"".join(lines), 512, 1024)
    assert not is_torn(rest, before=PLACE)
    assert not is_torn(rest, before=OTHER)
    assert is_torn(holed(lines[0], 512, 1024), before=OTHER)


def test_lines_that_survive_follow_each_other() -> None:
    """From the first on, where nothing is missing between; after a hole each the one before."""
    first, second, third, fourth = chained([PLACE] * 4)
    hole = holed(b"".join((first, second)), 1_536, 2_048)
    assert is_torn(hole + third + fourth)
    assert not is_torn(hole + fourth + third)
    assert not is_torn(hole + third + third)
    assert not is_torn_group(hole + third, 0, "0123456789abcdef", PLACE)
    assert not is_torn(holed(first + line(1, FIRST_PREV) + third, 3_072, 3_584))
    gone = holed(first, 512, 1024)
    assert is_torn_group(gone + second, 0, "0123456789abcdef", None)


def test_a_line_that_is_cut_is_the_last() -> None:
    """One that is ended and no record has a hole, or was changed."""
    first, second, third, _ = chained([PLACE] * 4)
    hole = holed(first, 512, 1024)
    assert is_torn(hole + second + third[:400])
    assert not is_torn(hole + second[:400] + b"\n" + third)
    assert not is_torn(hole + second + b"hello")
    assert not is_torn(hole + b"{}\n" + second)
    newer = second.replace(b'"v":1', b'"v":2')
    assert not is_torn(hole + newer + line(3, digest_of(newer[:-1])))
    assert not is_torn(hole + b"\xff\n" + second)
    assert not is_torn(hole + b"[" * 100_000 + b"\n" + second)
    assert is_torn(hole)
    assert is_torn(hole + b"")


def test_no_group_is_longer_than_a_group_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of zeros is damage, and is not searched for long."""
    rest = holed(OF_ONE, 512, 1024)
    monkeypatch.setattr(recovery, "GROUP_CAP_BYTES", len(rest))
    assert is_torn(rest)
    monkeypatch.setattr(recovery, "GROUP_CAP_BYTES", len(rest) - 1)
    assert not is_torn(rest)


def test_a_record_is_of_its_run_and_moment() -> None:
    """In that order, from itself as from the beginning of its line."""
    record = replace(started(1), run="r", at="t")
    assert place_of(record) == ("r", "t")
    segment = recovery._Segment(encode(record)[:200], 0, ended=False, record=None)
    assert segment.place == ("r", "t")
    for kind in (Started, Done):
        assert recovery._Segment(b'{"event":"%b","v":1' % kind.__name__.lower().encode(), 0,
                                 ended=False, record=None).place is None  # fmt: skip
