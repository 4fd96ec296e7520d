"""Whole jobs: a 1 MB file up, a 1.5 MB PNG down and written; ours with ledger, syncs and checks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
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
from tests.bench.measured import Measured, against
from tests.bench.server import answering
from tests.support.workbench import GEMINI, PRICES, Recorder, TestLane

_JOBS, _AT_ONCE = 96, 16


@dataclass(frozen=True, slots=True)
class Work:
    """The same jobs for everybody; each run writes into a folder of its own."""

    folder: Path
    port: int
    sources: tuple[Path, ...]

    def fresh(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = folder / "answer.png"
        Image.frombytes("RGB", (710, 710), os.urandom(710 * 710 * 3)).save(picture)
        with answering(base64.b64encode(picture.read_bytes())) as port:
            work = Work(folder, port, tuple(_source(folder, index) for index in range(_JOBS)))
            return against(
                "whole job: 1 MB up, 1.5 MB down",
                lambda: asyncio.run(_ours(work)),
                {
                    "on kept connections": lambda: asyncio.run(_on_kept_connections(work)),
                    "httpx, no ledger, no syncs": lambda: asyncio.run(_plain(work)),
                },
                times=_JOBS,
                rounds=3,
            )


def _source(folder: Path, index: int) -> Path:
    path = folder / f"{index}.jpg"
    path.write_bytes(os.urandom(1_000_000))
    return path


def _job(path: Path) -> Job:
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    picture = Picture(digest, file=str(path), media_type="image/jpeg", bytes=1_000_000)
    return Job(
        GEMINI,
        Prompt("p", "make it white"),
        Source(path.name, picture),
        output=f"images/{path.stem}-{{index}}",
    )


async def _ours(work: Work) -> None:
    folder = work.fresh()
    base = f"http://127.0.0.1:{work.port}/v1"
    model = Model(model=GEMINI, limits=Limits(concurrency=_AT_ONCE))
    lane = TestLane(model, DIALECTS["qiniu"].capabilities(GEMINI), tuple(map(_job, work.sources)))
    async with (
        open_ledger(folder / "ledger.jsonl", "run") as ledger,
        open_transport(Connection(base_url=base, key=None), concurrency=_AT_ONCE) as transport,
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
    assert summary.ended["done"] == _JOBS


async def _on_kept_connections(work: Work) -> None:
    """Ours as it would be if a POST might be lost in a connection that its server has closed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retouch.transport.slots.RIDING", frozenset({"GET", "POST"}))
        await _ours(work)


async def _plain(work: Work) -> None:
    """What one would write in ten minutes: nothing is counted, checked or made durable."""
    folder, places = work.fresh(), asyncio.Semaphore(_AT_ONCE)
    url = f"http://127.0.0.1:{work.port}/v1/images/edits"
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:

        async def one(path: Path) -> None:
            async with places:
                image = base64.b64encode(path.read_bytes()).decode()  # noqa: ASYNC240 - as one would
                response = await client.post(url, json={"image": image, "prompt": "make it white"})
                data = json.loads(response.content)["data"][0]["b64_json"]
                (folder / f"{path.stem}.png").write_bytes(base64.b64decode(data))

        await _together([one(path) for path in work.sources])


async def _together(works: list[Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)
