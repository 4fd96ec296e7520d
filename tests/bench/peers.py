"""The peers' own environment: what a bench sets retouch against is installed by the bench alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("peers.lock")


def python_of_the_peers() -> Path | None:
    """Python with the peers, set up on first use beside the tests' own; None, and said, where they
    cannot be had (no network)."""
    folder = Path(sys.prefix) / "bench-peers"
    ready, digest = folder / ".ready", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    python = folder / "bin/python"
    if ready.exists() and ready.read_text() == digest:
        return python
    sys.stderr.write(f"setting up the peers in {folder} ...\n")
    shutil.rmtree(folder, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    install = [uv, "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(LOCK)]
    try:
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([*install, "--python", str(python)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"without the peers, which cannot be installed: {error}\n")
        return None
    ready.write_text(digest)
    return python
