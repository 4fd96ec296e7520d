"""Readers of data sets that nobody here wrote: offline, in a folder of their own, quiet."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library `datasets`, which asks nobody and keeps nothing."""
    home = tmp_path_factory.mktemp("hugging-face")
    os.environ |= {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    found = importlib.import_module("datasets")
    found.disable_progress_bars()
    found.config.HF_DATASETS_CACHE = home / "datasets"
    return found


@pytest.fixture
def loaded(hugging_face: Any, tmp_path: Path) -> Any:
    """`datasets.load_dataset`, its cache the test's own."""

    def load(*names: str, **how: Any) -> Any:
        return hugging_face.load_dataset(*names, cache_dir=str(tmp_path / "hf-cache"), **how)

    return load
