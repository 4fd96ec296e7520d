"""The line that a run draws on a real terminal: what it costs and what is left is never cut."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from rich.cells import cell_len

from tests.e2e.house import CANARY, house
from tests.support.terminal import drawn

MODEL = """\
  - model: gemini-2.5-flash-image
    limits: {concurrency: 1}
    price: {currency: CNY, input_per_million: 2.1, output_per_million: 210}"""
RUN = "{budget: {total: 1234.5, currency: CNY}}"


def test_cost_and_what_is_left_are_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """No line is wider than the terminal; each that is drawn in mid-run says how far, how much is
    left, and what it cost."""
    with house(tmp_path, seconds=0.12) as place:
        place.pictures(5)
        place.manifest(MODEL, run=RUN)
        variables = os.environ | {"OPENAI_API_KEY": CANARY, "TERM": "xterm"}
        words = [sys.executable, "-m", "retouch", "run", "manifest.yaml", "--no-report"]
        code, lines = drawn(words, 80, tmp_path, variables)
        assert code == 0, lines
        paid = next(iter(place.state.totals.confirmed.values()))
    frames = [line for line in lines if re.match(r"\d/5 ·", line)]
    assert max(map(cell_len, frames)) < 80
    running = [line for line in frames if not line.startswith(("0/5", "5/5"))]
    assert running
    for line in running:
        assert re.match(r"[1-4]/5 · [1-4] left · \d\.\d+ CNY", line), line
        assert "budget left 1,23" in line
    assert frames[-1].startswith(f"5/5 · 0 left · {paid}")
