"""Charges over whole ledgers: copies, Jobs met again, and what is remembered of each Key."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.ledger import Reader, last_attempts
from retouch.ledger.charges import Charges
from retouch.ledger.last_attempts import LastAttempts
from retouch.ledger.records import AnyRecord
from retouch.report import Tally
from tests.support.ledgers import begins, done, key_of, many, started, unknown, write

STEPS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 300), st.booleans()), max_size=60
)


@given(STEPS)
def test_what_is_put_away_is_still_known(steps: list[tuple[str, int, bool]]) -> None:
    """The last Attempt, and whether one was charged before, as two plain dicts know them."""
    lasts, charged = dict[str, int](), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_attempts, "LATEST", 3)
        known = LastAttempts()
        for key, attempt, is_charged in steps:
            known.open(key, attempt)
            lasts[key] = max(attempt, lasts.get(key, 0))
            if is_charged and attempt == lasts[key]:
                if attempt > 1:
                    assert known.charge(key, attempt) == (key in charged)
                else:
                    known.charge(key, attempt)
                charged.add(key)
            assert known.copy().last(key) == lasts[key]
        assert {key: known.last(key) for key in lasts} == lasts


def busy_hours() -> list[AnyRecord]:
    """Finished jobs, one redone, and one that is unknown at the end."""
    again: list[AnyRecord] = [started(1, attempt=2), done(1, attempt=2)]
    return [begins(), *many(4), *again, started(50), unknown(50)]


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_what_is_open_in_a_copy_counts_once(cut: int) -> None:
    """Also where the copy has nothing of its own: no Record after those it shares."""
    records = busy_hours()
    copy = records[: len(records) - cut]
    tally = Tally()
    tally.read(records)
    tally.read(copy, shared=len(copy))
    ((_, sums),) = tally.rows[()].items()
    assert (sums.unknown, sums.unknown_high) == (1, Decimal("0.6"))
    assert tally.records == len(records)


def test_the_records_of_some_keys_are_found_again(tmp_path: Path) -> None:
    """By their lines, with a key's digits anywhere else in the file, and to a torn end."""
    path = write(tmp_path / "ledger.jsonl", busy_hours())
    with path.open("ab") as file:
        file.write(b'{"event":"done","key":"' + key_of(1).encode())
    reader = Reader(path)
    records = list(reader)
    keys = {key_of(1), key_of(50)}
    lines = [n for n, each in enumerate(records, 1) if getattr(each, "key", None) in keys]
    assert [line for line, _ in reader.of_keys(keys)] == lines == [4, 5, 10, 11, 12, 13]
    found = list(Charges().again(reader, keys))
    assert found == list(Charges().again(records, keys))
    assert [posting.is_again for _, posting in found if posting.verdict == "charged"] == [
        False, True,
    ]  # fmt: skip


def test_records_written_otherwise_are_found_too(tmp_path: Path) -> None:
    """A line with blanks, and one with an escape in its Key: only their parse can tell."""
    path = write(tmp_path / "ledger.jsonl", [started(1), done(1)])
    first = path.read_bytes().splitlines()[0]
    spaced = first.replace(b'"key":"', b'"key": "')
    escaped = first.replace(key_of(1).encode(), b"\\u0061" + key_of(1)[1:].encode())
    for line, key in ((spaced, key_of(1)), (escaped, "a" + key_of(1)[1:])):
        path.write_bytes(line + b"\n")
        reader = Reader(path)
        assert len(list(reader)) == 1
        assert [number for number, _ in reader.of_keys({key})] == [1]
