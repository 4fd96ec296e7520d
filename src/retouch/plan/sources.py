"""From the manifest's inputs to candidates: what each source refers to, before any file is read.

Every kind of input names pictures wherever they lie; names of sources are relative to its root.
What lies in the outputs folder is refused (a manifest would feed on its own results). Samples are
the same ones every time, and nearly the same when files are added.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from retouch.errors import Problem
from retouch.manifest import SOURCES, Input, Loaded, Location
from retouch.plan import bucket_inputs
from retouch.plan.candidates import Candidate, Named, is_url, shown_url, unfit_url
from retouch.plan.choosing import fits, sampled
from retouch.plan.columns import Columns, path_of_url
from retouch.plan.companions import Companions, Findings
from retouch.plan.globs import (
    Files,
    Glob,
    Trouble,
    UnfitPattern,
    glob_of,
    located,
    located_text,
    with_slashes,
)
from retouch.plan.objects import Objects
from retouch.plan.results import Results, is_below, results_of
from retouch.plan.sets import read_set
from retouch.plan.sets.imagefolder import annotations_of
from retouch.plan.sets.reading import Reading
from retouch.plan.tables import TABLE_CAP_BYTES, TableRow, read_table, read_urls
from retouch.plan.warnings import Warnings
from retouch.storage.bucket_url import bucket_url, is_bucket, shown_address, unfit_address
from retouch.text import one_clean_line, url_without_query, url_without_signature

PROBLEM_CAP = 20


def gather(
    loaded: Loaded,
    outputs: Path,
    problems: list[Problem],
    tally: Warnings,
    objects: Objects | None = None,
) -> list[Candidate]:
    """Every source of the manifest, in order; what is wrong is added to `problems`."""
    found: list[Candidate] = []
    gathering = _Gathering(loaded, results_of(loaded, outputs), problems, tally, objects)
    for index, given in enumerate(loaded.manifest.inputs):
        found.extend(_Input(gathering, index, given).candidates())
    if len(loaded.manifest.inputs) > 1:
        problems.extend(_shared_names(loaded, found))
    return found


def _shared_names(loaded: Loaded, found: Iterable[Candidate]) -> Iterator[Problem]:
    """Sources of two inputs that have one name and are two files."""
    first: dict[str, Candidate] = {}
    shared: Counter[tuple[int, int]] = Counter()
    examples: dict[tuple[int, int], list[str]] = {}
    for candidate in found:
        known = first.setdefault(candidate.name, candidate)
        if known.input != candidate.input and known.reference != candidate.reference:
            pair = (known.input, candidate.input)
            shared[pair] += 1
            if shared[pair] <= 3:
                examples.setdefault(pair, []).append(one_clean_line(candidate.name, 80))
    for pair, times in shared.items():
        more = ", ..." if times > 3 else ""
        what = (
            f"inputs {pair[0] + 1} and {pair[1] + 1} both have sources named "
            f"{', '.join(examples[pair])}{more} ({times:,} in all)"
        )
        remedy = "write `as: ...` at one of them, a name to put before its own"
        yield loaded.problem(("inputs", pair[1]), what, remedy)


@dataclass(slots=True)
class _Seen:
    """Real paths that were named before, so that a file is one source however it is reached."""

    places: set[tuple[object, ...]] = field(default_factory=set)
    folders: dict[str, str] = field(default_factory=dict)
    whole: dict[str, list[tuple[str, list[str]]]] = field(default_factory=dict)

    def real(self, path: str) -> str:
        """The path with every link followed."""
        if os.path.islink(path):  # noqa: PTH114 - texts, 100,000 of them
            return os.path.realpath(path)
        folder, _, name = path.rpartition("/")
        return self.real_folder(folder) + name

    def real_folder(self, folder: str) -> str:
        """The same for a folder, with a slash at its end."""
        known = self.folders.get(folder)
        if known is None:
            real = os.path.realpath(folder or "/")
            known = self.folders[folder] = f"{real.rstrip('/')}/"
        return known

    def is_new(self, real: str, named: Named, label: str) -> bool:
        """Whether it is a source of its own: another file, label or row than all before."""
        self._look_into(real.rpartition("/")[0] + "/")
        place = (real, named.span, label, named.header, named.values)
        if place in self.places:
            return False
        self.places.add(place)
        return True

    def are_new(self, folder: str, names: list[str], label: str) -> bool:
        """Whether files of a folder are sources of their own, as they are at its first listing:
        then they are kept as they came, until one of the folder is named otherwise. False where
        each is to be asked for."""
        if folder in self.whole:
            taken = self.whole[folder]
            if not taken or any(
                other != label or not (names[0] > known[-1] or names[-1] < known[0])
                for other, known in taken
            ):
                self._look_into(folder)
                return False
        self.whole.setdefault(folder, []).append((label, names))
        return True

    def _look_into(self, folder: str) -> None:
        """From now on each file of the folder is told by its own path."""
        for label, names in self.whole.get(folder, ()):
            self.places.update((folder + name, None, label, (), ()) for name in names)
        self.whole[folder] = []


@dataclass(frozen=True, slots=True)
class _Gathering:
    """What all inputs share."""

    loaded: Loaded
    results: Results
    problems: list[Problem]
    tally: Warnings
    objects: Objects | None = None
    seen: _Seen = field(default_factory=_Seen)


@dataclass(frozen=True, slots=True)
class _Folder:
    """What the files of one folder have in common: how their real paths and their names begin, the
    label given to them, and what they are labelled by it or by their names."""

    real: str
    names: str
    label: str
    called: str


class _Input:
    """One input being read."""

    def __init__(self, gathering: _Gathering, index: int, given: Input) -> None:
        self.loaded, self.results = gathering.loaded, gathering.results
        self.tally = gathering.tally
        self.seen = gathering.seen
        self._objects = gathering.objects
        self.index, self.given = index, given
        self.location: Location = ("inputs", index)
        self.findings = Findings(self.loaded, self.location, gathering.problems)
        self.kind = next(key for key in SOURCES if getattr(given, key) is not None)
        self.named: str = getattr(given, self.kind)
        self.own = 0
        self.outside: Counter[str] = Counter()

    def candidates(self) -> list[Candidate]:
        """The input's sources: chosen, with their masks and further images."""
        companions = Companions(self.given, self.findings)
        try:
            found = [each for each in self._found() if each is not None]
        except UnfitPattern as error:
            self.findings.say(self.kind, str(error), error.remedy)
            found = []
        self._say_of_all()
        if not found and not self.findings.failed and not self.given.allow_empty:
            self._say_empty()
        found = self._chosen(found)
        if not companions:
            return found
        return [whole for each in found if (whole := companions.of(each)) is not None]

    def _warn(self, what: str, remedy: str, example: str) -> None:
        self.tally.add((*self.location, self.kind), what, remedy, example)

    # --- What there is ---------------------------------------------------------------------

    def _found(self) -> Iterator[Candidate | None]:
        match self.kind:
            case "glob":
                return self._globbed()
            case "table":
                return self._tabled()
            case "urls":
                return self._listed()
        return self._of_set()

    @property
    def objects(self) -> Objects:
        """How buckets are reached."""
        if self._objects is None:
            raise ValueError(bucket_inputs.NOWHERE)
        return self._objects

    def _globbed_objects(self) -> Iterator[Candidate | None]:
        given = self.given
        root = bucket_inputs.addressed(given.root) if given.root else None
        mirror = self.loaded.manifest.output.mirror
        for one in bucket_inputs.globbed(
            self.named, self.objects, given.exclude, literal=given.literal
        ):
            if mirror is not None and one.path.startswith(f"{mirror}/"):
                self.own += 1
                continue
            name = bucket_inputs.name_of(one.path, root) if root else one.name
            yield self._of_object(Named(one.path, name=name))

    def _of_object(self, named: Named) -> Candidate | None:
        """The candidate of an object in a bucket; None if it was named before."""
        name = self._prefixed(named.name or bucket_inputs.name_of(named.path, None))
        own = name.removeprefix(f"{self.given.prefix}/")
        folder = _folder_of(bucket_url(named.path).key).strip("/").rpartition("/")[2]
        columns = self._columns(named, name, "" if "/" in own else folder)
        if not self.seen.is_new(named.path, named, columns["label"]):
            self._warn("a file is named twice, and is taken once", "name it once", name)
            return None
        return Candidate(name, named.path, self.index, columns, named.file, named.line)

    def _globbed(self) -> Iterator[Candidate | None]:
        if is_bucket(self.named):
            yield from self._globbed_objects()
            return
        glob = glob_of(self.named, self.loaded.folder, literal=self.given.literal)
        root = self._root(glob.base)
        excluded = self._excluded(root)
        base = os.path.realpath(glob.base)
        folders: dict[str, _Folder | None] = {}
        for found in glob.runs():
            if isinstance(found, Trouble):
                self._trouble(found)
                continue
            place = found.folder if isinstance(found, Files) else ""
            names = found.names if isinstance(found, Files) else [str(found)]
            if excluded:
                names = [
                    name
                    for name in names
                    if not any(each.matches(f"{place}{name}") for each in excluded)
                ]
            if not place or not names:
                yield from (self._candidate(Named(path), root, base) for path in names)
                continue
            if place not in folders:
                folders[place] = self._folder(place[:-1], root, base)
            if (folder := folders[place]) is None:
                for name in names:
                    yield self._candidate(Named(f"{place}{name}"), root, base)
            else:
                yield from self._in_folder(place, names, folder)

    def _folder(self, place: str, root: Path, base: str) -> _Folder | None:
        """What the files of a folder have in common; None where each is to be looked at."""
        path = f"{place}/x"
        real = self.seen.real_folder(place)
        if not _inside(path, root) or self.results.hold(f"{real}x", base):
            return None
        name = self._name_of(path, root)
        label = self._label_of(path, name)
        columns = self._columns(Named(path), name, label)
        return _Folder(real, name[:-1], label, columns["label"])

    def _in_folder(
        self, place: str, names: list[str], folder: _Folder
    ) -> Iterator[Candidate | None]:
        """The candidates of a folder's files that are no links, those that are new."""
        begin, index, label = folder.names, self.index, folder.label
        if not self.seen.are_new(folder.real, names, folder.called):
            real, called = folder.real, folder.called
            names = [
                name
                for name in names
                if self._is_new(real + name, Named(place + name), called, begin + name)
            ]
        for name in names:
            path = begin + name
            yield Candidate(path, place + name, index, Columns(path, None, (), (), label=label))

    def _is_new(self, real: str, named: Named, label: str, name: str) -> bool:
        """Whether a file is a source of its own; it is told where it is not."""
        if self.seen.is_new(real, named, label):
            return True
        self._warn("a file is named twice, and is taken once", "name it once", name)
        return False

    def _name_of(self, path: str, root: Path, below: str = "") -> str:
        """What a file below the root is called; `below`: where its path does not tell that."""
        return self._prefixed(below or path[len(f"{root}".rstrip("/")) + 1 :])

    def _label_of(self, path: str, name: str) -> str:
        """Its folder's name, where its own name does not tell that."""
        own = name.removeprefix(f"{self.given.prefix}/")
        is_elsewhere = not is_below(path, str(self.loaded.folder))
        if "/" not in own and (is_elsewhere or self.given.prefix):
            return _folder_of(path).rpartition("/")[2]
        return ""

    def _of_set(self) -> Iterator[Candidate | None]:
        if is_bucket(self.named):
            remedy = "copy it here, or name its pictures by `glob: s3://...`"
            raise UnfitPattern("is in a bucket, and labelled sets are read from a disk", remedy)
        given_root = self.given.root
        folder = located(given_root, self.loaded.folder) if given_root else None
        reading = Reading(self.loaded.folder, folder, self._shown, self.findings.told, self._warn)
        excluded: list[Glob] | None = None
        for named in read_set(self.kind, self.named, reading):
            root = folder or reading.root
            if excluded is None:
                excluded = self._excluded(root)
            if not any(each.matches(named.path) for each in excluded):
                yield self._candidate(named, root, os.path.realpath(root))

    def _tabled(self) -> Iterator[Candidate | None]:
        read, path = self._place_of(TABLE_CAP_BYTES)
        is_absolute = self.named.startswith(("/", "~"))
        root = path.parent if is_absolute and not self.given.root else self._root(path.parent)
        column = self.given.image_column
        shown = self.named if read else self._shown(str(path))
        rows: list[Named] = []
        for row in read_table(path, shown, column, read):
            if isinstance(row, Problem):
                self.findings.told(row)
            elif (found := self._of_row(row, shown, root)) is not None:
                rows.append(found)
        files = [each.path for each in rows if not is_url(each.path)]
        if files and not os.path.lexists(files[0]) and self._lies_beside(rows, path.parent):
            what = f"its pictures are looked for in {root}, and lie beside the table"
            beside = self._shown(str(path.parent)) or "."
            self.findings.say(self.kind, what, f"write `root: {beside}`")
            return
        outside = [each for each in files if not _inside(each, root)]
        elsewhere = Path(os.path.commonpath(list(map(_folder_of, outside)) or ["/"]))
        if outside:
            if self.given.root:
                what = f"{len(outside):,} of its pictures lie outside `root`, like {outside[0]}"
                self.findings.say(
                    self.kind, what, f"write `root: {elsewhere}`, or another above them all"
                )
                return
            remedy = f"write `root: {elsewhere}`, so that names stay when rows are added"
            self._warn(f"names of pictures are relative to {elsewhere}", remedy, outside[0])
        for named in rows:
            if is_bucket(named.path):
                yield self._of_object(named)
                continue
            is_inside = is_url(named.path) or _inside(named.path, root)
            yield self._candidate(named, root if is_inside else elsewhere, named.path)

    def _lies_beside(self, rows: list[Named], folder: Path) -> bool:
        """Whether the table's first picture is where its cell says, seen from the table."""
        first = next(each for each in rows if not is_url(each.path))
        cell = first.values[first.header.index(self.given.image_column)].strip()
        return os.path.lexists(located(with_slashes(cell), folder))

    def _place_of(self, cap: int) -> tuple[Callable[[], bytes] | None, Path]:
        """A table or list: how it is read where it lies in a bucket, and its path or name."""
        if not is_bucket(self.named):
            return None, located(self.named, self.loaded.folder)
        read = bucket_inputs.reader_of(self.named, self.objects, cap)
        return read, Path(bucket_url(self.named).key)

    def _listed(self) -> Iterator[Candidate | None]:
        read, path = self._place_of(TABLE_CAP_BYTES)
        shown = self.named if read else self._shown(str(path))
        for row in read_urls(path, shown, read):
            if isinstance(row, Problem):
                self.findings.told(row)
                continue
            url = row.values[0]
            if is_bucket(url):
                if self._fits(row, shown, 1):
                    yield self._of_object(Named(url, shown, row.line))
                continue
            if reason := unfit_url(url):
                what, remedy = f"`{shown_url(url)}` {reason}", "give a public https:// URL"
                self.findings.told(Problem(shown, row.line, 1, what, remedy))
            else:
                yield self._candidate(Named(url, shown, row.line), self.loaded.folder, "")

    def _of_row(self, row: TableRow, file: str, root: Path) -> Named | None:
        column = row.header.index(self.given.image_column)
        named = row.values[column].strip()
        if not named:
            what = f"the cell `{one_clean_line(self.given.image_column, 40)}` is empty"
            self.findings.told(Problem(file, row.line, column + 1, what, "give a path or a URL"))
            return None
        path, name = named, ""
        is_in_bucket = is_bucket(self.named) and not is_url(named) and not named.startswith("/")
        if is_in_bucket:
            path = str(bucket_url(self.named).parent / named)
        if is_bucket(path):
            if not self._fits(replace(row, values=(path,)), file, column + 1):
                return None
            below = bucket_url(self.named).parent if is_bucket(self.named) else None
            name = bucket_inputs.name_of(path, below)
        elif is_url(named):
            if reason := unfit_url(named):
                what, remedy = f"`{shown_url(named)}` {reason}", "give a public https:// URL"
                self.findings.told(Problem(file, row.line, column + 1, what, remedy))
                return None
        elif "\0" in named or named[1:3] == ":\\":
            what = f"`{one_clean_line(named, 80)}` is no path here"
            self.findings.told(
                Problem(file, row.line, column + 1, what, "write where it is on this machine")
            )
            return None
        else:
            path = located_text(with_slashes(named), os.fspath(root))
        annotations = annotations_of(row, (self.given.image_column,))
        return Named(path, file, row.line, row.header, row.values, annotations, name=name)

    def _fits(self, row: TableRow, file: str, column: int) -> bool:
        """Whether an address that a row names is one; else that is told."""
        unfit = unfit_address(row.values[0])
        if unfit is not None:
            what = f"`{shown_address(row.values[0])}` {unfit.what}"
            self.findings.told(Problem(file, row.line, column, what, unfit.remedy))
        return unfit is None

    # --- Names -----------------------------------------------------------------------------

    def _root(self, base: Path) -> Path:
        """The folder that names are relative to."""
        if self.given.root:
            return located(self.given.root, self.loaded.folder)
        folder = self.loaded.folder
        return folder if base == folder or base.is_relative_to(folder) else base

    def _candidate(self, named: Named, root: Path, base: str) -> Candidate | None:
        """The candidate; None for what is a result, lies outside the root, or was named before."""
        if is_url(named.path):
            columns = self._columns(named, self._prefixed(path_of_url(named.path)), "")
            if not self.seen.is_new(url_without_signature(named.path), named, ""):
                self._warn("a URL is named twice, and is taken once", "name it once", columns.path)
                return None
            name = self._prefixed(url_without_query(named.path))
            return Candidate(name, named.path, self.index, columns, named.file, named.line)
        if not _inside(named.path, root):
            self.outside[named.path] += 1
            return None
        real = self.seen.real(named.path)
        if self.results.hold(real, base):
            self.own += 1
            return None
        name = self._name_of(named.path, root, named.name)
        label = self._label_of(named.path, name)
        columns = self._columns(named, name, label)
        if not self._is_new(real, named, columns["label"], name):
            return None
        return Candidate(
            name, named.path, self.index, columns, named.file, named.line,
            span=named.span, in_shares=named.in_shares,
        )  # fmt: skip

    def _prefixed(self, name: str) -> str:
        return f"{self.given.prefix}/{name}" if self.given.prefix else name

    @staticmethod
    def _columns(named: Named, path: str, label: str) -> Columns:
        return Columns(
            path, None, named.header, named.values, label=label,
            annotations=named.annotations, split=named.split,
        )  # fmt: skip

    def _excluded(self, root: Path) -> list[Glob]:
        """What is left out: patterns relative to the manifest's folder, or to the root."""
        folders = dict.fromkeys((self.loaded.folder, root))
        return [glob_of(each, folder) for each in self.given.exclude for folder in folders]

    def _shown(self, path: str) -> str:
        """A file as messages name it: relative where it lies below the manifest's folder."""
        return path.removeprefix(f"{str(self.loaded.folder).rstrip('/')}/")

    # --- What is said of all ---------------------------------------------------------------

    def _trouble(self, trouble: Trouble) -> None:
        shown = one_clean_line(self._shown(trouble.path))
        if trouble.is_link:
            remedy = "name it in the pattern, or leave it out"
            self._warn("`**` follows no linked folders", remedy, shown)
        else:
            self.findings.say(self.kind, f"{shown} {trouble.reason}", trouble.remedy)

    def _say_of_all(self) -> None:
        if self.own:
            what = f"the manifest would feed on its own results: {self.own:,} of them are named"
            if self.kind == "glob":
                what = (
                    "the manifest would feed on its own results: the glob matches "
                    f"{self.own:,} of them"
                )
            self.findings.say(self.kind, what, self.results.remedy)
        if self.outside:
            count, first = sum(self.outside.values()), next(iter(self.outside))
            what = f"{count:,} of its pictures lie outside `root`, like {one_clean_line(first)}"
            self.findings.say(
                "root" if self.given.root else self.kind, what, "write a root above them all"
            )

    def _say_empty(self) -> None:
        remedy = "mend it, or write `allow_empty: true`"
        if self.kind != "glob":
            self.findings.say(
                self.kind, f"`{one_clean_line(self.named, 80)}` names no source", remedy
            )
            return
        text = self.named
        if is_bucket(text):
            self.findings.say("glob", f"`{one_clean_line(text, 80)}` matches no object", remedy)
            return
        as_named = located(text, self.loaded.folder)
        if as_named.is_dir():
            remedy = f"it is a folder, not a regular file: write {text.rstrip('/')}/**/*.jpg"
        elif not self.given.literal and self._means_itself(text):
            remedy = "its folder's name holds [, ?, { or *: write `literal: true`"
        else:
            glob = glob_of(text, self.loaded.folder, literal=self.given.literal)
            if not glob.base.is_dir():
                remedy = f"there is no folder {self._shown(str(glob.base))}; {remedy}"
            elif same := sum(1 for _ in glob.in_any_case()):
                remedy = f"{same:,} match if upper and lower case are ignored, as in [aA]"
        self.findings.say("glob", f"`{one_clean_line(text, 80)}` matches nothing", remedy)

    def _means_itself(self, text: str) -> bool:
        """Whether the pattern matches something if its signs stand for themselves."""
        try:
            found = glob_of(text, self.loaded.folder, literal=True).paths()
        except UnfitPattern:
            return False
        return any(isinstance(path, str) for path in found)

    # --- Choosing, masks, further images ---------------------------------------------------

    def _chosen(self, found: list[Candidate]) -> list[Candidate]:
        """Those that `where` and `sample` leave."""
        for column in self.given.where:
            if found and all(column not in each.columns for each in found):
                known = ", ".join(name for name in found[0].columns)
                what = f"`{one_clean_line(column, 40)}` in `where` is not a column"
                self.findings.told(
                    self.loaded.problem((*self.location, "where", column), what, f"known: {known}")
                )
                return found
        if self.given.where:
            kept = [each for each in found if fits(each.columns, self.given.where)]
            if found and not kept and not self.given.allow_empty:
                what = f"`where` leaves none of {len(found):,} sources"
                self.findings.say("where", what, "mend it, or write `allow_empty: true`")
            found = kept
        sample = self.given.sample
        if sample is None:
            return found
        if sample.per and found and all(sample.per not in each.columns for each in found):
            known = ", ".join(name for name in found[0].columns)
            where = (*self.location, "sample", "per")
            what = f"`{one_clean_line(sample.per, 40)}` is not a column"
            self.findings.told(self.loaded.problem(where, what, f"known: {known}"))
            return found
        if sample.count is not None and len(found) < sample.count:
            what = f"the sample asks for {sample.count:,} sources, there are {len(found):,}"
            where = (*self.location, "sample", "count")
            self.findings.problems.append(
                self.loaded.problem(where, what, "all are taken", "warning")
            )
        return sampled(found, sample)


def _inside(path: str, root: Path) -> bool:
    return is_below(path, str(root))


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"
