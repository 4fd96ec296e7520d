"""Tables for people: no wider than the terminal, nor than 100 columns where there is none."""

from __future__ import annotations

import shutil
import sys

from rich.console import Console

WIDTH = 100


def stdout_console() -> Console:
    """A console on stdout; plain text where that is no terminal (NO_COLOR is rich's own)."""
    columns = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    return Console(
        width=min(columns, WIDTH) if columns else WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
