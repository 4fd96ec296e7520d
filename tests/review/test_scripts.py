"""The pages' scripts: nothing of theirs makes markup of a text, and their types agree.

`make check` lints them (biome, locked like all else). Types are checked where TypeScript's `tsc` is
installed (`apt-get install node-typescript`, `npm install -g typescript`): no package of PyPI ships
it, and a gate asks for nothing that no lock holds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "src" / "retouch" / "review" / "static"
MARKUP = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|setHTMLUnsafe|eval|Function"
    r"|DOMParser|createContextualFragment)\b\s*[(=.]|javascript:"
)


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_texts_never_become_markup(path: Path) -> None:
    """Whatever a name, a prompt or a server's error holds, it is a text."""
    assert MARKUP.findall(path.read_text("utf-8")) == []


def test_types_agree() -> None:
    """Strictly, as the comments declare them."""
    tsc = shutil.which("tsc")
    if tsc is None:
        pytest.skip("TypeScript is not installed: apt-get install node-typescript")
    project = Path(__file__).parent / "pages" / "tsconfig.json"
    checked = subprocess.run(
        [tsc, "-p", str(project)], capture_output=True, text=True, timeout=120, check=False
    )
    assert checked.stdout == ""
    assert checked.returncode == 0
