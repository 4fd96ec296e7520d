"""A manifest of priced jobs over small pictures, and ledgers of its own jobs: nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from PIL import Image

from retouch.cli.workspace import make_plan, open_workspace
from retouch.job import Job
from retouch.ledger.records import AnyRecord
from retouch.ledger.terms import terms_of
from tests.support.ledgers import FIRST, begins, done, started, unknown, words_of, write

PRICE = "{currency: CNY, input_per_million: 2.1, output_per_million: 210}"
MANIFEST = """
version: 1
name: cats
inputs: [{{glob: data/*.png}}]
prompts: [{{id: white, template: {prompt}}}]
models:
  - {{model: gemini-2.5-flash-image, options: {{n: {n}}}, price: {price}}}
{more}
"""


@dataclass(frozen=True, slots=True)
class Priced:
    """The manifest, its outputs folder, and how to fill its ledger."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "cats.yaml"

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"

    @property
    def ledger(self) -> Path:
        return self.outputs / "cats" / "ledger.jsonl"

    @property
    def words(self) -> list[str]:
        """What every command is told."""
        return [str(self.manifest), "--outputs", str(self.outputs)]

    def write(
        self, *, prompt: str = "make it white", n: int = 1, price: str = PRICE, more: str = ""
    ) -> None:
        """Write the manifest (anew)."""
        self.manifest.write_text(MANIFEST.format(prompt=prompt, n=n, price=price, more=more))

    def jobs(self) -> list[Job]:
        """The manifest's jobs, in order."""
        plan = make_plan(open_workspace(self.manifest, self.outputs, rehearse=False))
        return [job for lane in plan.lanes for job in lane.jobs()]

    def fill(self, records_of: Iterable[Callable[[Job, int], list[AnyRecord]]]) -> list[Job]:
        """Write a ledger in which each of the first jobs has gone a given way."""
        jobs = self.jobs()
        records: list[AnyRecord] = [begins()]
        for number, (job, life) in enumerate(zip(jobs, records_of, strict=False)):
            records += life(job, number)
        write(self.ledger, records)
        return jobs


def was_done(job: Job, number: int) -> list[AnyRecord]:
    """A life that ended well, a second after the one before."""
    at = FIRST + timedelta(seconds=number)
    words = words_of(job)
    return [
        started(number, at, terms=terms_of(job), **words),
        done(number, at=at, files=(), **words),
    ]


def is_unknown(job: Job, number: int) -> list[AnyRecord]:
    """A life whose request may have been charged."""
    at = FIRST + timedelta(seconds=number)
    words = words_of(job)
    return [started(number, at, terms=terms_of(job), **words), unknown(number, at, **words)]


def priced(folder: Path, pictures: int = 5) -> Priced:
    """The manifest and its pictures in `folder`."""
    (folder / "data").mkdir()
    for number in range(pictures):
        colour = (number % 256, number // 256, 7)
        Image.new("RGB", (32, 32), colour).save(folder / "data" / f"{number:03}.png")
    made = Priced(folder)
    made.write()
    return made
