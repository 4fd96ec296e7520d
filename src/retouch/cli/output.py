"""Messages for people on stderr, documents for programs on stdout: nothing in them is obeyed by a
terminal. Imported by every command, so it imports little.
"""

from __future__ import annotations

import json
import sys

from retouch.text import fit_for_terminal


def say(text: str) -> None:
    """A message on stderr; what could move the cursor is shown instead of obeyed."""
    print(fit_for_terminal(text), file=sys.stderr)


def json_text(document: object) -> str:
    """A document for programs, the same values also where a person's terminal is what reads it."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    lines = (line if line.isprintable() else _escaped(line) for line in text.split("\n"))
    return "\n".join(lines)


def _escaped(line: str) -> str:
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)
