"""Start-up: whole processes, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.bench.measured import Measured, quickest

_MANIFEST = str(Path(__file__).parents[2] / "manifests" / "quickstart.yaml")
_COMMANDS = (("--version",), ("status", _MANIFEST), ("plan", _MANIFEST))


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        start = partial(subprocess.run, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        ours = [sys.executable, "-m", "retouch"]
        bare, *seconds = quickest(
            partial(start, [sys.executable, "-c", "pass"]),
            *(partial(start, [*ours, *words]) for words in _COMMANDS),
        )
    return [
        Measured(f"retouch {words[0]}", took, "python -c pass", bare)
        for words, took in zip(_COMMANDS, seconds, strict=True)
    ]
