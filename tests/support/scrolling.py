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
    """`per_second` on the mean; `slowest_ms`: ninety-nine of a hundred were quicker."""

    per_second: float
    slowest_ms: float


def scrolled(page: Browser, *, seconds: float, pixels_a_frame: int = 120) -> Frames:
    """Scroll the gallery down, so much a frame."""
    times: list[float] = page.script(_SCROLL, seconds, pixels_a_frame)
    gaps = [after - before for before, after in pairwise(times)]
    slowest = statistics.quantiles(gaps, n=100)[-1]
    return Frames(1000 * len(gaps) / (times[-1] - times[0]), slowest)
