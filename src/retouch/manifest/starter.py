"""The commented manifest that `retouch init` writes; it loads as it stands."""

from __future__ import annotations

from importlib.resources import files


def starter() -> bytes:
    """The starter manifest, UTF-8."""
    return files("retouch.manifest").joinpath("starter.yaml").read_bytes()
