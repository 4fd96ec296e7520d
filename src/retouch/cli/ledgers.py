"""From what the user names (manifests, outputs folders, ledgers, patterns) to ledgers to read."""

from __future__ import annotations

import argparse
import glob
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from retouch.cli.output import say
from retouch.cli.workspace import REHEARSAL_SUFFIX, add_outputs
from retouch.dialects import DIALECTS
from retouch.errors import InputRefused, StorageFailed
from retouch.ledger import Parts
from retouch.ledger.parts import part_paths
from retouch.ledger.records import RunBegins
from retouch.manifest import Loaded, load
from retouch.report import Period
from retouch.storage.part import WHOLE, part_of
from retouch.text import one_clean_line

NAME = WHOLE.ledger
PATTERN = "ledger*.jsonl"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """One ledger, and the manifest it was found by (None: by its own path or its folder). One in
    parts goes by the name that it would have as a whole.

    `shared_records` at its beginning are those of another copy that is read too.
    """

    path: Path
    loaded: Loaded | None = None
    shared_records: int = 0

    @property
    def name(self) -> str:
        """The folder it lies in: its manifest's name."""
        return self.path.parent.resolve().name

    @property
    def files(self) -> list[Path]:
        """The files that it is read from."""
        return part_paths(self.path)

    @property
    def reader(self) -> Parts:
        """Its Records; raises LedgerDamaged, StorageFailed while iterating."""
        return Parts.of(self.path)


@dataclass(frozen=True, slots=True)
class Search:
    """Ledgers to read, and what to say about those that are left out."""

    ledgers: tuple[Found, ...]
    notes: tuple[str, ...] = ()


def add_ledger(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command on one ledger: its manifest is not needed to read it."""
    parser.add_argument(
        "ledger", metavar="WHAT", help="the manifest, its folder under outputs/, or a ledger"
    )
    add_outputs(parser)
    parser.add_argument("--rehearse", action="store_true", help="of a manifest: its rehearsal")


def one_ledger(named: str, outputs: Path, *, rehearse: bool) -> Found:
    """The ledger that `add_ledger`'s arguments name; one that was named by its manifest may not
    be there yet. Raises InputRefused where it is not one."""
    path = Path(named)
    if _is_manifest(path):
        loaded = load(path, dialects=DIALECTS)
        return Found(_folder(loaded, outputs, rehearse) / NAME, loaded)
    search = find_ledgers([named], outputs)
    if len(search.ledgers) != 1 or search.notes:
        raise InputRefused(f"{path}: there are several ledgers; name one of them")
    return search.ledgers[0]


def find_ledgers(named: Sequence[str], outputs: Path, *, rehearsals: bool = False) -> Search:
    """The ledgers that `named` means, each once. Raises InputRefused where there is none.

    Rehearsals are left out beside real runs, so that virtual costs are never added to real ones.
    """
    found: dict[Path, Found] = {}
    for name in named:
        for each in _named(name, outputs, rehearsals):
            found.setdefault(each.path.resolve(), each)
    kept, notes = _without_rehearsals(list(found.values()))
    kept, more = _without_copies(kept)
    return Search(tuple(kept), (*notes, *more))


def _named(name: str, outputs: Path, rehearsals: bool) -> list[Found]:
    paths = [Path(name)]
    if not paths[0].exists() and glob.has_magic(name):
        # pathlib's glob takes no absolute patterns.
        paths = [Path(each) for each in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207
        if not paths:
            raise InputRefused(f"{name}: nothing has a name like this")
    found = [each for path in paths for each in _at(path, outputs, rehearsals, len(paths) > 1)]
    if not found and not _is_manifest(paths[0]):
        raise InputRefused(
            f"{name}: there is no ledger here",
            hint="name a manifest, its folder under outputs/, or a ledger.jsonl",
        )
    return found


def _at(path: Path, outputs: Path, rehearsals: bool, is_one_of_many: bool) -> Iterator[Found]:
    if path.is_dir():
        here = sorted(path.glob(PATTERN)) or sorted(path.glob(f"*/{PATTERN}"))
        yield from map(Found, _as_wholes(here))
    elif path.suffix == ".jsonl":
        if not path.exists():
            raise InputRefused(f"{path}: no such file")
        yield from map(Found, _as_wholes([path]))
    elif _is_manifest(path) or not is_one_of_many:
        loaded = load(path, dialects=DIALECTS)
        folder = _folder(loaded, outputs, rehearsals)
        yield from (Found(each, loaded) for each in _as_wholes(sorted(folder.glob(PATTERN))))


def _as_wholes(paths: Iterable[Path]) -> Iterator[Path]:
    """The parts of one ledger as one, by its name as a whole; each other file as it is."""
    named = (each if part_of(each) is None else each.with_name(NAME) for each in paths)
    yield from dict.fromkeys(named)


def _folder(loaded: Loaded, outputs: Path, rehearsals: bool) -> Path:
    return outputs / f"{loaded.manifest.name}{REHEARSAL_SUFFIX if rehearsals else ''}"


def _is_manifest(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml")


def _without_rehearsals(found: list[Found]) -> tuple[list[Found], list[str]]:
    virtual = [each for each in found if is_rehearsal(each.path)]
    if not virtual or len(virtual) == len(found):
        return found, []
    count = len(virtual)
    left = [each for each in found if each not in virtual]
    return left, [f"{count} rehearsal{'s' if count > 1 else ''} left out: these costs are virtual"]


def is_rehearsal(path: Path) -> bool:
    """Whether the ledger begins with a rehearsal; a run's record is a ledger's first."""
    beginning = islice(Parts.of(path), 1)
    first = next((record for record in beginning if isinstance(record, RunBegins)), None)
    return first is not None and first.provider == "rehearsal"


def _without_copies(found: list[Found]) -> tuple[list[Found], list[str]]:
    """Ledgers that begin alike are copies: what they share is counted once."""
    kept: list[Found] = []
    notes: list[str] = []
    by_first: dict[bytes, list[tuple[Found, Path]]] = {}
    for each in sorted(found, key=lambda each: -sum(map(_size, each.files))):
        shared: dict[Path, int] = {}
        original: Found | None = None
        firsts = {file: first for file in each.files if (first := _first_line(file))}
        for file, first in firsts.items():
            for other, like in by_first.get(first, ()):
                original = original or other
                shared[file] = max(shared.get(file, 0), _shared_lines(file, like))
        for file, first in firsts.items():
            by_first.setdefault(first, []).append((each, file))
        if original is not None:
            notes.append(f"{each.path} is a copy of {original.path}: counted once")
        kept.append(Found(each.path, each.loaded, _shared_records(each, shared)))
    order = {each.path: index for index, each in enumerate(found)}
    return sorted(kept, key=lambda each: order[each.path]), notes


def _shared_records(found: Found, shared: Mapping[Path, int]) -> int:
    """How many Records of a ledger, from the first on, are in the lines that its parts share."""
    if len(found.files) == 1 or not shared:
        return max(shared.values(), default=0)
    parts, count = found.reader, 0
    for _ in parts:
        path, line = parts.here
        if line > shared.get(path, 0):
            break
        count += 1
    return count


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StorageFailed(f"{path}: cannot be read: {error.strerror}") from error


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline()
    except OSError as error:
        raise StorageFailed(f"{path}: cannot be read: {error.strerror}") from error


def _shared_lines(one: Path, other: Path) -> int:
    """How many lines two files begin with alike."""
    lines = 0
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            chunk, against = first.read(_CHUNK_BYTES), second.read(_CHUNK_BYTES)
            if chunk == against and chunk:
                lines += chunk.count(b"\n")
                continue
            for mine, theirs in zip(chunk.splitlines(True), against.splitlines(True), strict=False):
                if mine != theirs:
                    break
                lines += 1
            return lines


def say_notes(search: Search) -> None:
    """Tell on stderr what was left out."""
    for note in search.notes:
        say(note)


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def add_period(parser: argparse.ArgumentParser) -> None:
    """The two flags."""
    parser.add_argument("--since", metavar="DAY", default="", help="first day, like 2025-10-02")
    parser.add_argument("--until", metavar="DAY", default="", help="last day")


def period_of(since: str, until: str) -> Period:
    """The period the two flags name. Raises InputRefused for what is no day."""
    for option, text in (("--since", since), ("--until", until)):
        if text and not _is_day(text):
            raise InputRefused(
                f"{option} {one_clean_line(text, 40)}: write a day like 2025-10-02; days are whole"
            )
    if until and since > until:
        raise InputRefused(f"--since {since} --until {until}: the first day is after the last")
    return Period(since, until)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return _DAY.fullmatch(text) is not None
