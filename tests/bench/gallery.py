"""The gallery of ten thousand pictures in a real Chromium: how large, how soon, how smooth."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from retouch.cli import main
from tests.bench.measured import Measured
from tests.support.albums import large_album
from tests.support.browser import browser
from tests.support.scrolling import scrolled

PICTURES = 10_000
SECONDS = 3.0
BLANK = (
    "data:text/html,<div id=grid style='height:700px;overflow:auto'>"
    "<div style='height:1000000px'>x</div></div>"
)


def measure() -> list[Measured]:
    """How soon it is drawn and how long a frame of scrolling takes, beside a page with nothing."""
    with tempfile.TemporaryDirectory() as folder:
        album = large_album(Path(folder), PICTURES)
        ledger = album.folder / "ledger.jsonl"
        main(["report", str(ledger), "--no-pictures", "--format", "html"])
        with browser() as page:
            page.page.goto(BLANK)
            nothing = scrolled(page, seconds=SECONDS)
            begun = time.monotonic()
            page.page.goto(BLANK)
            blank_opened = time.monotonic() - begun
            begun = time.monotonic()
            page.open(album.index)
            opened = time.monotonic() - begun
            frames = scrolled(page, seconds=SECONDS)
    return [
        Measured(
            name=f"gallery of {PICTURES:,} pictures opened",
            ours_seconds=opened,
            times=1,
            reference="a blank page",
            reference_seconds=blank_opened,
        ),
        Measured(
            name="the same scrolled, a frame",
            ours_seconds=1 / frames.per_second,
            times=1,
            reference="a blank page",
            reference_seconds=1 / nothing.per_second,
        ),
        Measured(
            name="the same, its thread's work a frame",
            ours_seconds=frames.busy_ms / 1000,
            times=1,
            reference="a fiftieth of a second",
            reference_seconds=1 / 50,
        ),
    ]
