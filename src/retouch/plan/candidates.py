"""A source as it was named, before its files are looked at; and what may be named at all."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from retouch.errors import Problem
from retouch.plan.annotations import Annotations
from retouch.plan.columns import Columns
from retouch.text import one_clean_line, url_without_query

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
URL_CHARACTERS = 8000


def is_url(reference: str) -> bool:
    """Whether a reference is meant as a URL of any scheme (`C:` is a drive, not a scheme)."""
    return "://" in reference[:40] or (
        _SCHEME.match(reference) is not None and reference[:5].lower() == "data:"
    )


def unfit_url(url: str) -> str:
    """Why a URL cannot be given to a provider, as a clause; empty if it can."""
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        return "holds a blank or a control character"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme.lower() not in ("http", "https"):
        return "is no http or https URL"
    if not host:
        return "names no host"
    if "@" in parts.netloc:
        return "holds credentials, which would be sent to the provider"
    if len(url) > URL_CHARACTERS:
        return f"is longer than {URL_CHARACTERS:,} characters"
    return ""


Span = tuple[int, int]
"""Where a picture lies in its file: offset and length in bytes."""


class Named(msgspec.Struct, frozen=True, gc=False):
    """A picture as an input names it: `path` is absolute, or a URL.

    `file` and `line` say where a table or list names it ("" and 0 where nothing has lines).
    `name` is its path below the root where `path` does not tell that (a tar's member). `in_shares`:
    its annotations are shares of width and height, not pixels.
    """

    path: str
    file: str = ""
    line: int = 0
    header: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    annotations: Annotations | None = None
    split: str = ""
    span: Span | None = None
    name: str = ""
    in_shares: bool = False


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One source as it was named. References are URLs or absolute paths.

    `file` and `line` say where a table or list names it ("" and 0 for a glob's). `span` is where
    its picture lies in the file; `in_shares`: its annotations are shares of width and height.
    `segmentation` is a picture that labels it.
    """

    name: str
    reference: str
    input: int
    columns: Columns
    file: str = ""
    line: int = 0
    mask: str | None = None
    images: tuple[str, ...] = ()
    span: Span | None = None
    in_shares: bool = False
    segmentation: str | None = None

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


def shown_url(url: str) -> str:
    try:
        return one_clean_line(url_without_query(url), 120)
    except ValueError:
        return one_clean_line(url.partition("?")[0], 120)
