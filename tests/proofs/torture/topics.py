"""The topics of the torture: what a piece of each does, and how many there are at full size."""

from __future__ import annotations

import errno
import io
import math
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from retouch.errors import LedgerDamaged, StorageFailed
from retouch.ledger import read
from tests.e2e import hasty_server
from tests.e2e.house import served
from tests.e2e.killing import KILLS, killed_again_and_again
from tests.proofs.crash.checking import Findings, check_nothing_lost, check_states
from tests.proofs.crash.hurt import CALLS, afterwards, errand, why_not
from tests.proofs.crash.recorder import Recorder
from tests.proofs.crash.stage import Stage, recorded
from tests.proofs.crew.lost_machines import prove, run_through_losses
from tests.proofs.fuzz.targets import TARGETS, fuzz
from tests.proofs.gateways import Night, figures
from tests.proofs.mirrors import killed as killed_with_mirror
from tests.proofs.split.static_split import prove as prove_split
from tests.proofs.split.static_split import run_split
from tests.support.hugging_face import hugging_face
from tests.support.reviewing import grown
from tests.support.round_trip import round_trips as trips
from tests.support.simulation import Campaign, check

REFUSALS = [
    (refusal, keeps)
    for refusal in (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)
    for keeps in (False, True)
]
INPUTS_A_PIECE = 5000
ROUND_TRIP_PICTURES = 2000
FLAT_BYTES = 5_000_000  # 0.5 KB a job; held in memory, a job takes 4


@dataclass(frozen=True, slots=True)
class Topic:
    """`piece(number)` proves one piece and returns its figures."""

    proof: str
    pieces: int
    piece: Callable[[int], Counter[str]]
    outcome: str


@contextmanager
def _scratch() -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108 - thousands of files that nobody needs to keep
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def power_cut(script: int) -> Counter[str]:
    """50 states that a power cut could leave of one batch, killed and run again."""
    with _scratch() as scratch:
        found = Findings(scratch)
        folder = scratch / "outputs"
        folder.mkdir()
        stage = Stage(folder, seed=script, jobs=20)
        die_at = random.Random(script).choice((None, *range(250)))
        recorder = recorded(stage, pytest.MonkeyPatch(), die_at=die_at)
        check_states(stage, recorder, 50, seed=script, found=found)
    return Counter(
        {"states": found.states, "torn ends": found.torn, "left to the user": found.refused}
    )


def refusal(which: int) -> Counter[str]:
    """Every change of a batch refused in turn."""
    refused = 0
    while _is_refused(refused, *REFUSALS[which]):
        refused += 1
    return Counter({"changes refused": refused})


def _is_refused(number: int, refusal: int, keeps_refusing: bool) -> bool:
    with _scratch() as folder:
        stage = Stage(folder, seed=0, jobs=12)
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


def kills_at_calls(seed: int) -> Counter[str]:
    """One batch killed on entry to each of its system calls in turn."""
    figures: Counter[str] = Counter()
    if why_not():
        return Counter({f"(skipped: {why_not()})": 1})
    for call in CALLS:
        for when in count(1):
            with _scratch() as folder:
                hurt = errand(folder, seed, call=call, fault="signal=KILL", when=when)
                check_nothing_lost(afterwards(folder, seed))
            if hurt.code in (0, 1):
                break
            assert hurt.code == -9, hurt
            figures["kills"] += 1
    return figures


def kills_at_random(seed: int) -> Counter[str]:
    """The real program killed again and again, then run to its end."""
    with _scratch() as folder:
        killed_again_and_again(folder, seed, ("qiniu", "openai")[seed % 2])
    return Counter({"kills": KILLS})


def flips(bit: int) -> Counter[str]:
    """One bit of every byte of a finished ledger flipped."""
    with _scratch() as folder:
        Stage(folder, seed=0, jobs=12).run()
        path = folder / "ledger.jsonl"
        data, sound = path.read_bytes(), read(path)
        with path.open("r+b", buffering=0) as file:
            for at, byte in enumerate(data):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                try:
                    same = read(path).outcomes == sound.outcomes
                except LedgerDamaged:
                    same = True
                assert same, f"byte {at}"
                os.pwrite(file.fileno(), bytes([byte]), at)
    return Counter({"bits flipped": len(data)})


def bad_days(number: int) -> Counter[str]:
    """A campaign of 500 jobs; its seeds are others than the suite's."""
    with _scratch() as folder:
        work, provider = Campaign(folder, 1000 + number, 500).play()
        check(work, provider)
    return Counter({"campaigns": 1, "requests": len(provider.seen)})


def gateways(number: int) -> Counter[str]:
    """A night of 500 jobs behind gateways; its seeds are others than the suite's."""
    with _scratch() as folder:
        work, front, _ = Night(
            folder, 1000 + number, 500, dialect=("qiniu", "openai")[number % 2]
        ).play()
        return figures(work, front)


def idle_connections(_: int) -> Counter[str]:
    """30 jobs, each sent just when its server, 200 ms away, closes what idled for 2 s."""
    with (
        _scratch() as folder,
        served(folder, hasty_server.serve, keep_seconds=2.0, round_trip_seconds=0.2) as place,
    ):
        place.pictures(30)
        limits = "{concurrency: 4, requests_per_minute: 28.5}"
        place.manifest(f"  - {{model: {hasty_server.MODEL}, limits: {limits}}}")
        ended = place.retouch("run")
        assert place.state.counts() == Counter(done=30), ended.stderr
        return Counter({"requests": len(place.book)})


def inputs(number: int) -> Counter[str]:
    """Hostile inputs for one parser after the other."""
    target = list(TARGETS)[number % len(TARGETS)]
    fuzz(target, INPUTS_A_PIECE, seed=2 + number)
    return Counter({"inputs": INPUTS_A_PIECE})


def reviews(_number: int) -> Counter[str]:
    """A review, with its page open, beside a run of 10,000 jobs."""
    with _scratch() as folder:
        grown_by = grown(folder, settled=500, jobs=10_500, step=500)
    assert grown_by < FLAT_BYTES, f"it grew by {grown_by:,} bytes"
    return Counter({"jobs": 10_000, "bytes more": max(0, grown_by)})


def round_trips(_: int) -> Counter[str]:
    """2,000 pictures in each kind of labelled set, through each format, read by its readers."""
    with _scratch() as folder:
        library, cache = hugging_face(folder / "hugging-face"), folder / "cache"

        def load(*names: str, **how: Any) -> Any:
            shutil.rmtree(cache, ignore_errors=True)  # the one before it is compared already
            return library.load_dataset(*names, cache_dir=str(cache), **how)

        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return trips(folder, ROUND_TRIP_PICTURES, load)


_NOTHING_LOST = "0 bought twice, 0 charges unsaid"


def static_split(number: int) -> Counter[str]:
    """2,000 jobs by four processes at 40 a second, one killed and started again; of two pieces the
    second's budget is too small."""
    budget = Decimal(210 if number % 2 == 0 else 150)
    with tempfile.TemporaryDirectory() as folder:
        figures = prove_split(
            run_split(Path(folder), 2000, 40, budget=budget), 2000, 40, budget=budget
        )
    return Counter({name: math.ceil(figure) for name, figure in figures.items()})


def lost_machines(_: int) -> Counter[str]:
    """2,000 jobs at 40 a second on a Ray cluster of three nodes, under a budget."""
    with _scratch() as folder:
        outcome = run_through_losses(folder, 2000, 40, budget=Decimal(1000))
        figures = prove(outcome, 2000, 40, killed=2)
    return Counter({what: int(figure) for what, figure in figures.items()})


TOPICS = {
    "power-cuts": Topic("power cuts, simulated", 200, power_cut, _NOTHING_LOST),
    "refusals": Topic("n-th change refused, every n", len(REFUSALS), refusal, "nothing lost"),
    "kills": Topic("kill -9 at a system call", 12, kills_at_calls, _NOTHING_LOST),
    "random-kills": Topic("kill -9 at random", 18, kills_at_random, _NOTHING_LOST),
    "mirror-kills": Topic(
        "kill -9 at random, with a mirror", 3, killed_with_mirror, "0 bought twice, mirror = tree"
    ),
    "lost-machines": Topic(
        "a worker and a node of three killed", 1, lost_machines, "0 bought twice, limit kept"
    ),
    "static-split": Topic(
        "one of four shards killed", 2, static_split, "0 bought twice, limit and budget kept"
    ),
    "flips": Topic("ledger, every bit flipped", 8, flips, "all found, none crashed"),
    "bad-days": Topic("campaigns of 500 jobs", 500, bad_days, "every bill within what is said"),
    "gateways": Topic(
        "jobs behind gateways", 20, gateways, "every bill within what is said, 0 bought twice"
    ),
    "round-trips": Topic("labelled sets in and out", 1, round_trips, "all as they were made"),
    "idle-connections": Topic(
        "idle for 2 s, 200 ms away", 7, idle_connections, "every request answered"
    ),
    "inputs": Topic("inputs fuzzed", 200, inputs, "nothing uncaught"),
    "reviews": Topic("a review beside a run", 1, reviews, "its memory is flat"),
}
