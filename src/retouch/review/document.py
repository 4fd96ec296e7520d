"""What the pages read: the gallery's content as one compact document (`report/data/gallery.js`).

Columns, not objects: a column whose values are all alike is written once, growing numbers as
differences, digests in base64 without separators, pictures' paths as folder and pattern. So ten
thousand pictures take well under 2 MB. `static/data.js` is the reader; `FORMAT` says which.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from retouch.money import exact
from retouch.review.gallery import Charge, Gallery, Original, Shown
from retouch.review.marks import Marks
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
_NONE = Original()
Item = TypeVar("Item")


def readable(text: str) -> str:
    """Text from outside as a page shows it: what would turn or hide its letters is spelled out,
    what joins them (an emoji's parts) stays."""
    return text.translate(_HIDDEN)


@dataclass(slots=True)
class Table(Generic[Item]):
    """Each different value once; columns hold its number."""

    items: list[Item] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)

    def number(self, item: Item) -> int:
        """The value's number, given at its first use."""
        known = self._numbers.get(item)
        if known is None:
            known = self._numbers[item] = len(self.items)
            self.items.append(item)
        return known


@dataclass(frozen=True, slots=True)
class About:
    """What a page says of itself: `name` of the manifest's outputs folder, `command` what a
    retouch command names it by, `jobs` how many are planned (None: nobody knows)."""

    name: str
    command: str
    is_virtual: bool
    jobs: int | None = None


class Document:
    """The pages' document, made from a gallery; `report` is the folder the pages lie in."""

    def __init__(
        self, gallery: Gallery, marks: Marks, report: Path, *, is_served: bool = False
    ) -> None:
        self._gallery = gallery
        self._marks = marks
        self._report = report
        self._is_served = is_served

    def whole(self, about: About) -> Plain:
        """Everything, for a page that is opened."""
        jobs = self._gallery.all_shown()
        numbers = {each.key: number for number, each in enumerate(jobs)}
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
            **self._packed(jobs),
            "charges": _charges(self._gallery.charges.values(), numbers),
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
                "href": self._href(name),
                "thumb": thumbnail_name(original.digest),
                "label": _label(name, original),
                "split": readable(original.split),
                "width": original.width,
                "height": original.height,
            },
            **self._facts(shown),
            "pictures": [
                {
                    "path": file.path,
                    "digest": file.sha256[:NAME_DIGITS],
                    "width": file.width,
                    "height": file.height,
                }
                for file in shown.files
            ],
        }

    # --- Parts -----------------------------------------------------------------------------

    def _packed(self, jobs: Sequence[Shown]) -> Plain:
        columns: Table[tuple[str, str]] = Table()
        texts: Table[str] = Table()
        sums: Table[str] = Table()
        facts = [self._facts(each) for each in jobs]
        packed: Plain = {
            "key": _base64(each.key for each in jobs),
            "source": _differences([self._gallery.sources[each.words.source] for each in jobs]),
            "column": _alike(
                [
                    columns.number((readable(each.words.model), readable(each.words.prompt)))
                    for each in jobs
                ]
            ),
            "line": _differences([each.line for each in jobs]),
            "pictures": _alike([len(each.files) for each in jobs]),
        }
        for name in ("outcome", "day", "error", "confirmed", "unknown", "warnings", "waste"):
            table = sums if name in ("confirmed", "unknown") else texts
            packed[name] = _alike([_numbers(table, each[name]) for each in facts])
        for name in ("attempts", "input", "output", "total", "seconds", "task"):
            packed[name] = _alike([each[name] for each in facts])
        return {
            "columns": columns.items,
            "texts": texts.items,
            "sums": sums.items,
            "jobs": packed,
            "sources": self._sources(),
            "pictures": self._pictures(jobs),
        }

    def _facts(self, shown: Shown) -> Plain:
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

    def _href(self, name: str) -> str:
        """Where a source is, relative to the pages; empty where it is not on this machine."""
        path = self._gallery.known.originals.get(name, _NONE).path
        if path is None:
            return ""
        if self._is_served:
            return f"../sources/{self._gallery.sources[name]}"
        return Path(os.path.relpath(path.absolute(), self._report.absolute())).as_posix()

    def _sources(self) -> Plain:
        names = list(self._gallery.sources)
        originals = [self._gallery.known.originals.get(name, _NONE) for name in names]
        bases: Table[str] = Table()
        of_base: list[int | None] = []
        rests: list[str] = []
        for name in names:
            href = self._href(name)
            ends_so = href.endswith(name) and name == _source_name(name)
            rest = "" if ends_so else href.rpartition("/")[2]
            rests.append(rest)
            of_base.append(bases.number(href[: -len(rest or name)]) if href else None)
        return {
            "name": [_source_name(name) for name in names],
            "bases": bases.items,
            "base": _alike(of_base),
            "rest": _alike(rests),
            "thumb": _base64(_thumb_digest(each.digest) for each in originals),
            "label": _alike([_label(*each) for each in zip(names, originals, strict=True)]),
            "split": _alike([readable(each.split) for each in originals]),
            "width": _alike([each.width for each in originals]),
            "height": _alike([each.height for each in originals]),
        }

    def _pictures(self, jobs: Sequence[Shown]) -> Plain:
        folders: Table[str] = Table()
        patterns: Table[str] = Table()
        of_folder: list[int] = []
        of_pattern: list[int] = []
        files = [(each, file) for each in jobs for file in each.files]
        for shown, file in files:
            folder, _, name = file.path.rpartition("/")
            source = shown.words.source
            stem = _stem(source) if source == _source_name(source) else ""
            is_named = stem and name.startswith(stem) and "*" not in name
            of_folder.append(folders.number(folder))
            of_pattern.append(patterns.number("*" + name[len(stem) :] if is_named else name))
        return {
            "folders": folders.items,
            "patterns": patterns.items,
            "folder": _alike(of_folder),
            "pattern": _alike(of_pattern),
            "digest": _base64(_thumb_digest(file.sha256) for _, file in files),
            "width": _alike([file.width for _, file in files]),
            "height": _alike([file.height for _, file in files]),
        }


def _charges(charges: Iterable[Charge], numbers: dict[str, int]) -> Plain:
    """A row a Charge, for the costs page: of which Job, when, how much, and what was wrong."""
    rows = sorted(
        (each for each in charges if each.key in numbers), key=lambda each: (each.line, each.key)
    )
    days: Table[str] = Table()
    sums: Table[str] = Table()
    waste: Table[str] = Table()
    return {
        "days": days.items,
        "sums": sums.items,
        "kinds": waste.items,
        "job": _differences([numbers[each.key] for each in rows]),
        "attempt": _alike([each.attempt for each in rows]),
        "line": _differences([each.line for each in rows]),
        "day": _alike([days.number(each.day) for each in rows]),
        "amount": _alike(
            [sums.number(f"{exact(each.amount.amount)} {each.amount.currency}")
             if each.amount else None for each in rows]
        ),
        "high": _alike(
            [sums.number(f"{exact(each.high.amount)} {each.high.currency}")
             if each.high else None for each in rows]
        ),
        "open": _alike([int(each.is_open) for each in rows]),
        "waste": _alike([waste.number(" ".join(sorted(each.waste))) for each in rows]),
    }  # fmt: skip


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


def _base64(digests: Iterable[str]) -> str:
    """Digests of one length, one after the other, each in base64url without its padding."""
    return "".join(
        base64.urlsafe_b64encode(bytes.fromhex(each)).rstrip(b"=").decode() for each in digests
    )


def _numbers(table: Table[str], value: object) -> object:
    """Texts by their numbers; a list of them stays one, an empty one is 0."""
    if isinstance(value, list):
        return [table.number(each) for each in value] or 0
    return table.number(str(value))


def _alike(values: Sequence[object]) -> object:
    """The column, or its one value where all are alike."""
    if values and all(each == values[0] for each in values):
        return {"all": values[0]}
    return list(values)


def _differences(values: Sequence[int]) -> list[int]:
    return [value - before for value, before in zip(values, (0, *values), strict=False)]
