"""What the pages read: the gallery's content as one compact document (`report/data/gallery.js`).

Columns, not objects (`packing`), pictures' paths as folder and pattern: ten thousand pictures take
well under 2 MB. Jobs are taken one at a time, and none is held. `static/data.js` is the reader;
`FORMAT` says which.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from retouch.ledger.records import FileRecord
from retouch.money import Money, exact
from retouch.pictures.geometry import Geometry
from retouch.review.gallery import Charge, Jobs, Original, Shown
from retouch.review.marks import Marks
from retouch.review.measuring import GeometryOf
from retouch.review.packing import Table, alike, differences, digests, in_base64, numbers
from retouch.review.thumbnails import NAME_DIGITS, thumbnail_name
from retouch.text import url_without_query

FORMAT = 1
SOURCE_URL = "://"
Plain = dict[str, object]
_HIDDEN = {
    code: f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029,
                 *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFEFF)
    if code not in (0x0A, 0x09)
}  # fmt: skip
_KEY = re.compile(r"[0-9a-f]{64}")
_NONE = Original()


def readable(text: str) -> str:
    """Text from outside as a page shows it: what would turn or hide its letters is spelled out,
    what joins them (an emoji's parts) stays."""
    return text.translate(_HIDDEN)


def _unmeasured(_source: str, _file: FileRecord) -> None:
    return None


@dataclass(frozen=True, slots=True)
class About:
    """What a page says of itself: `name` of the manifest's outputs folder, `command` what a
    retouch command names it by, `jobs` how many are planned (None: nobody knows)."""

    name: str
    command: str
    is_virtual: bool
    jobs: int | None = None


class Document:
    """The pages' document, made from a gallery; `report` is the folder the pages lie in, `geometry`
    tells what was measured of an edit."""

    def __init__(
        self,
        gallery: Jobs,
        marks: Marks,
        report: Path,
        *,
        geometry: GeometryOf = _unmeasured,
        is_served: bool = False,
    ) -> None:
        self._gallery = gallery
        self._geometry = geometry
        self._marks = marks
        self._report = report
        self._is_served = is_served

    def whole(self, about: About) -> Plain:
        """Everything, for a page that is opened."""
        packed = _Packed(self)
        for shown, charges in self._gallery.each():
            if _KEY.fullmatch(shown.key):  # other names were not written by retouch
                packed.take(shown, charges)
        return {
            "format": FORMAT,
            "name": readable(about.name),
            "command": about.command,
            "virtual": about.is_virtual,
            "served": self._is_served,
            "planned": about.jobs,
            "written": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "lines": self._gallery.lines,
            "prompts": {
                readable(name): readable(text) for name, text in self._gallery.known.prompts.items()
            },
            "sources": self._sources(packed.sources),
            **packed.columns(),
            "marks": [
                {"at": each.at, "key": each.key, "index": each.index, "mark": each.mark,
                 "reason": readable(each.reason)}
                for each in self._marks.standing()
            ],
        }  # fmt: skip

    def plain(self, key: str) -> Plain | None:
        """One Job in full, for a page that is open already."""
        shown = self._gallery.shown(key)
        if shown is None:
            return None
        name = shown.words.source
        original = self._gallery.known.originals.get(name, _NONE)
        return {
            "key": shown.key,
            "model": readable(shown.words.model),
            "prompt": readable(shown.words.prompt),
            "source": {
                "name": _source_name(name),
                "href": self._href(name, self._gallery.source_number(name)),
                "thumb": thumbnail_name(original.digest),
                "label": _label(name, original),
                "split": readable(original.split),
                "width": original.width,
                "height": original.height,
            },
            **facts_of(shown),
            "pictures": [
                {
                    "path": file.path,
                    "digest": file.sha256[:NAME_DIGITS],
                    "width": file.width,
                    "height": file.height,
                    "moved": self.moved(shown, file),
                }
                for file in shown.files
            ],
        }

    def source_names(self) -> Sequence[str]:
        """Every source, by number."""
        return self._gallery.source_names()

    def moved(self, shown: Shown, file: FileRecord) -> int | None:
        """What a page takes of an edit's geometry."""
        return moved(self._geometry(shown.words.source, file))

    # --- Sources ---------------------------------------------------------------------------

    def _href(self, name: str, number: int) -> str:
        """Where a source is, relative to the pages; empty where it is not on this machine."""
        original = self._gallery.known.originals.get(name, _NONE)
        path = original.path
        if path is None or not (self._is_served or original.is_alone):
            return ""
        if self._is_served:
            return f"../sources/{number}"
        return Path(os.path.relpath(path.absolute(), self._report.absolute())).as_posix()

    def _sources(self, names: Sequence[str]) -> Plain:
        originals = [self._gallery.known.originals.get(name, _NONE) for name in names]
        bases: Table[str] = Table()
        of_base: list[int | None] = []
        rests: list[str] = []
        for number, name in enumerate(names):
            href = self._href(name, number)
            ends_so = href.endswith(name) and name == _source_name(name)
            rest = "" if ends_so else href.rpartition("/")[2]
            rests.append(rest)
            of_base.append(bases.number(href[: -len(rest or name)]) if href else None)
        return {
            "name": [_source_name(name) for name in names],
            "bases": bases.items,
            "base": alike(of_base),
            "rest": alike(rests),
            "thumb": digests(_thumb_digest(each.digest) for each in originals),
            "label": alike([_label(*each) for each in zip(names, originals, strict=True)]),
            "split": alike([readable(each.split) for each in originals]),
            "width": alike([each.width for each in originals]),
            "height": alike([each.height for each in originals]),
        }


_OF_JOBS = ("outcome", "day", "error", "confirmed", "unknown", "warnings", "waste")
_NUMBERS = ("attempts", "input", "output", "total", "seconds", "task")


class _Packed:
    """The document's columns, filled with one Job after the other."""

    def __init__(self, document: Document) -> None:
        self.sources = document.source_names()
        self._document = document
        self._numbers = {name: number for number, name in enumerate(self.sources)}
        self._columns: Table[tuple[str, str]] = Table()
        self._texts: Table[str] = Table()
        self._sums: Table[str] = Table()
        self._folders: Table[str] = Table()
        self._patterns: Table[str] = Table()
        self._jobs: dict[str, list[object]] = defaultdict(list)
        self._keys: list[str] = []
        self._of_source: list[int] = []
        self._lines: list[int] = []
        self._pictures: dict[str, list[object]] = defaultdict(list)
        self._digests: list[str] = []
        self._charges = _Charges()

    def take(self, shown: Shown, charges: Iterable[Charge]) -> None:
        """One more Job."""
        number = len(self._keys)
        for each in charges:
            self._charges.take(number, each)
        self._keys.append(in_base64(shown.key))
        self._of_source.append(self._numbers[shown.words.source])
        self._lines.append(shown.line)
        words = (readable(shown.words.model), readable(shown.words.prompt))
        jobs = self._jobs
        jobs["column"].append(self._columns.number(words))
        jobs["pictures"].append(len(shown.files))
        facts = facts_of(shown)
        for name in _OF_JOBS:
            table = self._sums if name in ("confirmed", "unknown") else self._texts
            jobs[name].append(numbers(table, facts[name]))
        for name in _NUMBERS:
            jobs[name].append(facts[name])
        for file in shown.files:
            self._picture(shown, file)

    def _picture(self, shown: Shown, file: FileRecord) -> None:
        folder, _, name = file.path.rpartition("/")
        source = shown.words.source
        stem = _stem(source) if source == _source_name(source) else ""
        is_named = stem and name.startswith(stem) and "*" not in name
        pattern = "*" + name[len(stem) :] if is_named else name
        self._digests.append(in_base64(_thumb_digest(file.sha256)))
        for column, value in (
            ("folder", self._folders.number(folder)),
            ("pattern", self._patterns.number(pattern)),
            ("width", file.width),
            ("height", file.height),
            ("moved", self._document.moved(shown, file)),
        ):
            self._pictures[column].append(value)

    def columns(self) -> Plain:
        """All of it, as the pages take it."""
        return {
            "columns": self._columns.items,
            "texts": self._texts.items,
            "sums": self._sums.items,
            "jobs": {
                "key": "".join(self._keys),
                "source": differences(self._of_source),
                "line": differences(self._lines),
                **{name: alike(self._jobs[name])
                   for name in ("column", "pictures", *_OF_JOBS, *_NUMBERS)},
            },
            "pictures": {
                "folders": self._folders.items,
                "patterns": self._patterns.items,
                "digest": "".join(self._digests),
                **{name: alike(self._pictures[name])
                   for name in ("folder", "pattern", "width", "height", "moved")},
            },
            "charges": self._charges.columns(),
        }  # fmt: skip


def moved(geometry: Geometry | None) -> int | None:
    """How far an edit was measured to lie from where scaling alone would put it, in thousandths of
    its side; -1: nothing could be measured; None: it was not looked at."""
    if geometry is None:
        return None
    return -1 if geometry.displacement is None else round(1000 * geometry.displacement)


def facts_of(shown: Shown) -> Plain:
    """What a cell says besides its pictures; texts are fit to be read."""
    usage = shown.usage
    parts = (usage.input_tokens, usage.output_tokens)
    is_sum = None not in parts and sum(part or 0 for part in parts) == usage.total_tokens
    error = shown.error
    return {
        "outcome": shown.outcome,
        "line": shown.line,
        "day": shown.at[:10],
        "attempts": shown.attempts,
        "confirmed": [f"{exact(each.amount)} {each.currency}" for each in shown.confirmed],
        "unknown": [f"{exact(each.amount)} {each.currency}" for each in shown.unknown],
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "total": None if is_sum else usage.total_tokens,
        "seconds": None if shown.seconds is None else round(shown.seconds, 2),
        "task": int(shown.is_task),
        "warnings": [readable(each) for each in shown.warnings],
        "error": [error.kind, readable(error.message)] if error else [],
        "waste": sorted(shown.waste),
    }


class _Charges:
    """A row a Charge, for the costs page: of which Job, when, how much, and what was wrong."""

    def __init__(self) -> None:
        self._days: Table[str] = Table()
        self._sums: Table[str] = Table()
        self._waste: Table[str] = Table()
        self._rows: list[tuple[int, int, int, int, int | None, int | None, int, int]] = []

    def take(self, job: int, charge: Charge) -> None:
        """One more, of the Job of this number."""
        self._rows.append(
            (charge.line, job, charge.attempt, self._days.number(charge.day),
             self._sum(charge.amount), self._sum(charge.high), int(charge.is_open),
             self._waste.number(" ".join(sorted(charge.waste))))
        )  # fmt: skip

    def _sum(self, money: Money | None) -> int | None:
        return self._sums.number(f"{exact(money.amount)} {money.currency}") if money else None

    def columns(self) -> Plain:
        """In the order of the ledger."""
        rows = sorted(self._rows, key=lambda row: row[:2])
        lines, jobs, *others = ([row[at] for row in rows] for at in range(8))
        named = zip(("attempt", "day", "amount", "high", "open", "waste"), others, strict=True)
        return {
            "days": self._days.items,
            "sums": self._sums.items,
            "kinds": self._waste.items,
            "line": differences(lines),  # type: ignore[arg-type]
            "job": differences(jobs),  # type: ignore[arg-type]
            **{name: alike(column) for name, column in named},
        }


def _label(source: str, original: Original) -> str:
    """The source's label, else the name of its folder: as reports have it."""
    if original.label is not None:
        return readable(original.label)
    return readable(source.rpartition("/")[0].rpartition("/")[2])


def _source_name(name: str) -> str:
    return readable(url_without_query(name) if SOURCE_URL in name else name)


def _stem(name: str) -> str:
    """A path's last part without what follows its last dot; `data.js` does the same."""
    last = name.rpartition("/")[2]
    dot = last.rfind(".")
    return last[:dot] if dot > 0 else last


def _thumb_digest(digest: str) -> str:
    return digest[:NAME_DIGITS] if thumbnail_name(digest) else "0" * NAME_DIGITS
