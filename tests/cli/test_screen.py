"""Tables on narrow terminals: figures are never cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from retouch.cli.console import print_table


@pytest.mark.parametrize("width", [20, 60, 100])
def test_figures_are_whole_at_any_width(width: int) -> None:
    """However narrow: every figure is whole and on the line of its row, names are folded."""
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False)
    rows = [
        ("gemini-3.0-pro-image-preview", "CNY", "1,234,567,890.12", "150,000,000"),
        ("水彩画-很长的名字-很长的名字", "CNY", "0.12", "7"),
    ]
    headings = ("model", "currency", "confirmed", "tokens")
    print_table(console, headings, rows, right=(2, 3), folded=(0,), title="By model")
    lines = out.getvalue().splitlines()
    assert "…" not in out.getvalue()
    assert any("1,234,567,890.12  150,000,000" in line for line in lines)
    folded = "".join(line[:8].strip() for line in lines)
    assert "gemini-3" in folded
    assert max(map(len, lines)) <= max(width, 8 + 8 + 16 + 11 + 8)
