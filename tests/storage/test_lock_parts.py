"""Which parts of a folder's work may be held at once, however they are asked for."""

from __future__ import annotations

import threading
from itertools import product
from pathlib import Path

import msgspec
import pytest

from retouch.errors import Refused, StorageFailed
from retouch.storage.durable import replace_whole
from retouch.storage.lease import Lease, lease_path, read_lease
from retouch.storage.lock import exclusive, held_beside
from retouch.storage.part import WHOLE, Part

PARTS = (WHOLE, Part(3, 1), Part(3, 2), Part(4, 1))


@pytest.mark.parametrize(("first", "second"), list(product(PARTS, PARTS)))
def test_shards_of_one_number_go_side_by_side_and_nothing_else(
    tmp_path: Path, first: Part, second: Part
) -> None:
    """Either way about; what is refused leaves no lock behind."""
    with exclusive(tmp_path, part=first) as hold:
        if first != second and first.count == second.count:
            with exclusive(tmp_path, part=second) as other:
                assert held_beside(tmp_path, first) == [second]
                assert (hold.lost(), other.lost()) == (None, None)
        else:
            with pytest.raises(Refused, match="holds this outputs folder"):
                exclusive(tmp_path, part=second).__enter__()
            assert held_beside(tmp_path, first) == []
    with exclusive(tmp_path, part=second):
        assert held_beside(tmp_path, second) == []


def test_of_two_that_begin_at_once_one_goes_on(tmp_path: Path) -> None:
    """Shards of different numbers, many times over: never both, and never neither."""
    for _ in range(15):
        begun, tried, held = threading.Barrier(3), threading.Barrier(3), list[Part]()

        def begin(
            part: Part, begun: threading.Barrier, tried: threading.Barrier, held: list[Part]
        ) -> None:
            begun.wait()
            try:
                with exclusive(tmp_path, part=part):
                    held.append(part)
                    tried.wait()  # whoever holds it does until all have tried
            except Refused:
                tried.wait()

        threads = [
            threading.Thread(target=begin, args=(part, begun, tried, held))
            for part in (Part(3, 1), Part(4, 2), WHOLE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 1


def test_a_shard_of_a_machine_that_locks_do_not_reach_is_seen_by_its_lease(tmp_path: Path) -> None:
    """Another number of shards waits for it; one of the same goes on."""
    with exclusive(tmp_path, part=Part(3, 1)):
        mine = read_lease(tmp_path, Part(3, 1))
        assert isinstance(mine, Lease)
    there = Lease("elsewhere", "b", "n", 7, "1", "t", mine.since, mine.heartbeat)
    lease_path(tmp_path, Part(3, 1)).write_bytes(msgspec.json.encode(there))
    for part in (Part(4, 1), WHOLE, Part(3, 1)):
        with pytest.raises(Refused, match="process 7 on elsewhere"):
            exclusive(tmp_path, part=part).__enter__()
    with exclusive(tmp_path, part=Part(3, 2)) as beside:
        assert beside.lost() is None


def test_many_that_write_the_same_file_at_once_hinder_none(tmp_path: Path) -> None:
    """Shards begin together and each writes the manifest as run: the last stands, whole, and no
    unfinished file is taken for another's."""
    path, failures = tmp_path / "manifest.yaml", list[BaseException]()

    def write(text: bytes) -> None:
        try:
            for _ in range(40):
                replace_whole(path, text)
        except StorageFailed as failed:
            failures.append(failed)

    texts = [bytes([letter]) * 5000 for letter in b"abcd"]
    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() in texts
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.yaml"]
