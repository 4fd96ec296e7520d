"""A finished manifest to export: five labelled pictures, two prompts, rehearsed once and copied."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retouch.cli import main
from retouch.ledger import read
from retouch.ledger.state import Replay

SIZE = (192, 128)
MANIFEST = """
version: 1
name: pets
provider: {dialect: rehearsal}
inputs:
  - table: pets.csv
prompts:
  - {id: grey, template: "Make it black and white"}
  - {id: dusk, template: "Add a warm sunset glow to the {label}"}
models:
  - model: gemini-2.5-flash-image
    limits: {requests_per_minute: 6000, concurrency: 4}
    price: {currency: CNY, per_image: 0.20}
"""


def photograph(path: Path, seed: int, size: tuple[int, int] = SIZE) -> None:
    """A picture with features: blobs and edges of many sizes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), 200, np.uint8)
    for _ in range(120):
        x, y = numbers.integers(0, size[0]), numbers.integers(0, size[1])
        w, h = numbers.integers(4, 28, 2)
        pixels[y : y + h, x : x + w] = numbers.integers(60, 180, 3)
    Image.fromarray(pixels).save(path, quality=92) if path.suffix == ".jpg" else Image.fromarray(
        pixels
    ).save(path)


@dataclass(frozen=True, slots=True)
class Pets:
    """A project folder whose run is over."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "pets.yaml"

    @property
    def words(self) -> list[str]:
        """The manifest and the outputs folder, as a command takes them."""
        return [str(self.manifest), "--outputs", str(self.folder / "outputs")]

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs" / "pets"

    @property
    def state(self) -> Replay:
        return read(self.outputs / "ledger.jsonl")

    def export(self, name: str, *flags: str, to: str = "out") -> int:
        """The exit code of an export into `to`."""
        target = str(self.folder / to)
        return main(["export", *self.words, "--to", target, "--format", name, *flags])

    def rows(self, to: str = "out", split: str = "train") -> list[dict[str, Any]]:
        """An exported imagefolder's metadata."""
        text = (self.folder / to / split / "metadata.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def finished(folder: Path) -> Pets:
    """Made and run."""
    pets = Pets(folder)
    with (folder / "pets.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "caption"])
        for number in range(5):
            name = f"photos/{number}.png"
            photograph(folder / name, number)
            table.writerow([name, "cat" if number < 3 else "dog", f"no {number}"])
    pets.manifest.write_text(MANIFEST)
    assert main(["run", *pets.words, "--yes"]) == 0
    return pets


def copy_of(pets: Pets, folder: Path) -> Pets:
    """The same, to be changed by a test."""
    shutil.copytree(pets.folder, folder, dirs_exist_ok=True)
    return Pets(folder)


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below, by its path."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
