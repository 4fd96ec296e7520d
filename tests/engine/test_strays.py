"""Pictures that no Record names: each is found at its Job's place by whatever name it has, and what
is on record, broken or somebody else's is not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from retouch.engine.outputs import Outputs
from retouch.engine.strays import Strays
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.records import AnyRecord, FileRecord
from tests.support.ledgers import begins, done, started, write
from tests.support.provider import png
from tests.support.workbench import GEMINI, lane

TWO, OTHER = lane(GEMINI, 2, n=2).all_jobs
PLACE = f"images/{GEMINI}/white"


def lay(folder: Path, *names: str, data: bytes = b"x") -> None:
    for name in names:
        path = folder / PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def strays(folder: Path, *recorded: str) -> Strays:
    """What is found in a folder whose ledger names so many pictures."""
    words: dict[str, Any] = {"key": TWO.key, "model": GEMINI, "prompt": "white", "source": "0.png"}
    files = tuple(
        FileRecord(
            path=f"{PLACE}/{name}", sha256="0" * 64, bytes=1, media_type="image/png", width=1,
            height=1,
        )
        for name in recorded
    )  # fmt: skip
    records: list[AnyRecord] = [begins()]
    if recorded:
        records += [started(0, **words), done(0, files=files, **words)]
    write(folder / "ledger.jsonl", records)
    return Strays(Outputs(folder), read(folder / "ledger.jsonl"))


def at(found: Strays, job: Job = TWO) -> list[str]:
    return [path.removeprefix(f"{PLACE}/") for path in found.at(job)]


def test_a_picture_is_found_by_every_name_that_it_may_have(tmp_path: Path) -> None:
    """Each of a Job's pictures, with any suffix, and under a second name where the first was taken;
    in order, and no other Job's."""
    lay(tmp_path, "0-0.png", "0-0~2.webp", "0-1.jpg", "0-1~12.gif", "0-0.svg", "1-0.png")
    found = strays(tmp_path)
    assert at(found) == ["0-0.png", "0-0.svg", "0-0~2.webp", "0-1.jpg", "0-1~12.gif"]
    assert at(found, OTHER) == ["1-0.png"]


def test_what_is_no_picture_of_the_job_is_not_found(tmp_path: Path) -> None:
    """Another stem, another kind of file, a name that only looks numbered, another folder."""
    lay(tmp_path, "0-00.png", "0-0.txt", "0-0", "x0-0.png", "0-0~.png", "0-0~a.png", "0-0~2x.png")
    lay(tmp_path, "deeper/0-0.png")
    assert at(strays(tmp_path)) == []
    assert at(strays(tmp_path / "nowhere")) == []


def test_what_a_record_names_is_no_stray(tmp_path: Path) -> None:
    """Of two at one place the recorded one is not."""
    lay(tmp_path, "0-0.png", "0-0~2.png", "0-1.png")
    assert at(strays(tmp_path, "0-0.png", "0-1.png")) == ["0-0~2.png"]
    assert at(strays(tmp_path, "0-0.png", "0-0~2.png", "0-1.png")) == []


def test_folders_are_looked_at_once(tmp_path: Path) -> None:
    """As they were when first asked for."""
    lay(tmp_path, "0-0.png")
    found = strays(tmp_path)
    assert at(found) == ["0-0.png"]
    lay(tmp_path, "0-1.png", "1-0.png")
    assert at(found) == ["0-0.png"]
    assert at(found, OTHER) == []
    assert at(strays(tmp_path)) == ["0-0.png", "0-1.png"]


def test_whole_pictures_are_told_as_a_record_has_them(tmp_path: Path) -> None:
    """By their own bytes: digest, size, kind, sides; what is broken or a link is passed over."""
    picture = png("stray", 12)
    lay(tmp_path, "0-0.jpg", data=picture)  # a name says nothing
    lay(tmp_path, "0-0~2.png", data=picture[:-9])
    lay(tmp_path, "0-0~3.png", data=b"")
    (tmp_path / PLACE / "0-1.png").symlink_to(tmp_path / PLACE / "0-0.jpg")
    assert strays(tmp_path).files(TWO) == (
        FileRecord(
            path=f"{PLACE}/0-0.jpg", sha256=hashlib.sha256(picture).hexdigest(),
            bytes=len(picture), media_type="image/png", width=12, height=12,
        ),
    )  # fmt: skip
    assert strays(tmp_path).files(OTHER) == ()


@pytest.mark.parametrize(
    ("name", "may_be"), [("images/a/b/c.txt", True), ("images/x", True), ("other/x.png", False)]
)
def test_any_file_where_pictures_go_may_be_one(tmp_path: Path, name: str, *, may_be: bool) -> None:
    (tmp_path / "images/empty").mkdir(parents=True)
    assert strays(tmp_path).may_be is False
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert strays(tmp_path).may_be is may_be


def test_a_folder_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert strays(tmp_path).may_be is False
