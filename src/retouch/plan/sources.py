"""From the manifest's inputs to candidates: what each source refers to, before any file is read.

Globs, tables and lists of URLs, in their order; every reference is relative to the manifest's
folder and stays inside it, and outside the outputs folder (a manifest would feed on its own
results). Samples are the same ones every time, and nearly the same when files are added.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from pathlib import Path

from retouch.errors import Problem
from retouch.manifest import Input, Loaded, Location
from retouch.plan.candidates import Candidate, empty_cell, is_url, normal, shown_url, unfit_url
from retouch.plan.columns import BUILT_IN, Columns, path_of_url
from retouch.plan.globs import Trouble, UnfitPattern, compiled, find
from retouch.plan.results import Results, results_of
from retouch.plan.tables import TableRow, read_table, read_urls
from retouch.plan.templates import Template, TemplateError, parse
from retouch.text import one_clean_line, url_without_query


def gather(loaded: Loaded, outputs: Path, problems: list[Problem]) -> list[Candidate]:
    """Every source of the manifest, in order; what is wrong is added to `problems`."""
    found: list[Candidate] = []
    results = results_of(loaded, outputs)
    for index, given in enumerate(loaded.manifest.inputs):
        reading = _Reading(loaded, index, given, results, problems)
        found.extend(reading.candidates())
    return found


class _Reading:
    """One input being read."""

    def __init__(
        self, loaded: Loaded, index: int, given: Input, results: Results, problems: list[Problem]
    ) -> None:
        self.loaded = loaded
        self.index = index
        self.given = given
        self.results = results
        self.problems = problems
        self.location: Location = ("inputs", index)
        self.failed = False

    def candidates(self) -> list[Candidate]:
        """The input's sources: sampled, with their masks and further images."""
        mask = self._template(self.given.mask, "mask")
        images = [self._template(text, "images", at) for at, text in enumerate(self.given.images)]
        found = list(self._globbed() if self.given.glob else self._listed())
        if not found and not self.failed and not self.given.allow_empty:
            self._say_empty()
        if self.given.sample:
            found = self._sampled(found)
        if not (mask or images):
            return found
        whole = (self._completed(candidate, mask, images) for candidate in found)
        return [candidate for candidate in whole if candidate is not None]

    def _say(self, key: str, what: str, remedy: str = "") -> None:
        self.failed = True
        self.problems.append(self.loaded.problem((*self.location, key), what, remedy))

    def _template(self, text: str | None, *keys: str | int) -> Template | None:
        if text is None:
            return None
        try:
            return parse(text)
        except TemplateError as error:
            where = (*self.location, *keys)
            self.problems.append(self.loaded.problem(where, str(error), error.remedy))
            self.failed = True
            return None

    # --- Globs -----------------------------------------------------------------------------

    def _globbed(self) -> Iterator[Candidate]:
        text = self.given.glob or ""
        try:
            pattern = compiled(text)
            excluded = [compiled(each) for each in self.given.exclude]
        except UnfitPattern as error:
            self._say("glob", str(error), error.remedy)
            return
        own = 0
        for path in find(self.loaded.folder, pattern):
            if isinstance(path, Trouble):
                self.failed = True
                shown = one_clean_line(path.path)
                self._say("glob", f"{shown} {path.reason}", path.remedy)
            elif any(each.matches(path) for each in excluded):
                continue
            elif self.results.hold(path, text):
                own += 1
            else:
                yield Candidate(path, path, self.index, Columns(path))
        if own:
            what = f"the manifest would feed on its own results: the glob matches {own:,} of them"
            self._say("glob", what, self.results.remedy)

    def _say_empty(self) -> None:
        remedy = "mend it, or write `allow_empty: true`"
        if not self.given.glob:
            key = "table" if self.given.table else "urls"
            self._say(key, f"{getattr(self.given, key)} names no source", remedy)
            return
        text = self.given.glob
        if (self.loaded.folder / text).is_dir():
            remedy = f"it is a folder, not a regular file: write {text.rstrip('/')}/**/*.jpg"
        elif "{" in text:
            remedy = "braces are not expanded: write an input for each"
        else:
            same = sum(
                isinstance(path, str)
                for path in find(self.loaded.folder, compiled(text, ignore_case=True))
            )
            if same:
                remedy = f"{same:,} match if upper and lower case are ignored, as in *.[jJ][pP][gG]"
        self._say("glob", f"`{one_clean_line(text, 80)}` matches nothing", remedy)

    # --- Tables and lists ------------------------------------------------------------------

    def _listed(self) -> Iterator[Candidate]:
        is_table = self.given.table is not None
        named = self.given.table or self.given.urls or ""
        key, read = ("table", read_table) if is_table else ("urls", read_urls)
        reference = normal(named)
        if reference is None:
            self._say(key, f"`{one_clean_line(named, 80)}` leaves the manifest's folder", "move it")
            return
        for row in read(self.loaded.folder / reference, reference, self.loaded.folder):
            if isinstance(row, Problem):
                self.failed = True
                self.problems.append(row)
            else:
                candidate = self._of_row(row, reference, urls_only=not is_table)
                if candidate is not None:
                    yield candidate

    def _of_row(self, row: TableRow, file: str, *, urls_only: bool) -> Candidate | None:
        column = row.header.index("image")
        named = row.values[column].strip()
        what, remedy = "", ""
        if not named:
            what, remedy = "the cell `image` is empty", "give a path or a URL"
        elif urls_only or is_url(named):
            if reason := unfit_url(named):
                what, remedy = f"`{shown_url(named)}` {reason}", "give a public https:// URL"
        elif (reference := normal(named)) is None:
            what = f"`{one_clean_line(named, 80)}` leaves the manifest's folder"
            remedy = "paths in a table are relative to the manifest's folder, and stay inside it"
        elif self.results.hold(reference, reference):
            what = f"`{one_clean_line(named, 80)}` is a result of this very manifest"
            remedy = "a manifest may not feed on its own results"
        else:
            columns = Columns(reference, None, row.header, row.values)
            return Candidate(reference, reference, self.index, columns, file, row.line)
        if what:
            self.failed = True
            self.problems.append(Problem(file, row.line, column + 1, what, remedy))
            return None
        header, values = ((), ()) if urls_only else (row.header, row.values)
        columns = Columns(path_of_url(named), None, header, values)
        return Candidate(url_without_query(named), named, self.index, columns, file, row.line)

    # --- Samples, masks, further images ----------------------------------------------------

    def _sampled(self, found: list[Candidate]) -> list[Candidate]:
        """`count` of them, in their order: those whose names have the smallest seeded digests."""
        sample = self.given.sample
        if sample is None:
            return found
        if len(found) < sample.count:
            what = f"the sample asks for {sample.count:,} sources, there are {len(found):,}"
            where = (*self.location, "sample", "count")
            self.problems.append(self.loaded.problem(where, what, "all are taken", "warning"))
            return found

        def rank(position: int) -> tuple[bytes, int]:
            text = f"{sample.seed}:{found[position].name}"
            digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
            return digest, position

        chosen = heapq.nsmallest(sample.count, range(len(found)), key=rank)
        return [found[position] for position in sorted(chosen)]

    def _completed(
        self, candidate: Candidate, mask: Template | None, images: list[Template | None]
    ) -> Candidate | None:
        """The candidate with its mask and further images; None if they cannot be named."""
        named: list[str | None] = []
        for key, template in [("mask", mask), *(("images", each) for each in images)]:
            reference = None if template is None else self._filled(candidate, key, template)
            if template is not None and reference is None:
                return None
            named.append(reference)
        return Candidate(
            candidate.name, candidate.reference, candidate.input, candidate.columns,
            candidate.file, candidate.line, named[0], tuple(each for each in named[1:] if each),
        )  # fmt: skip

    def _filled(self, candidate: Candidate, key: str, template: Template) -> str | None:
        """What a template of a path names for one source; None if that was told as a problem."""
        missing = [name for name in template.names if name not in candidate.columns]
        if missing:
            if not self.failed:
                known = ", ".join(name for name in candidate.columns if name not in BUILT_IN[-2:])
                what = f"`{{{one_clean_line(missing[0], 40)}}}` in `{key}` is not a column"
                self._say(key, what, f"known here: {known}")
            return None
        empty = empty_cell(candidate, template.names)
        if empty is not None:
            self.problems.append(empty)
            return None
        text = template.render(candidate.columns)
        if is_url(text):
            if reason := unfit_url(text):
                self.problems.append(candidate.problem(f"its {key} `{shown_url(text)}` {reason}"))
                return None
            return text
        reference = normal(text.lstrip("/") if template.names[:1] == ("parent",) else text)
        if reference is None:
            what = f"its {key} `{one_clean_line(text, 80)}` leaves the manifest's folder"
            self.problems.append(candidate.problem(what, "keep it inside the folder"))
        return reference
