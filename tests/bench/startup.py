"""Start-up: whole processes, beside a Python that does nothing.

Modules are compiled in the first round, as pip compiles what it installs: an environment that
forbids it (PYTHONDONTWRITEBYTECODE) would have every round compile them again.
"""

from __future__ import annotations

import os
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
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        start = partial(
            subprocess.run, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL
        )
        ours = [sys.executable, "-m", "retouch"]
        bare, *seconds = quickest(
            partial(start, [sys.executable, "-c", "pass"]),
            *(partial(start, [*ours, *words]) for words in _COMMANDS),
        )
    return [
        Measured(f"retouch {words[0]}", took, "python -c pass", bare)
        for words, took in zip(_COMMANDS, seconds, strict=True)
    ]
