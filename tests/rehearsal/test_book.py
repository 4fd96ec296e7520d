"""The book of charges: durable before the reply, whole after a crash."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retouch_rehearsal import Book, Charge


def charge(number: int) -> Charge:
    return Charge(float(number), "key", "edits", "m", 1, 2, 3, 5, None, "digest")


def test_a_charge_is_on_disk_when_record_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, then fsynced, then kept: in that order."""
    path, synced = tmp_path / "book", []
    monkeypatch.setattr(os, "fsync", lambda _descriptor: synced.append(path.read_bytes()))
    with Book(path) as book:
        book.record(charge(1))
    assert synced == [path.read_bytes()]


def test_a_failed_write_is_no_charge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that says no lets no reply go out."""

    def fails(_descriptor: int) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "fsync", fails)
    with Book(tmp_path / "book") as book:
        with pytest.raises(OSError, match="I/O"):
            book.record(charge(1))
        assert book.charges == []
    assert (tmp_path / "book").read_bytes() == b""


def test_a_book_opened_again_goes_on(tmp_path: Path) -> None:
    """Its torn last line was never answered, so it is cut."""
    path = tmp_path / "book"
    with Book(path) as book:
        book.record(charge(1))
    with path.open("ab") as file:
        file.write('{"at": 2.0, "键'.encode()[:-1])
    with Book(path) as book:
        book.record(charge(3))
        assert book.charges == [charge(1), charge(3)]
    with Book(path) as book:
        assert book.charges == [charge(1), charge(3)]


@pytest.mark.parametrize("text", ["hello\n", "hello", "{}\n", "[]\n"])
def test_what_is_no_book_is_refused(tmp_path: Path, text: str) -> None:
    """And left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="not a book"):
        Book(path)
    assert path.read_text(encoding="utf-8") == text


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    """Every charge is a line of its own."""
    path = tmp_path / "book"
    with Book(path) as book, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: book.record(charge(number)), range(200)))
    with Book(path) as book:
        assert sorted(row.at for row in book.charges) == [float(n) for n in range(200)]
