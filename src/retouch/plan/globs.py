"""Files by pattern, anywhere on the disk, in the order of their names; fast for 100,000 of them.

`*`, `?` and `[...]` stay within a name, `**` is any number of folders, `{a,b}` and `{1..9}` are
alternatives; names beginning with a dot are matched only by a pattern that does. An extension
matches in any case. A pattern begins at the folder that stands before its first wildcard, be that
absolute, `~` or above by `..`. Linked folders are followed where the pattern names them, never by
`**`.

Braces are bracex's, as wcmatch's are. All of wcmatch 12 was tried: it takes 1.7 times as long,
passes by folders that it cannot read without a word, and takes extensions in any case only with
the whole path.
"""

from __future__ import annotations

import fnmatch
import os
import re
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bracex

from retouch.text import one_clean_line

_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)")
_EXTENSION = re.compile(r"(.*)\.([A-Za-z0-9]{1,10})")
ALTERNATIVES_CAP = 100_000  # of the braces of one pattern
_Matches = Callable[[str], object]


class UnfitPattern(ValueError):
    """Why a pattern is refused, in one clause, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern's segments: a test for names, or None for `**`; `hidden` takes dotted names."""

    text: str
    segments: tuple[_Matches | None, ...]
    hidden: tuple[bool, ...]

    def matches(self, path: str) -> bool:
        """Whether a relative path (with `/`) is one the pattern means."""
        states = self.opened({0})
        for name in path.split("/"):
            states = self.opened(self.after(states, name))
        return len(self.segments) in states

    def opened(self, states: set[int]) -> set[int]:
        """The states with those that `**` may pass over."""
        grown = set(states)
        for state in states:
            at = state
            while at < len(self.segments) and self.segments[at] is None:
                at += 1
                grown.add(at)
        return grown

    def after(self, states: set[int], name: str, *, by_name: bool = False) -> set[int]:
        """The states that hold once a name was passed; `by_name`: not those `**` passed it by."""
        dotted = name.startswith(".")
        passed = set()
        for state in states:
            if state == len(self.segments) or (dotted and not self.hidden[state]):
                continue
            segment = self.segments[state]
            if segment is None:
                if not by_name:
                    passed.add(state)
            elif segment(name):
                passed.add(state + 1)
        return passed

    def goes_on(self, states: set[int]) -> bool:
        """Whether something in a folder with these states may still match."""
        return any(state < len(self.segments) for state in states)


@dataclass(frozen=True, slots=True)
class Glob:
    """A text as patterns, each with the folder it begins at: absolute, links as they stand.

    `base` is that of them all; `text` is what the manifest says.
    """

    text: str
    base: Path
    patterns: tuple[tuple[Path, Pattern], ...]

    def paths(self) -> Iterator[str | Trouble]:
        """The absolute path of everything that matches, each once, alternative by alternative."""
        for found in self.runs():
            if isinstance(found, Files):
                yield from (f"{found.folder}{name}" for name in found.names)
            else:
                yield found

    def runs(self) -> Iterator[Files | Linked | Trouble]:
        """The same, the files of a folder that follow each other at once."""
        seen: dict[str, set[str]] = {}
        for folder, pattern in self.patterns:
            before = f"{folder}".rstrip("/")
            for found in find(folder, pattern):
                if isinstance(found, Trouble):
                    yield replace(found, path=f"{before}/{found.path}")
                    continue
                if isinstance(found, Files):
                    place, names = f"{before}/{found.folder}", found.names
                else:
                    place, slash, name = f"{before}/{found}".rpartition("/")
                    place, names = place + slash, [name]
                if len(self.patterns) > 1:  # an alternative may take what an earlier one took
                    known = seen.setdefault(place, set())
                    names = [name for name in names if name not in known]
                    known.update(names)
                if isinstance(found, Files) and names:
                    yield Files(place, names)
                elif not isinstance(found, Files):
                    yield from (Linked(f"{place}{name}") for name in names)

    def in_any_case(self) -> Iterator[str]:
        """What would match below `base` if upper and lower case were one."""
        for folder, pattern in self.patterns:
            for found in find(folder, compiled(pattern.text, ignore_case=True)):
                if isinstance(found, Files):
                    yield from found.names
                elif isinstance(found, Linked):
                    yield found

    def matches(self, path: str) -> bool:
        """Whether an absolute path is one the text means."""
        for folder, pattern in self.patterns:
            before = f"{folder}".rstrip("/") + "/"
            if path.startswith(before) and pattern.matches(path[len(before) :]):
                return True
        return False


def glob_of(text: str, folder: Path, *, literal: bool = False) -> Glob:
    """The glob a text is, relative to `folder`. Raises UnfitPattern.

    `literal`: `*` and `**` alone are wildcards.
    """
    if "\0" in text or "\\" in text or re.match(r"[A-Za-z]:", text):
        raise UnfitPattern("the pattern holds a NUL or a backslash", "separate folders with /")
    texts = [text] if literal else alternatives(text)
    patterns = []
    for each in texts:
        before, rest = split_at_wildcard(each, literal=literal)
        base = located(before, folder)
        patterns.append((base, compiled(rest, literal=literal)))
    bases = [str(base) for base, _ in patterns]
    return Glob(text, Path(os.path.commonpath(bases)), tuple(patterns))


def located(named: str, folder: Path) -> Path:
    """The absolute path of what is named relative to `folder`, absolute, or by `~`; links stand.

    Raises UnfitPattern for a home that is not known.
    """
    return Path(located_text(named, os.fspath(folder)))


def located_text(named: str, folder: str) -> str:
    """The same as texts, for names by the hundred thousand."""
    if named.startswith("~"):
        home = os.path.expanduser(named)  # noqa: PTH111 - as text: nothing is looked up but the home
        if home.startswith("~"):
            what = f"`{one_clean_line(named, 80)}`: whose home that is, is not known"
            raise UnfitPattern(what, "write the folder in full")
        named = home
    return os.path.normpath(os.path.join(folder, named))  # noqa: PTH118 - texts


def with_slashes(named: str) -> str:
    """A path that a list names, as this system writes it: a Windows tool's list has backslashes."""
    return named.replace("\\", "/") if "\\" in named and "/" not in named else named


def alternatives(text: str) -> list[str]:
    """The patterns that a text's braces stand for. Raises UnfitPattern for too many."""
    if not _BRACES.search(text):
        return [text]
    try:
        found = list(dict.fromkeys(bracex.expand(text, keep_escapes=True, limit=ALTERNATIVES_CAP)))
    except bracex.ExpansionLimitException:
        what = f"its braces mean more than {ALTERNATIVES_CAP:,} patterns"
        raise UnfitPattern(what, "use `*`") from None
    return found


def split_at_wildcard(text: str, *, literal: bool) -> tuple[str, str]:
    """The folders before the first wildcard (and before the last name), and the rest."""
    names = text.split("/")
    magic = re.compile(r"\*") if literal else _MAGIC
    last = len(names) - 1
    at = next((at for at, name in enumerate(names) if at == last or magic.search(name)), last)
    before = "/".join(names[:at])
    if at and not before:
        before = "/"
    return before or ".", "/".join(names[at:])


def compiled(text: str, *, literal: bool = False, ignore_case: bool = False) -> Pattern:
    """The pattern a text is, below some folder. Raises UnfitPattern."""
    if text.startswith(("/", "~")) or re.match(r"[A-Za-z]:", text):
        raise UnfitPattern(f"`{one_clean_line(text, 80)}` is not relative", "begin it with a name")
    if "\0" in text or "\\" in text:
        raise UnfitPattern("the pattern holds a NUL or a backslash", "separate folders with /")
    names = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in names:
        what = f"`{one_clean_line(text, 80)}` goes up by `..` after a wildcard"
        raise UnfitPattern(what, "write `..` before the first wildcard alone")
    if text.endswith("/") or (names and names[-1] == "**"):
        names.append("*")
    if literal:
        names = [re.sub(r"[\[?]", r"[\g<0>]", name) for name in names]
    last = len(names) - 1
    segments = tuple(
        None if name == "**" else _test(name, is_last=at == last, ignore_case=ignore_case)
        for at, name in enumerate(names)
    )
    return Pattern(text, segments, tuple(name.startswith(".") for name in names))


def _test(name: str, *, is_last: bool, ignore_case: bool) -> _Matches:
    if ignore_case:
        return re.compile(fnmatch.translate(name), re.IGNORECASE).match
    extension = _EXTENSION.fullmatch(name) if is_last else None
    if extension:
        any_case = "".join(
            f"[{one.lower()}{one.upper()}]" if one.isalpha() else one for one in extension[2]
        )
        name = f"{extension[1]}.{any_case}"
    elif not _MAGIC.search(name):
        return name.__eq__
    return re.compile(fnmatch.translate(name)).match


@dataclass(frozen=True, slots=True)
class Trouble:
    """A folder that was not looked into, and why; `is_link`: `**` does not follow links."""

    path: str
    reason: str
    remedy: str
    is_link: bool = False


class Linked(str):
    """A path that is a link itself, or nothing that is plainly a file, as its folder's listing
    says."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one folder, by name: what is plainly one, and no link; `folder` ends in `/`, or is
    "" for where the pattern begins."""

    folder: str
    names: list[str]


NOT_FOLLOWED = "is a linked folder, and `**` follows no links"


def find(folder: Path, pattern: Pattern) -> Iterator[Files | Linked | Trouble]:
    """Relative paths (with `/`) of what the pattern matches below `folder`, in order of names.

    Anything but folders is given, so that a pipe or a broken link is told, not passed over.
    """
    stack = [_matching(folder, "", pattern, pattern.opened({0}))]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
        elif isinstance(found, _Below):
            stack.append(_matching(folder, found.path, pattern, found.states))
        else:
            yield found


@dataclass(frozen=True, slots=True)
class _Below:
    """A folder to go into; `path` ends in `/`."""

    path: str
    states: set[int]


def _matching(
    folder: Path, below: str, pattern: Pattern, states: set[int]
) -> Iterator[Files | Linked | Trouble | _Below]:
    """What matches in one folder, and the folders to go on in, in order of names."""
    names: list[str] = []
    others: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder / below) as listing:
            for entry in listing:
                if _is_plain(entry):
                    names.append(entry.name)
                else:
                    others.append(entry)
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = f"cannot be looked into: {error.strerror} (errno {error.errno})"
            yield Trouble(below.rstrip("/") or ".", reason, "check its permissions")
        return
    names = _taken(names, pattern, states)
    names.sort()
    begin = 0
    for entry in sorted(others, key=lambda entry: entry.name):
        end = bisect(names, entry.name, begin)
        if end > begin:
            yield Files(below, names[begin:end])
        begin = end
        yield from _other(entry, below, pattern, states)
    if begin < len(names):
        yield Files(below, names[begin:] if begin else names)


def _taken(names: list[str], pattern: Pattern, states: set[int]) -> list[str]:
    """Those of a folder's names that end the pattern."""
    last = len(pattern.segments) - 1
    test = pattern.segments[last] if last in states else None
    if test is None:
        return []
    if pattern.hidden[last]:
        return [name for name in names if test(name)]
    return [name for name in names if name[0] != "." and test(name)]


def _other(
    entry: os.DirEntry[str], below: str, pattern: Pattern, states: set[int]
) -> Iterator[Linked | Trouble | _Below]:
    """What there is to do about what is no plain file."""
    after = pattern.after(states, entry.name)
    if not after:
        return
    path = below + entry.name
    if not _is_folder(entry):
        if len(pattern.segments) in after:
            yield Linked(path)
        return
    if entry.is_symlink():
        by_name = pattern.after(states, entry.name, by_name=True)
        if pattern.goes_on(pattern.opened(after)) and not by_name:
            yield Trouble(path, NOT_FOLLOWED, "", is_link=True)
        after = by_name
    opened = pattern.opened(after)
    if pattern.goes_on(opened):
        yield _Below(f"{path}/", opened)


def _is_plain(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file and no link, as far as is known."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself is neither folder nor file, and is told so
        return False
