"""A second way to a folder: a FUSE mount, through which the kernel's locks do not reach."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def also_at(folder: Path, place: Path) -> Iterator[Path]:
    """`folder` mounted at `place` too, by bindfs; skips where the kernel forbids that."""
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed (apt-get install bindfs)")
    place.mkdir()
    mounted = subprocess.run(["bindfs", folder, place], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"the kernel forbids FUSE mounts here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["fusermount3", "-u", "-z", place], check=False)
