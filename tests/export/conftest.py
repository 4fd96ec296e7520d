"""Readers of data sets that nobody here wrote: offline, in a folder of their own, quiet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.hugging_face import hugging_face as hugging_face_in


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library `datasets`, which asks nobody and keeps nothing."""
    return hugging_face_in(tmp_path_factory.mktemp("hugging-face"))


@pytest.fixture
def loaded(hugging_face: Any, tmp_path: Path) -> Any:
    """`datasets.load_dataset`, its cache the test's own."""

    def load(*names: str, **how: Any) -> Any:
        return hugging_face.load_dataset(*names, cache_dir=str(tmp_path / "hf-cache"), **how)

    return load
