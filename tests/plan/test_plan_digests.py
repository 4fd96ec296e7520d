"""The digest cache: a second plan opens no picture; without it, everything works all the same."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from retouch import pictures
from retouch.pictures import Facts
from retouch.plan import DigestCache
from retouch.plan import inspections as album
from retouch.plan.inspections import Look
from tests.support.hostile_pictures import picture
from tests.support.studio import Studio, jobs

FACTS = Facts("ab" * 32, 9, "image/png", 4, 3, "RGB", 6, True, ("odd",), 0, 255)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are looked at from here on."""
    seen: list[str] = []
    real = pictures.inspect

    def inspect(path: Path, **more: object) -> object:
        seen.append(path.name)
        return real(path, **more)  # type: ignore[arg-type] # handed on as they came

    monkeypatch.setattr(album, "inspect", inspect)
    return seen


def test_a_second_plan_opens_no_picture(studio: Studio, opened: list[str]) -> None:
    """Sources, masks and further images are all known by their stat."""
    for name in ("data/a.png", "data/b.png", "masks/a.png", "masks/b.png", "ref.png"):
        studio.make(name, picture() if name != "data/b.png" else picture(mode="L"))
    given = [{"glob": "data/*", "mask": "masks/{stem}.png", "images": ["ref.png"]}]
    first = jobs(studio.plan(inputs=given))
    assert len(opened) == 5
    opened.clear()
    assert [job.key for job in jobs(studio.plan(inputs=given))] == [job.key for job in first]
    assert opened == []


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_a_file_that_changed_is_opened_again(
    studio: Studio, opened: list[str], change: str
) -> None:
    """Any of size, modification time and inode differing is enough."""
    path = studio.make("data/a.png", picture())
    studio.plan()
    status = path.stat()
    if change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 1))
    else:
        other = studio.make("new.png", picture() + b"+" * (change == "size"))
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)
    opened.clear()
    jobs(studio.plan())
    assert opened == ["a.png"]


def test_a_bad_picture_is_looked_at_again(studio: Studio, opened: list[str]) -> None:
    """Only good facts are kept."""
    studio.make("data/a.png", b"")
    studio.plan()
    studio.plan()
    assert opened == ["a.png", "a.png"]


def test_a_link_swapped_in_is_looked_at_anew(
    studio: Studio, opened: list[str], tmp_path: Path
) -> None:
    """A folder that became a link to others of the same names gives the others."""
    studio.make("data/x/a.png")
    (before,) = jobs(studio.plan(inputs=[{"glob": "data/x/*"}]))
    (studio.folder / "data/x").rename(tmp_path / "elsewhere")
    studio.make("other/a.png", picture(99, 88))
    (studio.folder / "data/x").symlink_to(studio.folder / "other")
    opened.clear()
    (after,) = jobs(studio.plan(inputs=[{"glob": "data/x/*"}]))
    assert opened == ["a.png"]
    assert (before.source.name, after.source.name) == ("data/x/a.png", "data/x/a.png")
    assert before.key != after.key


def test_facts_come_back_as_they_were_put(tmp_path: Path) -> None:
    """Every field, by path and role; nothing for another state of the file."""
    path = tmp_path / "a.png"
    path.write_bytes(b"123456789")
    os.utime(path, (1, 1))
    with DigestCache.open(tmp_path / "outputs") as cache:
        cache.put(Look(str(path), "mask"), path.stat(), FACTS)
    with DigestCache.open(tmp_path / "outputs") as cache:
        assert cache.get(Look(str(path), "mask"), path.stat()) == FACTS
        assert cache.get(Look(str(path)), path.stat()) is None
        os.utime(path, (2, 2))
        assert cache.get(Look(str(path), "mask"), path.stat()) is None


def test_a_file_written_this_moment_is_not_remembered(tmp_path: Path) -> None:
    """It might be written again within the same tick of the clock."""
    path = tmp_path / "a.png"
    path.write_bytes(b"123456789")
    os.utime(path, (2**33, 2**33))
    with DigestCache.open(tmp_path) as cache:
        cache.put(Look(str(path)), path.stat(), FACTS)
        assert cache.get(Look(str(path)), path.stat()) is None


def damaged(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4100])


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table remembered (other text)")
        database.execute("pragma user_version = 1")
    database.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def nonsense_inside(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("update remembered set kind = '{\"mode\": 5}'")
    database.close()


@pytest.mark.parametrize("harm", [damaged, cut, foreign, a_folder, nonsense_inside])
def test_a_harmed_cache_is_done_without(studio: Studio, harm: object) -> None:
    """Damaged, cut, somebody else's, no file at all: the plan is the same."""
    studio.make("data/a.png")
    first = [job.key for job in jobs(studio.plan())]
    assert callable(harm)
    harm(studio.outputs / ".cache" / "digests.sqlite3")
    for _ in range(2):
        assert [job.key for job in jobs(studio.plan())] == first


def test_a_locked_cache_is_done_without(studio: Studio) -> None:
    """Another plan is writing: this one goes on without."""
    studio.make("data/a.png")
    first = [job.key for job in jobs(studio.plan())]
    database = sqlite3.connect(studio.outputs / ".cache" / "digests.sqlite3", isolation_level=None)
    database.execute("begin exclusive")
    try:
        assert [job.key for job in jobs(studio.plan())] == first
    finally:
        database.close()


def test_outputs_that_cannot_be_written_are_no_matter(studio: Studio) -> None:
    """Where the outputs folder should be there is a file."""
    studio.make("data/a.png")
    studio.make("outputs", b"")
    assert len(jobs(studio.plan())) == 1


def test_pictures_are_looked_at_by_two_threads(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding lets other threads run; the order of the sources stays."""
    seen = set()
    both = threading.Barrier(2, timeout=10)
    real = pictures.inspect

    def inspect(path: Path, **more: object) -> object:
        seen.add(threading.get_ident())
        both.wait()
        return real(path, **more)  # type: ignore[arg-type] # handed on as they came

    names = [f"data/{number:02}.png" for number in range(16)]  # a batch for each thread
    for name in names:
        studio.make(name)
    monkeypatch.setattr(album, "inspect", inspect)
    assert [job.source.name for job in jobs(studio.plan())] == names
    assert len(seen) == 2


def test_a_file_rewritten_in_place_under_its_old_time_is_read_again(studio: Studio) -> None:
    """As some synchronisers do: size, modification time and inode stay, change time does not."""
    path = studio.make("data/a.png")
    before = path.stat()
    (first,) = jobs(studio.plan())
    data = bytearray(path.read_bytes())
    data[-14] ^= 1  # still a picture's bytes, other ones
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size, before.st_mtime_ns, before.st_ino
    )  # fmt: skip
    plan = studio.plan()
    changed = plan.bad_sources or jobs(plan)[0].source.picture.digest != first.source.picture.digest
    assert changed
