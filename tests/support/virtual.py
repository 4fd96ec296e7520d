"""Virtual time: waits are jumped over, and tasks take their turns the same way each time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
import trio.testing

T = TypeVar("T")


def run_in_virtual_time(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` to its end; the same seed, the same order of everything."""
    with pytest.MonkeyPatch.context() as patch:  # trio shuffles what is ready, on purpose
        patch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
        patch.setattr("trio._core._run._r", random.Random(seed))
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
