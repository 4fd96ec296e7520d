"""What goes with a source: its mask, its further images and the picture that labels it, named by
templates of its columns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from retouch.errors import Problem
from retouch.manifest import Input, Loaded, Location
from retouch.plan.candidates import Candidate, empty_cell, is_url, shown_url, unfit_url
from retouch.plan.columns import BUILT_IN
from retouch.plan.globs import located_text
from retouch.plan.templates import Name, Template, TemplateError, parse
from retouch.storage.bucket_url import is_bucket, unfit_address
from retouch.text import one_clean_line


@dataclass(slots=True)
class Findings:
    """What is wrong with one input, added to the manifest's `problems`; `failed` once there is."""

    loaded: Loaded
    location: Location
    problems: list[Problem]
    failed: bool = False

    def say(self, key: str | None, what: str, remedy: str = "") -> None:
        """Something is wrong with one of the input's keys; with None, with the input."""
        where = (*self.location, key) if key else self.location
        self.told(self.loaded.problem(where, what, remedy))

    def told(self, problem: Problem) -> None:
        """Something is wrong, and where."""
        self.failed = self.failed or problem.severity == "error"
        self.problems.append(problem)


class Companions:
    """The templates of what goes with one input's sources, filled for each of them."""

    def __init__(self, given: Input, findings: Findings) -> None:
        self._given, self._findings = given, findings
        self._templates = [
            (keys[0], template)
            for keys, text in _texts(given)
            if (template := self._parsed(text, keys)) is not None
        ]

    def __bool__(self) -> bool:
        return bool(self._templates)

    def _parsed(self, text: str, keys: tuple[str, *tuple[int, ...]]) -> Template | None:
        try:
            return parse(text)
        except TemplateError as error:
            where = (*self._findings.location, *keys)
            self._findings.told(self._findings.loaded.problem(where, str(error), error.remedy))
            return None

    def of(self, candidate: Candidate) -> Candidate | None:
        """The candidate with what goes with it; None if that cannot be named."""
        named_once: dict[str, str] = {}
        images = list[str]()
        for key, template in self._templates:
            named = self._filled(candidate, key, template)
            if named is None:
                return None
            if key == "images":
                images.append(named)
            else:
                named_once[key] = named
        return structs.replace(
            candidate,
            mask=named_once.get("mask"),
            segmentation=named_once.get("segmentation"),
            images=tuple(each for each in images if each),
        )

    def _filled(self, candidate: Candidate, key: str, template: Template) -> str | None:
        """What a template of a path names for one source; None if that was told as a problem."""
        missing = [name for name in template.names if name not in candidate.columns]
        if missing:
            if not self._findings.failed:
                known = ", ".join(name for name in candidate.columns if name not in BUILT_IN[-2:])
                what = f"`{{{one_clean_line(missing[0], 40)}}}` in `{key}` is not a column"
                self._findings.say(key, what, f"known here: {known}")
            return None
        empty = empty_cell(candidate, template.names)
        if empty is not None:
            self._findings.problems.append(empty)
            return None
        text = template.render(candidate.columns)
        if is_url(text):
            reason = _unfit(key, text)
            if reason:
                self._findings.problems.append(
                    candidate.problem(f"its {key} `{shown_url(text)}` {reason}")
                )
                return None
            return text
        if template.names[:1] == ("parent",):
            text = text.lstrip("/")
        return located_text(text, os.fspath(self._beside(candidate, template)))

    def _beside(self, candidate: Candidate, template: Template) -> Path:
        """What a mask's path is relative to: where a set's or table's own column begins it, the
        folder that the set's pictures are relative to; else the manifest's."""
        begins = template.parts[0] if template.parts else ""
        if not isinstance(begins, Name) or begins.name not in candidate.columns.header:
            return self._findings.loaded.folder
        own = candidate.columns.path.removeprefix(f"{self._given.prefix}/")
        if is_url(candidate.reference) or not candidate.reference.endswith(f"/{own}"):
            return self._findings.loaded.folder
        return Path(candidate.reference[: -len(own) - 1] or "/")


def _unfit(key: str, text: str) -> str:
    """Why what is no path cannot go with a source, as a clause; "" if it can."""
    if key == "segmentation":
        return "is no file here"
    if is_bucket(text):
        unfit = unfit_address(text)
        return unfit.what if unfit else ""
    return unfit_url(text)


def _texts(given: Input) -> Iterator[tuple[tuple[str, *tuple[int, ...]], str]]:
    """The templates with their keys in the manifest."""
    if given.mask is not None:
        yield ("mask",), given.mask
    if given.segmentation is not None:
        yield ("segmentation",), given.segmentation
    for at, text in enumerate(given.images):
        yield ("images", at), text
