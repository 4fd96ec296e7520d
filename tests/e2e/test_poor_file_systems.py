"""File systems that lack something: hard links (vfat, many network disks), renames, room."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.house import House, house
from tests.proofs.crash.hurt import why_not
from tests.support.mounts import also_at, small_disk

FOUR = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}"
RUN = [sys.executable, "-m", "retouch", "run", "manifest.yaml"]


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace works")
@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP"])
def test_without_hard_links_every_picture_is_kept(tmp_path: Path, error: str) -> None:
    """As vfat or a FUSE file system answers: pictures get their names otherwise."""
    with house(tmp_path) as place:
        place.pictures(8)
        place.manifest(FOUR)
        denied = ["strace", "-f", "-qq", "-o", "links.txt", "-e", "trace=link,linkat"]
        denied += ["-e", f"inject=link,linkat:error={error}"]
        process = place.start_program([*denied, *RUN])
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert (tmp_path / "links.txt").read_text().count(f"-1 {error}") >= 1
        assert (place.state.counts(), len(place.book)) == (Counter(done=8), 8)
        assert place.retouch("verify").returncode == 0
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 8


def test_without_renames_nothing_is_sent(tmp_path: Path) -> None:
    """What could not be made durable is not paid for: exit 5, the file is named."""
    (tmp_path / "real").mkdir()
    with (
        house(tmp_path / "real") as made,
        also_at(made.folder, tmp_path / "mount", "--rename-deny") as mount,
    ):
        place = House(mount, made.port)
        place.pictures(1)
        place.manifest(FOUR)
        ran = place.retouch("run")
        assert ran.returncode == 5, ran.stderr
        assert "outputs/manifest/.lease: Operation not permitted" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert place.book == []


def test_a_disk_that_fills_in_mid_run_loses_no_charge(tmp_path: Path) -> None:
    """A tmpfs that somebody else fills while answers are on their way: exit 5, what was charged is
    said; with more room the rest is done, and nothing is bought twice."""
    with small_disk(tmp_path / "disk", "40m") as disk, house(tmp_path, held_after=6) as place:
        place.pictures(16)
        place.manifest(FOUR)
        onto_it = ("--outputs", str(disk / "outputs"))
        process = place.start_anew("run", *onto_it)
        place.wait_until(lambda: place.posts_arrived() == 10, process)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with (disk / "not ours").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - 16384)
        place.release()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 5, errors
        assert "No space left on device" in errors or "MB are free" in errors
        assert len(place.book) < 16
        (disk / "not ours").unlink()
        place.retouch("run", *onto_it)
        counts = House(disk).state.counts()
        bought = Counter(charge.request for charge in place.book)
        assert (len(bought), max(bought.values())) == (16, 1)
        assert counts["done"] >= 10
        assert counts["done"] + counts["failed"] + counts["unknown"] == 16
        assert place.retouch("verify", *onto_it).returncode == 0
