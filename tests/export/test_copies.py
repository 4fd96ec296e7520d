"""The same bytes at several places of a data set: paid for once, exported at each of them."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from retouch.cli import main
from tests.support.studio_out import MANIFEST, Pets, copy_of, files_of, photograph

ROWS = [("a/x.png", "cat", "train"), ("b/x.png", "dog", "train"), ("c/y.png", "cat", "val"),
        ("d/z.png", "cat", "train")]  # fmt: skip
SPLITS = "splits: {column: split, leaks: {exact: warn}}\n"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Pets:
    """Four places, the first three of the same bytes; one prompt asks for the same at each."""
    folder = tmp_path_factory.mktemp("twins")
    photograph(folder / "p/a/x.png", 1)
    for name in ("b/x.png", "c/y.png"):
        (folder / "p" / name).parent.mkdir()
        shutil.copy(folder / "p/a/x.png", folder / "p" / name)
    photograph(folder / "p/d/z.png", 2)
    with (folder / "pets.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("image", "label", "split"), *((f"p/{n}", *r) for n, *r in ROWS)]
        )
    pets = Pets(folder)
    pets.manifest.write_text(MANIFEST + SPLITS)
    assert main(["run", *pets.words, "--yes"]) == 0
    return pets


@pytest.fixture
def twins(done: Pets, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pets:
    return copy_of(done, tmp_path)


def provenance(pets: Pets) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(pets.folder / "out/provenance.parquet").to_pylist()
    return rows


def test_each_place_is_a_row_of_its_own_with_its_label_and_split(twins: Pets) -> None:
    """`grey` is one piece of work for three places; `dusk`, which names the label, is two."""
    assert twins.export("imagefolder") == 0
    rows = provenance(twins)
    found = Counter((row["prompt"], row["source"], row["label"], row["split"]) for row in rows)
    assert found == {
        (prompt, f"p/{name}", label, {"val": "validation"}.get(split, split)): 1
        for prompt in ("grey", "dusk")
        for name, label, split in ROWS
    }
    keys = {(row["prompt"], row["source"]): row["key"] for row in rows}
    assert len({keys["grey", f"p/{name}"] for name, *_ in ROWS[:3]}) == 1
    assert len({keys["dusk", f"p/{name}"] for name, *_ in ROWS[:3]}) == 2
    assert len(list((twins.folder / "out").rglob("*.png"))) == len(rows) == 8


def test_costs_of_the_rows_add_up_to_what_was_charged(twins: Pets) -> None:
    """Five charges of 0.20 for eight pictures: a copy cost nothing."""
    assert twins.export("coco") == 0
    costs = [row["cost"] for row in provenance(twins)]
    assert sum(costs) == twins.state.totals.confirmed["CNY"].amount == Decimal("1.00")
    assert costs.count(0) == 3


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "coco", "yolo", "voc", "parquet"])
def test_names_stay_apart_in_every_format(twins: Pets, name: str) -> None:
    """Two places whose files are called alike are two samples, twice the same."""
    assert twins.export(name) == 0
    files = [row["file"] for row in provenance(twins)]
    assert len(set(files)) == len(files) == 8
    assert twins.export(name, to="again") == 0
    assert dict(files_of(twins.folder / "out")) == dict(files_of(twins.folder / "again"))


def test_a_place_that_lost_its_file_is_exported_from_another(
    twins: Pets, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bytes are at hand: nothing is missing, and the digest stays. With all places gone, each
    of them is told."""
    assert twins.export("voc") == 0
    digest = capsys.readouterr().out.splitlines()[-1]
    places = sorted((twins.outputs / "images").glob("*/grey/p/*/*.png"))
    gone = [path for path in places if path.parent.name in "abc"]
    assert len(gone) == 3
    for path in gone[:2]:
        path.unlink()
        assert twins.export("voc", "--replace") == 0
        assert capsys.readouterr().out.splitlines()[-1] == digest
    assert main(["verify", *twins.words, "--dataset", digest.split()[-1]]) == 0
    gone[2].unlink()
    assert twins.export("voc", "--replace") == 1
    assert "3 left out: has lost its picture" in capsys.readouterr().err
    listed = (twins.outputs / "left-out.jsonl").read_text().splitlines()
    assert len({json.loads(line)["name"] for line in listed}) == 3
