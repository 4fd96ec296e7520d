"""The library `datasets`, which asks nobody and keeps nothing."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any


def hugging_face(home: Path) -> Any:
    """The library, its caches below `home`; nothing is asked of the network."""
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
