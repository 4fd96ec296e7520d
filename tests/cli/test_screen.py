"""Tables on narrow terminals: figures are never cut, names never broken inside a word."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from retouch.cli.console import print_table, wrapped


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


NAMES = [
    ("data/teamB/very_long_folder_name/coffee_1.jpg", 20),
    ("data/团队甲/猫与狗的照片，很好/猫-2.jpg", 16),
    ("Make it a snowy winter scene, and keep the cat", 12),
    ("e\u0301te\u0301/cafe\u0301/👩‍🎨-1.png", 8),
    ("gemini-3.0-pro-image-preview", 9),
]


@pytest.mark.parametrize(("text", "width"), NAMES)
def test_lines_hold_the_text_and_fit(text: str, width: int) -> None:
    """Nothing is lost but blanks at line ends, and no line is wider, in cells, than its column."""
    lines = wrapped(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(map(cell_len, lines)) <= width
    assert all(cell_len(line[0]) for line in lines)  # no accent is parted from its letter


def test_words_are_broken_only_where_a_reader_breaks_them() -> None:
    """After a slash, a blank or a wide character; a long word at its underscores."""
    assert wrapped("data/teamB/cat_1.jpg", 12) == ["data/teamB/", "cat_1.jpg"]
    assert wrapped("keep the cat", 8) == ["keep the", "cat"]
    assert wrapped("猫与狗的照片，好", 12) == ["猫与狗的照", "片，好"]  # no comma begins a line
    assert wrapped("very_long_folder_name", 12) == ["very_long_", "folder_name"]
    assert wrapped("", 5) == [""]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_model_is_whole_and_lesser_columns_go_first(width: int) -> None:
    """At 80 columns the least important column is left out, at 140 all are there."""
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False)
    headings = ("model", "source", "tokens", "time", "cost")
    row = ("doubao-seededit-3-0-i2i-250628", "a/" * 30, "1,234,567,890", "1h20m", "0.28 CNY")
    print_table(console, headings, [row], right=(2, 3, 4), folded=(1,), droppable=(2, 3))
    told = out.getvalue()
    assert row[0] in told
    assert "0.28 CNY" in told
    assert ("1,234,567,890" in told) == (width > 80)
    assert max(map(cell_len, told.splitlines())) <= width


def test_figures_stand_below_each_other() -> None:
    """Right-hand columns end in the same place, also beside a cell of several lines."""
    out = io.StringIO()
    console = Console(file=out, width=40, markup=False, highlight=False)
    rows = [("data/cats/and/dogs/1.jpg", "1.00"), ("猫/2.jpg", "12.50")]
    print_table(console, ("source", "amount"), rows, right=(1,), folded=(0,))
    ends = [cell_len(line) for line in out.getvalue().splitlines() if line.strip()[-1:].isdigit()]
    assert len(ends) == 2
    assert len(set(ends)) == 1
