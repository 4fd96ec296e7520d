"""What a plan says the next pictures will cost, against what they then cost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main

MANIFEST = """
version: 1
name: foretold
provider: {{dialect: rehearsal, faults: {{seed: {seed}, usage_noise: 0.15}}}}
inputs: [{{glob: pictures/*.png, mask: mask.png}}]
prompts: [{{id: warm, template: make it warm}}]
models:
  - model: gemini-2.5-flash-image
    limits: {{concurrency: 16}}
    price: {{currency: CNY, input_per_million: 2.1, output_per_million: 210}}
"""


@pytest.fixture
def folder(in_memory: Path) -> Path:
    """A mask: under one, results are as small as their pictures, and quickly made."""
    (in_memory / "pictures").mkdir()
    Image.new("L", (16, 16), 255).save(in_memory / "mask.png")
    return in_memory


def add_pictures(folder: Path, first: int, last: int) -> None:
    for index in range(first, last):
        Image.new("RGB", (16, 16), (index, 90, 120)).save(folder / f"pictures/{index:03}.png")


def printed(capsys: pytest.CaptureFixture[str], command: str, folder: Path, *flags: str) -> str:
    """What a command that should succeed writes to stdout."""
    where = [str(folder / "manifest.yaml"), "--outputs", str(folder / "outputs")]
    assert main([command, *where, *flags]) == 0
    return capsys.readouterr().out


def cost_so_far(capsys: pytest.CaptureFixture[str], folder: Path) -> Decimal:
    (total,) = json.loads(printed(capsys, "report", folder, "--format", "json"))["totals"]
    return Decimal(total["confirmed"])


@pytest.mark.parametrize("seed", range(2))
def test_twenty_rehearsed_jobs_foretell_two_hundred(
    folder: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With usage that is up to 15 % more or less than the table's, the likely cost of the next
    200 pictures is within 5 % of what they then cost, which lies between low and high."""
    (folder / "manifest.yaml").write_text(MANIFEST.format(seed=seed))
    add_pictures(folder, 0, 20)
    printed(capsys, "run", folder)
    before = cost_so_far(capsys, folder)
    add_pictures(folder, 20, 220)
    (lane,) = json.loads(printed(capsys, "plan", folder, "--json"))["lanes"]
    assert (lane["done"], lane["to_send"]) == (20, 200)
    assert lane["basis"].startswith("history: 20 records")
    printed(capsys, "run", folder)
    cost = cost_so_far(capsys, folder) - before
    low, likely, high = (Decimal(lane["cost"][name]) for name in ("low", "likely", "high"))
    assert low < high
    assert low <= cost <= high
    assert abs(likely - cost) <= Decimal("0.05") * cost
