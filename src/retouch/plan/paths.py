"""Where pictures go: the output template made into paths that are safe on every system.

Each part is rendered, then sanitised as a whole; only `{parent}` may bring folders of its own.
Two jobs never share a path, not even on a file system that ignores case or Unicode form: that is
found while planning, before anything is paid for.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import repeat
from typing import TypeVar

from retouch.manifest.model import DEFAULT_OUTPUT_PATH
from retouch.manifest.names import same_path, unfit_for_a_path
from retouch.plan.columns import batched, in_all
from retouch.plan.templates import Name, Template, parse

PART_BYTES = 200  # under the usual 255, with room for suffixes and temporary names
PATH_BYTES = 3000  # under the usual 4096, with room for the folder it all goes to
SUFFIXES = (".png", ".jpg", ".webp", ".gif", ".svg")
_INDEX_MARK = "\0"
_OF_A_JOB = frozenset({"model", "prompt"})
_WHOLE = (Name("model"), Name("prompt"))
_NOTHING: Mapping[str, str] = {}
_PARENT = (Name("parent"),)
_UNFIT = re.compile(r'[\x01-\x1f\x7f/\\<>:"|?*{}]')
_FITS = re.compile(  # as most parts do: a quick look, and no name that Windows could reserve
    r"(?!con|prn|aux|nul|com|lpt)[a-z0-9_](?:[a-z0-9_ .\0+~-]*[a-z0-9_\0+~-])?",
    re.ASCII | re.IGNORECASE,
)
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def fit_part(text: str) -> str:
    """One part of a path, made fit for every system: never empty, never `..`, at most 200 bytes."""
    return _fit(text.replace(_INDEX_MARK, "_"))


def _fit(text: str) -> str:
    """The same, for a text in which a NUL stands for the picture's index, and stays."""
    if len(text) <= PART_BYTES and _FITS.fullmatch(text):
        return text
    return _made_fit(text)


@lru_cache(maxsize=4096)
def _made_fit(text: str) -> str:
    fit = _UNFIT.sub("_", text)
    if not fit.isascii():
        fit = "".join(map(_visible, unicodedata.normalize("NFC", fit)))
    fit = _shortened(fit.strip(" ").rstrip(". ") or "_", text)
    if unfit_for_a_path(fit.replace(_INDEX_MARK, "0")):  # a name Windows reserves
        fit = _shortened(f"_{fit}", text)
    return fit


def _visible(character: str) -> str:
    if character != _INDEX_MARK and unicodedata.category(character) in _INVISIBLE:
        return "_"
    return character


def _shortened(fit: str, text: str) -> str:
    """`fit` within PART_BYTES; where it is cut, the digest of the whole tells it from others."""
    if len(fit.encode()) <= PART_BYTES:
        return fit
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    before, mark, after = fit.partition(_INDEX_MARK)
    end = mark + _cut(after, PART_BYTES // 4)
    return f"{_cut(before, PART_BYTES - len(end.encode()) - 9)}~{digest}{end}"


def _cut(text: str, limit_bytes: int) -> str:
    return text.encode()[:limit_bytes].decode("utf-8", "ignore").rstrip(". ")


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """The output template, part by part.

    `index_is_told_apart`: equal paths but for the index are equal only if the indexes are.
    `crowded` holds the places of sources whose names differ in their suffix alone: they go by
    `full`, which keeps it. `is_job_then_source`: every path begins with the same number of parts
    that hang on model and prompt alone, and goes on with those of the source alone, so that two are
    equal only if both halves are.
    """

    parts: tuple[Template, ...]
    has_index: bool
    index_is_told_apart: bool
    full: tuple[Template, ...] = ()
    crowded: frozenset[str] = frozenset()

    is_job_then_source: bool = field(init=False, repr=False, compare=False)
    _of_job: dict[tuple[object, ...], str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = [_OF_A_JOB.isdisjoint(part.names) for part in self.parts]
        of_job = [part for part, of_source in zip(self.parts, kinds, strict=True) if not of_source]
        is_so = kinds == sorted(kinds) and all(_OF_A_JOB.issuperset(each.names) for each in of_job)
        object.__setattr__(self, "is_job_then_source", is_so)

    @property
    def names(self) -> tuple[str, ...]:
        """The names the template uses."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.names))

    def of(self, columns: Mapping[str, str]) -> SourcePaths:
        """The paths of one source's pictures. KeyError for a column the source does not have."""
        if self.is_job_then_source and (tail := self.tail(columns)):
            return SourcePaths((), columns, self._of_job, (self, tail))
        found: list[str | Template] = []
        for part in self._parts_of(columns):
            if part.parts == _PARENT:
                found.extend(_folders(columns["parent"]))
            elif _OF_A_JOB.isdisjoint(part.names):
                found.append(_rendered(part, columns, _NOTHING))
            else:
                for name in part.names:
                    if name not in ("model", "prompt", "index"):
                        _ = columns[name]
                found.append(part)
        return SourcePaths(tuple(_runs(found)), columns, self._of_job)

    def head(self, model: str, prompt: str) -> str:
        """What hangs on model and prompt, where that is what every path begins with."""
        of_job = [part for part in self.parts if not _OF_A_JOB.isdisjoint(part.names)]
        done = [_as_folder(_rendered_for(part, _NOTHING, model, prompt)) for part in of_job]
        return "".join(f"{folder}/" for folder in ["images", *done])

    def tail(self, columns: Mapping[str, str]) -> str:
        """What follows it: the source's own. KeyError for a column the source does not have."""
        found: list[str] = []
        for part in self._parts_of(columns):
            if part.parts == _PARENT:
                found.extend(_folders(columns["parent"]))
            elif _OF_A_JOB.isdisjoint(part.names):
                found.append(_rendered(part, columns, _NOTHING))
        folders = [_as_folder(each) for each in found[:-1]]
        return "/".join([*folders, *found[-1:]])

    def tails(self, columns: Sequence[Mapping[str, str]]) -> list[str]:
        """`tail` of many sources. KeyError for a column that one of them does not have."""
        parts = [
            part for part in self.parts if part.parts == _PARENT or _OF_A_JOB.isdisjoint(part.names)
        ]
        if self.crowded or not parts or parts[-1].parts == _PARENT:
            return list(map(self.tail, columns))
        found: list[Iterable[str]] = []
        for part in parts:
            if part.parts == _PARENT:
                found.append(map(_before, in_all(columns, "parent")))
            else:
                texts = _all_rendered(part, columns)
                is_last = part is parts[-1]
                found.append(texts if is_last else (f"{_as_folder(text)}/" for text in texts))
        return list(map("".join, zip(*found, strict=True)))

    def _parts_of(self, columns: Mapping[str, str]) -> tuple[Template, ...]:
        if self.crowded and _place(columns, "name") in self.crowded:
            return self.full
        return self.parts


@lru_cache(maxsize=1024)
def _folders(parent: str) -> tuple[str, ...]:
    return tuple(fit_part(name) for name in parent.split("/") if name)


@lru_cache(maxsize=1024)
def _before(parent: str) -> str:
    """What the folders of a source make of the path before its name."""
    return "".join(f"{_as_folder(folder)}/" for folder in _folders(parent))


Run = tuple[Template, ...]
"""Parts beside each other that hang on the model or the prompt."""


def _runs(parts: list[str | Template]) -> Iterator[str | Run]:
    """The parts in runs: what is rendered is one text, with what ends each folder."""
    last = len(parts) - 1
    ready: list[str] = ["images"]
    waiting: list[Template] = []
    for at, part in enumerate(parts):
        if isinstance(part, str):
            if waiting:
                yield tuple(waiting)
                waiting = []
            ready.append(part if at == last else _as_folder(part))
        else:
            if ready:
                yield "/".join(ready)
                ready = []
            waiting.append(part)
    if ready:
        yield "/".join(ready)
    if waiting:
        yield tuple(waiting)


def _as_folder(part: str) -> str:
    """A folder named like a picture could stand where a picture is to go."""
    return f"{part}_" if part.lower().endswith(SUFFIXES) else part


@dataclass(frozen=True, slots=True)
class SourcePaths:
    """One source's paths: what hangs on the source alone is rendered, the rest waits.

    `of_job` remembers, for all sources, what hangs on model and prompt alone; `halves`: what knows
    that, and the source's own, where a path is no more than both.
    """

    runs: tuple[str | Run, ...]
    columns: Mapping[str, str]
    of_job: dict[tuple[object, ...], str] = field(default_factory=dict, repr=False, compare=False)
    halves: tuple[OutputPaths, str] | None = None

    def render(self, model: str, prompt: str) -> str:
        """The path below the outputs folder, without suffix, `{index}` left for the picture's."""
        if self.halves is not None:
            paths, tail = self.halves
            head = self.of_job.get((model, prompt))
            if head is None:
                head = self.of_job[model, prompt] = paths.head(model, prompt)
            return head + tail
        return "/".join(
            [
                run if isinstance(run, str) else self._run(run, at, model, prompt)
                for at, run in enumerate(self.runs)
            ]
        )

    def _run(self, run: Run, at: int, model: str, prompt: str) -> str:
        is_last = at == len(self.runs) - 1
        place = (*map(id, run), is_last, model, prompt)  # parts live as long as what remembers
        known = self.of_job.get(place)
        if known is not None:
            return known
        done = [_rendered_for(part, self.columns, model, prompt) for part in run]
        text = "/".join(
            [*map(_as_folder, done[:-1]), done[-1] if is_last else _as_folder(done[-1])]
        )
        if all(_OF_A_JOB.issuperset(part.names) for part in run):
            self.of_job[place] = text
        return text


def _rendered_for(part: Template, columns: Mapping[str, str], model: str, prompt: str) -> str:
    """One part of a Job's path."""
    if len(part.parts) == 1 and part.parts[0] in _WHOLE:
        return fit_part(model if part.parts[0] == _WHOLE[0] else prompt)
    return _rendered(part, columns, {"model": model, "prompt": prompt})


def _rendered(part: Template, columns: Mapping[str, str], of_job: Mapping[str, str]) -> str:
    """One part; a NUL in `index` stands for the index, in any other column for nothing."""
    pieces = [
        piece
        if isinstance(piece, str)
        else _INDEX_MARK
        if piece.name == "index"
        else _value(piece.name, columns, of_job).replace(_INDEX_MARK, "_")
        for piece in part.parts
    ]
    return _fit("".join(pieces)).replace(_INDEX_MARK, "{index}")


def _all_rendered(part: Template, columns: Sequence[Mapping[str, str]]) -> list[str]:
    """One part for many sources, on which alone it hangs."""
    pieces: list[Iterable[str]] = []
    for piece in part.parts:
        if isinstance(piece, str):
            pieces.append(repeat(piece, len(columns)))
        elif piece.name == "index":
            pieces.append(repeat(_INDEX_MARK, len(columns)))
        else:
            values = in_all(columns, piece.name)
            if _INDEX_MARK in "".join(values):
                values = [value.replace(_INDEX_MARK, "_") for value in values]
            pieces.append(values)
    texts = list(map("".join, zip(*pieces, strict=True))) or [""] * len(columns)
    if max(map(len, texts)) > PART_BYTES or not all(map(_FITS.fullmatch, texts)):
        texts = list(map(_fit, texts))
    if "index" in part.names:
        texts = [text.replace(_INDEX_MARK, "{index}") for text in texts]
    return texts


def _value(name: str, columns: Mapping[str, str], of_job: Mapping[str, str]) -> str:
    return of_job[name] if name in of_job else columns[name]


def output_paths(template: str) -> OutputPaths:
    """The parsed output template. Raises TemplateError."""
    parsed = parse(template)  # as a whole first, so that positions are those of the whole
    parts = tuple(parse(part) for part in template.split("/"))
    return OutputPaths(parts, "index" in parsed.names, all(map(_tells_index_apart, parts)))


def told_apart(paths: OutputPaths, sources: Iterable[Mapping[str, str]]) -> OutputPaths:
    """The default template for the plan's `sources` (their columns): those that would share a
    path keep their suffix in it. A name that is told apart so may meet another's: it, too."""
    sources = tuple(sources)
    seen: set[int] = set()
    for some in batched(sources):
        folders, stems = in_all(some, "parent"), in_all(some, "stem")
        seen.update(hashes(list(map("{}/{}".format, folders, stems))))
    if len(seen) == len(sources):
        return paths
    places = {_place(columns, "name"): _place(columns, "stem") for columns in sources}
    crowded: set[str] = set()
    while True:
        shared = Counter(
            same_file(name if name in crowded else stem) for name, stem in places.items()
        )
        more = {
            name
            for name, stem in places.items()
            if name not in crowded and shared[same_file(stem)] > 1
        }
        if not more:
            break
        crowded |= more
    if not crowded:
        return paths
    full = output_paths(DEFAULT_OUTPUT_PATH.replace("{stem}", "{name}")).parts
    return replace(paths, full=full, crowded=frozenset(crowded))


def _place(columns: Mapping[str, str], name: str) -> str:
    return f"{columns['parent']}/{columns[name]}"


def _tells_index_apart(part: Template) -> bool:
    """Whether two equal renderings of the part must have equal indexes.

    So if the index stands at an edge of it, or beside names on one side alone, with a literal
    that no digit ends (or begins) between.
    """
    places = [at for at, piece in enumerate(part.parts) if piece == Name("index")]
    if not places:
        return True
    if len(places) > 1:
        return False
    before, after = part.parts[: places[0]], part.parts[places[0] + 1 :]
    names_before = any(isinstance(piece, Name) for piece in before)
    names_after = any(isinstance(piece, Name) for piece in after)
    if names_before and names_after:
        return False
    beside = [*(before[-1:] if names_before else ()), *(after[:1] if names_after else ())]
    edges = [(piece, -1 if names_before else 0) for piece in beside]
    return all(isinstance(piece, str) and not piece[edge].isdigit() for piece, edge in edges)


Owner = TypeVar("Owner")


class Collisions:
    """Finds paths that some file system cannot tell apart, by 64 bits a path.

    `suspect` every path once; only if any is `suspected`, `pairs` compares those in full.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self.suspected: set[int] = set()

    def suspect(self, path: str) -> None:
        """Look at one more path."""
        digest = hash(same_file(path))
        if digest in self._seen:
            self.suspected.add(digest)
        self._seen.add(digest)

    def pairs(self, paths: Iterable[tuple[str, Owner]]) -> Iterator[tuple[Owner, Owner]]:
        """Who shares a path with whom, of (path, who) pairs given again in the same order."""
        first: dict[str, Owner] = {}
        for path, who in paths:
            folded = same_file(path)
            if hash(folded) not in self.suspected:
                continue
            known = first.setdefault(folded, who)
            if known is not who:
                yield known, who


def hashes(paths: list[str]) -> Iterable[int]:
    """64 bits of each path, the same for two that some file system takes for one."""
    alike = str.lower if "".join(paths).isascii() else same_file
    return map(hash, map(alike, paths))


def same_file(path: str) -> str:
    """What two paths have in common that some file system takes for one."""
    return path.lower() if path.isascii() else same_path(path)
