"""Every kind of labelled set from elsewhere on the disk, edited, out in every format, and read by
the libraries that people use; `make torture` does the same with 2,000 pictures a kind."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.datasets import FURTHER_WRITERS
from tests.support.round_trip import FORMATS, GROWTH, Set, exported, finished, read

COUNT = 16
GEMINI, GPT = GROWTH


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the manifests lie, with one finished run whose work the others take over."""
    folder = tmp_path_factory.mktemp("project")
    finished(folder, tmp_path_factory.mktemp("first"), "table", COUNT, model=GEMINI)
    return folder


@pytest.fixture(scope="module", params=FURTHER_WRITERS)
def whole(
    request: pytest.FixtureRequest, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> Set:
    if request.param == "table":
        return finished(place, tmp_path_factory.mktemp("again"), "table", COUNT, model=GEMINI)
    reuse = (str(place / "outputs/table-6.5/ledger.jsonl"),)
    data = tmp_path_factory.mktemp("elsewhere")
    return finished(place, data, request.param, COUNT, model=GEMINI, reuse=reuse)


@pytest.mark.filterwarnings(  # webdataset leaves its files open
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", FORMATS)
def test_what_went_in_comes_out(whole: Set, tmp_path: Path, name: str, loaded: Any) -> None:
    """Splits, classes, boxes by 6.5, keypoints and captions; nothing was paid for twice."""
    folder = exported(whole, tmp_path / "out", name)
    assert read(folder, name, loaded) == whole.expected(name)
    about = json.loads((folder / "dataset.json").read_text())
    assert sum(about["splits"].values()) == COUNT
    gc.collect()  # what webdataset leaves open is closed here


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_boxes_grow_by_eight_where_the_edit_did(tmp_path: Path, name: str, loaded: Any) -> None:
    whole = finished(tmp_path, tmp_path / "data", name, 5, model=GPT)
    folder = exported(whole, tmp_path / "out", name)
    assert read(folder, name, loaded) == whole.expected(name)
