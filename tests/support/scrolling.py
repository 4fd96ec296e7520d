"""Frames while a page scrolls, counted by the page itself."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise

from tests.support.browser import Browser

_SCROLL = """
const [seconds, speed] = given;
return new Promise(done => {
  const grid = document.getElementById('grid');
  const times = [];
  const begun = performance.now();
  const step = now => {
    times.push(now);
    grid.scrollTop += speed;
    if (now - begun < seconds * 1000) requestAnimationFrame(step); else done(times);
  };
  requestAnimationFrame(step);
});
"""


@dataclass(frozen=True, slots=True)
class Frames:
    """`per_second` on the mean; `slowest_ms`: ninety-nine of a hundred were quicker; `busy_ms`:
    what the page's thread worked for each, which a machine that is busy otherwise changes little.
    """

    per_second: float
    slowest_ms: float
    busy_ms: float


class PageThread:
    """The processor time of the page's main thread."""

    def __init__(self, page: Browser) -> None:
        self._session = page.context.new_cdp_session(page.page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds(self) -> float:
        """What its tasks took so far, since this was made."""
        found = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in found if each["name"] == "TaskDuration"))


def scrolled(page: Browser, *, seconds: float, pixels_a_frame: int = 120) -> Frames:
    """Scroll the gallery down, so much a frame."""
    thread = PageThread(page)
    before = thread.seconds()
    times: list[float] = page.script(_SCROLL, seconds, pixels_a_frame)
    gaps = [after - before for before, after in pairwise(times)]
    slowest = statistics.quantiles(gaps, n=100)[-1]
    busy = 1000 * (thread.seconds() - before) / len(gaps)
    return Frames(1000 * len(gaps) / (times[-1] - times[0]), slowest, busy)
