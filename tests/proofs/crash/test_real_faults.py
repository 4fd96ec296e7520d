"""The real thing: a full disk, a sync that fails, a process killed at a system call."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from retouch.ledger import Reader
from retouch.ledger.records import Done
from tests.proofs.crash.checking import check_nothing_lost
from tests.proofs.crash.hurt import CALLS, afterwards, errand, why_not
from tests.proofs.crash.stage import Stage
from tests.support.mounts import small_disk

needs_strace = pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace works")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "160k") as made:
        yield made


def test_a_full_disk_stops_the_run_and_more_room_lets_it_go_on(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC from the kernel: exit 5 with the path; after space is made, nothing is lost."""
    monkeypatch.setattr("retouch.engine.outputs.ROOM_PER_PICTURE_BYTES", 0)  # or none is sent
    folder = disk / "outputs"
    folder.mkdir()
    stage = Stage(folder, jobs=60)
    stopped = stage.run().stopped
    assert stopped is not None
    assert stopped.exit_code == 5
    assert str(folder) in stopped.message
    assert "No space left on device" in stopped.message
    kept = sum(isinstance(record, Done) for record in Reader(folder / "ledger.jsonl"))
    assert 0 < kept < 60
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    assert stage.run().stopped is None
    check_nothing_lost(stage)


@needs_strace
@pytest.mark.parametrize(("call", "when"), [("fdatasync", 1), ("fdatasync", 6), ("fsync", 4)])
def test_a_sync_that_fails_stops_the_process_with_exit_5(
    call: str, when: int, tmp_path: Path
) -> None:
    """EIO from the kernel to a real process; it is not tried again, the next run goes on."""
    hurt = errand(tmp_path, 0, call=call, fault="error=EIO", when=when)
    assert hurt.code == 5
    assert "Input/output error" in hurt.said
    assert str(tmp_path / "outputs") in hurt.said
    check_nothing_lost(afterwards(tmp_path, 0))


@needs_strace
@pytest.mark.parametrize("call", CALLS)
def test_a_process_killed_at_any_system_call_buys_nothing_twice(in_memory: Path, call: str) -> None:
    """SIGKILL on entry to the n-th of these calls, for every n there is; run again to the end."""
    for when in count(1):
        folder = in_memory / str(when)
        folder.mkdir()
        hurt = errand(folder, 0, call=call, fault="signal=KILL", when=when)
        check_nothing_lost(afterwards(folder, 0))
        if hurt.code == 0:
            break
        assert hurt.code == -signal.SIGKILL
    assert when > CALLS[call]
