"""A source as it was named, before its files are looked at; and what may be named at all."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from retouch.errors import Problem
from retouch.plan.columns import Columns
from retouch.text import one_clean_line, url_without_query


@dataclass(frozen=True, slots=True)
class Candidate:
    """One source as it was named. References are URLs, or paths relative to the folder with `/`.

    `file` and `line` say where a table or list names it ("" and 0 for a glob's).
    """

    name: str
    reference: str
    input: int
    columns: Columns
    file: str = ""
    line: int = 0
    mask: str | None = None
    images: tuple[str, ...] = ()

    def problem(self, what: str, remedy: str = "", column: int = 1) -> Problem:
        """A problem with this source, at its row or its file."""
        if self.line:
            return Problem(self.file, self.line, column, what, remedy)
        return Problem(one_clean_line(self.name), 0, 0, what, remedy)


def empty_cell(candidate: Candidate, names: tuple[str, ...]) -> Problem | None:
    """The first of a source's used columns that is empty in its table."""
    if not candidate.line:
        return None
    header = candidate.columns.header
    for name in names:
        if name in header and not candidate.columns[name].strip():
            what = f"the cell `{one_clean_line(name, 40)}` is empty, and it is used"
            remedy = "fill it, or leave the row out"
            return candidate.problem(what, remedy, header.index(name) + 1)
    return None


def normal(named: str) -> str | None:
    """A relative path in one form, with `/`; None if it is absolute or leads out by `..`."""
    if named.startswith(("/", "\\", "~")) or named[1:3] in (":\\", ":/") or "\0" in named:
        return None
    path = posixpath.normpath(named)
    return None if path.startswith("../") or path in ("..", ".") else path


def shown_url(url: str) -> str:
    try:
        return one_clean_line(url_without_query(url), 120)
    except ValueError:
        return one_clean_line(url.partition("?")[0], 120)
