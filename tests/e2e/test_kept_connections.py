"""Servers that close the connections they kept: no request is lost in one, so none is unknown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.hasty_server import MODEL, serve
from tests.e2e.house import served


@pytest.mark.parametrize(
    ("keep_seconds", "round_trip_seconds"),
    [
        pytest.param(0.03, 0.0, id="closes 30 ms after each reply"),
        # A kept connection of 2 s meets a request that comes 1.9 s later, from 0.2 s away: here
        # the same with less waiting.
        pytest.param(0.2, 0.2, id="idles out while the request is under way"),
    ],
)
def test_no_post_is_lost_in_a_connection_that_was_closed(
    tmp_path: Path, keep_seconds: float, round_trip_seconds: float
) -> None:
    """200 jobs, 200 charges in the provider's book, 200 done, not one unknown."""
    with served(
        tmp_path, serve, keep_seconds=keep_seconds, round_trip_seconds=round_trip_seconds
    ) as place:
        place.pictures(50)
        # Spaced, so that a connection idles about as long as it is kept.
        limits = "{concurrency: 40, requests_per_minute: 3000}"
        place.manifest(f"  - {{model: {MODEL}, limits: {limits}}}", prompts=4)
        ended = place.retouch("run")
        counts = place.state.counts()
    assert (counts, len(place.book)) == (Counter(done=200), 200), ended.stderr
    assert ended.returncode == 0
