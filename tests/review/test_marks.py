"""Marks: last wins, a torn line is none, many writers take turns, a word means what it says."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.errors import InputRefused
from retouch.review.marks import Marks, append_marks, mark_now, read_marks
from tests.support.albums import Album, common_album, key_of
from tests.support.ledgers import GEMINI, KLING

KEY, OTHER = "a" * 64, "b" * 64


def test_the_last_word_stands(tmp_path: Path) -> None:
    """A mark of the whole Job supersedes those of its pictures, and they it."""
    append_marks(tmp_path, [mark_now(KEY, 0, "reject", "blurred"), mark_now(KEY, None, "keep")])
    marks = read_marks(tmp_path)
    assert [getattr(marks.of(KEY, index), "mark", "") for index in (0, 1)] == ["keep", "keep"]
    append_marks(tmp_path, [mark_now(KEY, 1, "reject"), mark_now(OTHER, 0, "keep")])
    append_marks(tmp_path, [mark_now(OTHER, 0, "none")])
    marks = read_marks(tmp_path)
    assert (marks.rejects(KEY, 0), marks.rejects(KEY, 1)) == (False, True)
    assert marks.of(OTHER, 0) is None
    again = Marks()
    for mark in marks.standing():
        again.take(mark)
    assert again.rejects(KEY, 1)
    assert again.of(OTHER, 0) is None


def test_a_job_is_rejected_unless_a_picture_of_it_is_kept() -> None:
    """One of two variants rejected means the Job; one kept by name holds it."""
    marks = Marks()
    marks.take(mark_now(KEY, 0, "reject"))
    assert marks.rejected_keys == {KEY}
    marks.take(mark_now(KEY, 1, "keep"))
    assert marks.rejected_keys == set()
    marks.take(mark_now(KEY, 1, "none"))
    assert marks.rejected_keys == {KEY}
    marks.take(mark_now(KEY, 0, "none"))
    assert marks.rejected_keys == set()


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    """What a crash left of a line was never acknowledged; the next mark stands whole."""
    append_marks(tmp_path, [mark_now(KEY, 0, "reject")])
    path = tmp_path / "review.jsonl"
    path.write_bytes(path.read_bytes() + b'{"v":1,"at":"2026')
    assert read_marks(tmp_path).rejects(KEY, 0)
    append_marks(tmp_path, [mark_now(OTHER, 0, "reject")])
    assert read_marks(tmp_path).rejected_keys == {KEY, OTHER}


@pytest.mark.parametrize(
    "line",
    [b"{}", b"no", b'{"v":1,"at":"","key":"x","mark":"keep"}', b"\xff", b'{"v":2}',
     b'{"v":1,"at":"","key":"' + b"a" * 64 + b'","mark":"love"}'],
)  # fmt: skip
def test_what_is_no_mark_is_named_by_its_line(tmp_path: Path, line: bytes) -> None:
    """A judgement is never lost without a word."""
    append_marks(tmp_path, [mark_now(KEY, 0, "keep")])
    with (tmp_path / "review.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InputRefused, match=r"review\.jsonl:2: "):
        read_marks(tmp_path)


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    """Two hundred marks from eight threads are two hundred whole lines."""
    with ThreadPoolExecutor(8) as pool:
        for index in range(200):
            pool.submit(append_marks, tmp_path, [mark_now(KEY, index, "reject", "é" * 400)])
    lines = (tmp_path / "review.jsonl").read_text("utf-8").splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == list(range(200))


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return common_album(tmp_path)


def marked(album: Album, *words: str) -> list[tuple[str, int | None, str]]:
    code = main(["review", str(album.manifest), "--outputs", str(album.outputs), *words])
    assert code == 0
    lines = (album.folder / "review.jsonl").read_text("utf-8").splitlines()
    return [(each["key"], each["index"], each["mark"]) for each in map(json.loads, lines)]


def test_a_word_means_a_key_a_source_a_path_or_a_pattern(album: Album) -> None:
    """Each way to name pictures, also from a file; nothing is served."""
    gemini, kling = (key_of("data/cats/1.png", model, "white") for model in (GEMINI, KLING))
    names = album.root / "names.txt"
    names.write_text("data/dogs/0.png\n\n", "utf-8")
    found = marked(album, "--reject", gemini[:12], f"images/{KLING}/white/cats/1-0.png",
                   "--reason", "no", "--keep", f"@{names}")  # fmt: skip
    assert found[:2] == [(gemini, None, "reject"), (kling, 0, "reject")]
    dogs = {key_of("data/dogs/0.png", GEMINI, prompt) for prompt in ("white", "snow")}
    dogs |= {key_of("data/dogs/0.png", KLING, "white")}
    assert set(found[2:]) == {(key, None, "keep") for key in dogs}
    (album.folder / "review.jsonl").unlink()
    assert len(marked(album, "--reject", "images/*/white/cats/*")) == 7


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--reject", "nowhere.png"], "nowhere.png"), (["--reason", "x"], "--reject"),
     (["--reject", "@absent"], "absent"), (["--port", "70000"], "65535"),
     (["--reject", "data/cats/1.png", "--keep", "data/cats/1.png"], "--keep")],
)  # fmt: skip
def test_bad_words_are_refused(
    album: Album, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    """One message, nothing written."""
    assert main(["review", str(album.manifest), "--outputs", str(album.outputs), *words]) == 2
    assert told in capsys.readouterr().err
    assert not (album.folder / "review.jsonl").exists()
