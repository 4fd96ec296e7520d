"""What a topic of the torture returns: figures for the README, each proved on the way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """One proof: what was done how often, and what came of it."""

    proof: str
    size: int
    outcome: str
