"""The live view's gallery says what replaying the whole ledger says, and holds none of it."""

from __future__ import annotations

import gc
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.cli.ledgers import Found
from retouch.cli.pages import Subject, review_ledger, write_report
from retouch.errors import LedgerDamaged
from retouch.ledger import Reader
from retouch.ledger.records import AnyRecord
from retouch.money import Money, total
from retouch.review import indexed
from retouch.review.document import About, Document
from retouch.review.gallery import NOTHING_KNOWN, Charge, Gallery, Shown
from retouch.review.indexed import IndexedGallery
from retouch.review.live import Tail
from retouch.review.marks import Marks
from tests.support.ledgers import begins, file_of, key_of, many, unknown, write
from tests.support.lives import Teller

ABOUT = About("x", "x", is_virtual=False)
NOTHING = Money(Decimal(0), "CNY")


class Whole(Gallery):
    """A ledger's Jobs, all held: what looking them up is compared with."""

    known = NOTHING_KNOWN

    def each(self) -> Iterator[tuple[Shown, Sequence[Charge]]]:
        for key in self.state.outcomes:
            if (shown := self.shown(key)) is not None:
                yield shown, self.charges_of(key)

    def source_names(self) -> Sequence[str]:
        return list(self.sources)

    def source_number(self, name: str) -> int:
        return self.sources[name]


def whole(path: Path) -> Whole:
    gallery = Whole()
    for record in Reader(path):
        gallery.apply(record)
    return gallery


LookUp = Callable[[Path], IndexedGallery]


@pytest.fixture
def looked_up() -> Iterator[LookUp]:
    """Galleries of ledgers, closed in the end."""
    with ExitStack() as opened:

        def gallery_of(path: Path) -> IndexedGallery:
            gallery = opened.enter_context(closing(IndexedGallery([path])))
            for _ in gallery.take(Tail(path).read()):
                pass
            return gallery

        yield gallery_of


def spent(charges: Iterator[Charge]) -> tuple[dict[str, Money], dict[str, Money]]:
    rows = list(charges)
    confirmed = total(each.amount for each in rows if each.amount is not None)
    return confirmed, total(each.high for each in rows if each.is_open and each.high is not None)


@pytest.mark.parametrize("near", [1, 128])
@pytest.mark.parametrize("seed", range(6))
def test_it_says_what_the_whole_ledger_says(
    tmp_path: Path, seed: int, near: int, monkeypatch: pytest.MonkeyPatch, looked_up: LookUp
) -> None:
    """Every Job, its Charges, counts and sums, and what changed since any line; whether Jobs are
    still at hand or replayed from the file."""
    monkeypatch.setattr(indexed, "NEAR", near)
    chance = random.Random(seed)
    teller = Teller(map(key_of, range(5)))
    for _ in range(60):
        teller.random_step(chance)
    lines: list[AnyRecord] = [begins(), *teller.records]
    run_line = 1 + chance.randrange(len(lines))
    lines.insert(run_line, begins())
    path = write(tmp_path / "ledger.jsonl", lines)
    one, other = whole(path), looked_up(path)
    assert list(other.each()) == list(one.each())
    assert other.lines == one.lines
    assert other.source_names() == list(one.sources)
    assert +other.counts == one.state.counts()
    confirmed, open_ = spent(iter(one.charges.values()))
    for sums, expected in ((other.confirmed, confirmed), (other.unknown, open_)):
        said = {code: amount for code, amount in sums.items() if amount}
        assert said == {code: each.amount for code, each in expected.items() if each.amount}
    after = spent(each for each in one.charges.values() if each.line > run_line + 1)
    for of_run, pair in ((False, (confirmed, open_)), (True, after)):
        given = [each["CNY"] for each in pair if "CNY" in each]
        assert other.counted("CNY", of_run=of_run) == total(given).get("CNY", NOTHING)
    for line in (0, 20, 50):
        later = [getattr(record, "key", None) for record in lines[line:]]
        last = dict.fromkeys(key for key in reversed(later) if key)
        assert other.changed_after(line) == list(reversed(last))
    documents = [Document(each, Marks(), tmp_path).whole(ABOUT) for each in (one, other)]
    assert {**documents[0], "written": 0} == {**documents[1], "written": 0}


def test_pictures_are_found_by_path_and_by_digest(tmp_path: Path, looked_up: LookUp) -> None:
    """What was recorded is found; what was not is not, whatever is asked for."""
    gallery = looked_up(write(tmp_path / "ledger.jsonl", [begins(), *many(3)]))
    file = file_of(1)
    assert gallery.file_at(file.path) == file
    found = gallery.file_of(file.sha256[:32])
    assert found is not None
    assert found.sha256 == file.sha256
    for asked in ("", "x", "../ledger.jsonl", "0" * 31, "'; drop table job; --"):
        assert gallery.file_at(asked) is gallery.file_of(asked) is None
        assert gallery.shown(asked) is None


def test_a_ledger_that_is_overwritten_is_noticed(tmp_path: Path, looked_up: LookUp) -> None:
    """A line that is looked up and is no record any more is said, not shown."""
    path = write(tmp_path / "ledger.jsonl", [begins(), *many(indexed.NEAR + 5)])
    gallery = looked_up(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"x" * size)
    with pytest.raises(LedgerDamaged, match="changed while it was read"):
        list(gallery.each())


def test_memory_does_not_grow_with_the_ledger(tmp_path: Path, looked_up: LookUp) -> None:
    """Five times as many Jobs, settled or not, take hardly more memory; replayed in whole they
    take some kilobytes each."""
    held = []
    for count in (400, 2000):
        records = [begins(), *many(count), *map(unknown, range(count, 2 * count))]
        path = write(tmp_path / str(count) / "ledger.jsonl", records)
        tracemalloc.start()
        gallery = looked_up(path)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert sum(gallery.counts.values()) == 2 * count
        assert gallery.unknown.get("CNY", Decimal(0)) > 0
    assert (held[1] - held[0]) / 3200 < 40  # bytes a Job; whole: more than a thousand


def test_pages_take_little_more_memory_for_more_jobs(tmp_path: Path) -> None:
    """All pages of a ledger: what a page holds of a Job, and no Record."""
    peaks = []
    for count in (100, 500, 3500):  # the first one loads what is loaded once
        path = write(tmp_path / str(count) / "ledger.jsonl", [begins(), *many(count)])
        subject = Subject(Found(path), "x", "x")
        gc.collect()
        tracemalloc.start()
        write_report(subject, review_ledger(subject, Marks()), Marks())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[2] - peaks[1]) / 3000 < 3000  # bytes a Job; with its Records: 5,500


def test_pages_leave_no_file_open(tmp_path: Path) -> None:
    """Neither the ledger's, which Jobs are read from, nor that of what was noted of them."""
    path = write(tmp_path / "ledger.jsonl", [begins(), *many(indexed.NEAR + 5)])
    subject = Subject(Found(path), "x", "x")
    reviewed = review_ledger(subject, Marks())
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names alone
    gc.disable()  # it would close them, some time
    try:
        for _ in range(3):
            write_report(subject, reviewed, Marks())
        assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
    finally:
        gc.enable()
