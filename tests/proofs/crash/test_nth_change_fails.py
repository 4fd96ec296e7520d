"""A disk that says no at the n-th change of a run, for every n until none is left to refuse."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path

import pytest

from retouch.errors import StorageFailed
from retouch.ledger import read
from retouch.ledger.records import Done
from tests.proofs.crash.checking import check_nothing_lost
from tests.proofs.crash.recorder import Recorder
from tests.proofs.crash.stage import Stage

REFUSALS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


def refused_run(
    stage: Stage, recorder: Recorder, patch: pytest.MonkeyPatch
) -> StorageFailed | None:
    """One run on the failing disk: what the user is told, None when nothing was refused."""
    with recorder.recording(patch):
        try:
            stopped = stage.run().stopped
        except StorageFailed as error:
            stopped = error
    assert stopped is None or isinstance(stopped, StorageFailed)
    return stopped


@pytest.mark.parametrize("keeps_refusing", [False, True], ids=["once", "from then on"])
def test_every_change_refused_in_turn_loses_nothing(
    keeps_refusing: bool, in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run stops with the path; the next one goes on and ends; nothing is bought twice."""
    refused: Counter[str] = Counter()
    number = 0
    while True:
        folder = in_memory / str(number)
        folder.mkdir()
        stage = Stage(folder, jobs=4)
        recorder = Recorder(
            folder,
            lambda stage=stage: stage.probe,  # type: ignore[misc]  # bound here, once a turn
            refuse_at=number,
            refusal=REFUSALS[number % len(REFUSALS)],
            keeps_refusing=keeps_refusing,
        )
        stopped = refused_run(stage, recorder, monkeypatch)
        if not recorder.refused:
            assert stopped is None
            break
        what = recorder.refused.split()[0]
        refused[what] += 1
        if stopped is None:  # a leftover not tidied away, or the head not written, stop nobody
            assert recorder.refused.startswith("unlink .") or "head" in stage.said[-1]
        else:
            assert str(folder) in stopped.message
            assert stopped.hint
        stage.run()
        check_nothing_lost(stage)
        number += 1
    assert set(refused) >= {"open", "mkdir", "write", "fsync", "link", "unlink", "rename"}


def test_what_was_paid_for_before_the_disk_failed_is_in_the_ledger(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes no picture any more stops the sending at once."""
    stage = Stage(in_memory, jobs=40, concurrency=2)
    recorder = Recorder(in_memory, refuse_at=120, refusal=errno.ENOSPC, keeps_refusing=True)
    stopped = refused_run(stage, recorder, monkeypatch)
    assert stopped is not None
    assert "No space left on device" in stopped.message
    kept = sum(isinstance(outcome.decided, Done) for outcome in
               read(in_memory / "ledger.jsonl").outcomes.values())  # fmt: skip
    assert 0 < kept < 40
    assert len(stage.provider.book) <= kept + 2 * stage.concurrency
