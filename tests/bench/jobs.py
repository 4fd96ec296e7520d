"""Whole jobs: a 1 MB file up, a 1.5 MB PNG down and written; ours with ledger, syncs and checks.

Ours, the raw sockets and the peers each run in a process of their own, on one core, turn by turn;
what is told is the median of the rounds, and CPU seconds, for a machine may do other things.
`python -m tests.bench.jobs PORT FOLDER AT_ONCE` is ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from PIL import Image

from retouch.dialects import DIALECTS
from retouch.engine.batch import Batch
from retouch.engine.budget import Purse
from retouch.engine.context import Resources
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.engine.summary import RunOptions
from retouch.job import Job, Picture, Prompt, Source
from retouch.ledger import open_ledger
from retouch.manifest import Limits, Model, RunSettings
from retouch.transport import Connection, open_transport
from tests.bench import clients
from tests.bench.measured import Measured
from tests.bench.peers import python_of_the_peers
from tests.bench.server import answering
from tests.support.workbench import GEMINI, PRICES, Recorder, TestLane

_JOBS, _AT_ONCE, _ROUNDS = 64, 16, 3
_RAW = ("raw sockets", "raw sockets, durable", "raw sockets, durable, checked")
_PEERS = ("httpx", "OpenAI SDK", "async-batch-llm")
Figures = dict[str, float]


def measure() -> list[Measured]:
    """One row a reference; where the peers cannot be installed, without them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sources").mkdir()
        for index in range(_JOBS):
            (folder / f"sources/{index}.jpg").write_bytes(os.urandom(1_000_000))
        picture = folder / "answer.png"
        Image.frombytes("RGB", (710, 710), os.urandom(710 * 710 * 3)).save(picture)
        with answering(base64.b64encode(picture.read_bytes())) as port:
            words = [str(port), str(folder), str(_AT_ONCE)]
            commands = {"ours": [sys.executable, "-m", "tests.bench.jobs", *words]}
            client = str(Path(clients.__file__))
            for who in _RAW:
                commands[who] = [sys.executable, client, who, *words]
            if (python := python_of_the_peers()) is not None:
                commands |= {who: [str(python), client, who, *words] for who in _PEERS}
            found = _in_turns(commands, folder)
    ours = found.pop("ours")
    return [_row(ours, who, theirs) for who, theirs in found.items()]


def _row(ours: Figures, who: str, theirs: Figures) -> Measured:
    return Measured(
        "whole job: 1 MB up, 1.5 MB down",
        ours["cpu_seconds"],
        who,
        theirs["cpu_seconds"],
        more={"ours": ours, "theirs": theirs},
    )


def _in_turns(commands: dict[str, list[str]], folder: Path) -> dict[str, Figures]:
    """The median of each figure over the rounds."""
    rounds: dict[str, list[Figures]] = {who: [] for who in commands}
    for _ in range(_ROUNDS):
        for who, command in commands.items():
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, preexec_fn=_on_one_core
            )
            rounds[who].append(json.loads(done.stdout.splitlines()[-1]))
            for place in folder.iterdir():
                if place.is_dir() and place.name != "sources":
                    shutil.rmtree(place)
    return {
        who: {name: statistics.median(each[name] for each in figures) for name in figures[0]}
        for who, figures in rounds.items()
    }


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@cache
def _job(path: Path) -> Job:
    """A Job as the plan has it: what is known of its file is not part of the run."""
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    picture = Picture(digest, file=str(path), media_type="image/jpeg", bytes=1_000_000)
    return Job(
        GEMINI,
        Prompt("p", "make it white"),
        Source(path.name, picture),
        output=f"images/{path.stem}-{{index}}",
    )


async def _ours(port: int, sources: list[Path], folder: Path, at_once: int) -> None:
    base = f"http://127.0.0.1:{port}/v1"
    model = Model(model=GEMINI, limits=Limits(concurrency=at_once))
    lane = TestLane(model, DIALECTS["qiniu"].capabilities(GEMINI), tuple(map(_job, sources)))
    async with (
        open_ledger(folder / "ledger.jsonl", "run") as ledger,
        open_transport(Connection(base_url=base, key=None), concurrency=at_once) as transport,
    ):
        outputs = Outputs(folder)
        batch = Batch(
            lanes=[lane],
            selection=Selection(ledger.state, outputs),
            resources=Resources(
                dialect=DIALECTS["qiniu"],
                transport=transport,
                ledger=ledger,
                outputs=outputs,
                budget=Purse(),
                price_at=lambda model, _: PRICES.get(model.model),
                settings=RunSettings(),
            ),
            run_options=RunOptions(),
            observer=Recorder(),
        )
        summary = await batch.run()
    assert summary.ended["done"] == len(sources)


if __name__ == "__main__":
    port, folder, at_once = sys.argv[1:]
    for path in (Path(folder) / "sources").iterdir():
        _job(path)
    print(json.dumps(clients.measured(_ours, int(port), Path(folder), int(at_once))))  # noqa: T201
