"""The disk, at full size: power cuts, refusals, kills at system calls, torn and flipped ledgers."""

from __future__ import annotations

import errno
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger import read
from tests.crash.checking import Findings, check_nothing_lost, check_states
from tests.crash.hurt import CALLS, afterwards, errand, why_not
from tests.crash.recorder import Recorder
from tests.crash.stage import Stage, recorded
from tests.torture.told import Told


@contextmanager
def _scratch() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108 - thousands of files that nobody needs to keep
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def power_cuts(share: float) -> Told:
    """10,000 states that a crash could leave, of 200 batches killed and run again."""
    scripts = max(1, round(200 * share))
    with _scratch() as scratch:
        found = Findings(scratch)
        for script in range(scripts):
            folder = scratch / str(script)
            folder.mkdir()
            stage = Stage(folder, seed=script, jobs=20)
            die_at = random.Random(script).choice((None, *range(250)))
            recorder = recorded(stage, pytest.MonkeyPatch(), die_at=die_at)
            check_states(stage, recorder, 50, seed=script, found=found)
    return Told(
        "power cuts, simulated",
        found.states,
        f"0 bought twice, 0 charges unsaid; {found.torn} torn ends cut off, "
        f"{found.refused} left to the user (exit 3)",
    )


def refusals(share: float) -> Told:
    """Every change of a batch refused in turn: each errno, once and from then on."""
    count = 0
    for refusal in (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT):
        for keeps in (False, True):
            number = 0
            while _refused(number, refusal, keeps, jobs=max(2, round(12 * share))):
                number += 1
            count += number
    return Told("n-th change refused, every n", count, "nothing lost, the next run goes on")


def _refused(number: int, refusal: int, keeps_refusing: bool, jobs: int) -> bool:
    with _scratch() as folder:
        stage = Stage(folder, seed=0, jobs=jobs)
        recorder = Recorder(
            folder, refuse_at=number, refusal=refusal, keeps_refusing=keeps_refusing
        )
        with recorder.recording(pytest.MonkeyPatch()):
            try:
                stopped = stage.run().stopped
            except StorageFailed as error:
                stopped = error
        if stopped is not None:
            assert str(folder) in stopped.message
        if recorder.refused:
            stage.run()
            check_nothing_lost(stage)
        return bool(recorder.refused)


def kills(share: float) -> Told:
    """1,000 processes killed on entry to a system call, every one of a batch in turn."""
    if why_not():
        return Told("kill -9 at a system call", 0, f"skipped: {why_not()}")
    killed = unharmed = 0
    seed, when = 0, 1
    while killed < max(1, round(1000 * share)):
        with _scratch() as folder:
            hurt = errand(folder, seed, calls=CALLS, fault="signal=KILL", when=when)
            check_nothing_lost(afterwards(folder, seed))
        died = hurt.code in (-9, 137)
        killed += died
        unharmed += not died
        seed, when = (seed, when + 1) if died else (seed, 1)
    return Told("kill -9 at a system call", killed, "0 bought twice, 0 charges unsaid")


def flips(share: float) -> Told:
    """Every bit of every byte of a finished ledger flipped."""
    with _scratch() as folder:
        Stage(folder, seed=0, jobs=max(2, round(12 * share))).run()
        path = folder / "ledger.jsonl"
        data, sound = path.read_bytes(), read(path)
        count = 0
        with path.open("r+b", buffering=0) as file:
            for at, byte in enumerate(data):
                for bit in range(8):
                    os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                    count += 1
                    try:
                        same = read(path).outcomes == sound.outcomes
                    except LedgerDamaged:
                        continue
                    assert same, f"byte {at} bit {bit}"
                os.pwrite(file.fileno(), bytes([byte]), at)
    return Told("ledger, every bit flipped", count, "all found, none crashed")
