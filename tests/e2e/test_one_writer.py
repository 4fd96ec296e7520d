"""Two writers on one outputs folder: whatever became of the locks, nothing is bought twice.

The oracle is the provider's book, in another process.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.forked import Forked
from tests.e2e.house import House, house
from tests.support.mounts import also_at

SYNC = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}"
JOBS = 40


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    """Forty jobs, of which four are done at once; the provider rests after eight."""
    (tmp_path / "real").mkdir()
    with house(tmp_path / "real", held_after=8) as made:
        made.pictures(JOBS)
        made.manifest(SYNC)
        yield made


def under_way(place: House) -> Forked:
    """A run in the middle of its work, until the provider is released."""
    process = place.start("run")
    place.wait_until(lambda: len(place.book) == 8 and place.posts_arrived() == 12, process)
    return process


def doubled(place: House) -> int:
    """How many requests were charged more than once."""
    return sum(times - 1 for times in Counter(charge.request for charge in place.book).values())


@pytest.mark.parametrize("gone", [(".lock",), (".lock", ".lease")])
def test_a_lock_deleted_in_mid_run_lets_no_second_writer_in(
    place: House, gone: tuple[str, ...]
) -> None:
    """The lease, and the lock on the ledger itself, still say that it is held: exit 4."""
    first = under_way(place)
    for name in gone:
        (place.outputs / name).unlink()
    second = place.retouch("run")
    assert second.returncode == 4, second.stderr
    assert "another run holds this outputs folder" in second.stderr
    place.release()
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert (len(place.book), doubled(place)) == (JOBS, 0)
    assert place.retouch("verify").returncode == 0


def test_a_second_mount_of_the_folder_is_told_who_holds_it(place: House, tmp_path: Path) -> None:
    """The kernel's locks do not reach through FUSE; the lease does. The second exits 4."""
    with also_at(place.folder, tmp_path / "mount") as mount:
        first = under_way(place)
        second = House(mount, place.port).retouch("run")
        assert second.returncode == 4, second.stderr
        assert f"process {first.pid} on " in second.stderr
        place.release()
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert (len(place.book), doubled(place)) == (JOBS, 0)


def test_two_mounts_and_neither_lock_nor_lease(place: House, tmp_path: Path) -> None:
    """Whatever said that it is held was deleted: the first to see the other's line stops, and
    what it had in flight is not bought by the other."""
    with also_at(place.folder, tmp_path / "mount") as mount:
        first = under_way(place)
        for name in (".lock", ".lease"):
            (place.outputs / name).unlink(missing_ok=True)
        ledger = place.outputs / "ledger.jsonl"
        second = House(mount, place.port).start("run")
        place.wait_until(lambda: ledger.read_bytes().count(b'"event":"run"') == 2, second)
        place.release()
        told = [each.communicate(timeout=60)[1] for each in (first, second)]
    assert 4 in (first.returncode, second.returncode), told
    assert doubled(place) == 0


def _by_an_older_copy(ledger: Path) -> None:
    older = ledger.with_name("older.jsonl")
    shutil.copy(ledger, older)
    older.replace(ledger)


def _by_nothing(ledger: Path) -> None:
    ledger.unlink()


@pytest.mark.parametrize("replace", [_by_an_older_copy, _by_nothing])
def test_a_ledger_replaced_in_mid_run_stops_it_and_loses_nothing(
    place: House, replace: Callable[[Path], None]
) -> None:
    """Exit 4 at the next record; the next run sends nothing until what this one wrote, kept whole
    beside it, is put back; then every job is done once."""
    first = under_way(place)
    ledger = place.outputs / "ledger.jsonl"
    replace(ledger)
    place.release()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 4, told
    assert "while the run wrote it; nothing more was sent" in told
    bought = len(place.book)
    assert bought < JOBS
    again = place.retouch("run")
    assert again.returncode == 3, again.stderr
    assert len(place.book) == bought
    (aside,) = place.outputs.glob("displaced-*.jsonl")
    aside.replace(ledger)
    last = place.retouch("run")
    assert last.returncode == 0, last.stderr
    assert (len(place.book), doubled(place)) == (JOBS, 0)
    assert place.retouch("verify").returncode == 0


def test_a_rival_that_appends_stops_the_run(place: House) -> None:
    """One line that is not its own: exit 4, nothing sent after, what was in flight recorded."""
    first = under_way(place)
    with (place.outputs / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"event":"end"}\n')
    began = place.posts_begun()
    place.release()
    _, told = first.communicate(timeout=60)
    assert first.returncode == 4, told
    assert "somebody else writes in it" in told
    assert len(place.book) <= began + 4
    (aside,) = place.outputs.glob("displaced-*.jsonl")
    assert aside.read_bytes().count(b'"event":"done"') == len(place.book)
