"""From what the user names to Jobs or their Charges: keys, sources, output paths, globs of either,
files of them."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from retouch.engine.outputs import SUFFIXES
from retouch.engine.selection import JobStream
from retouch.errors import InputRefused
from retouch.job import Job
from retouch.ledger.charges import Charge
from retouch.text import one_clean_line

_KEY = re.compile(r"[0-9a-f]{12,64}")
_KEY_PART = re.compile(r"[0-9a-f]{6,64}")  # of a key, among the few Charges that are open
LIST_CAP_BYTES = 64 * 1024 * 1024


def words_of(named: Sequence[str]) -> tuple[str, ...]:
    """The words themselves, `@FILE` read: one a line. Raises InputRefused."""
    words: list[str] = []
    for name in named:
        if not name.startswith("@"):
            words.append(name)
            continue
        try:
            with Path(name[1:]).open("rb") as file:
                data = file.read(LIST_CAP_BYTES + 1)
            text = data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InputRefused(f"{one_clean_line(name, 120)}: cannot be read: {reason}") from None
        if len(data) > LIST_CAP_BYTES:
            raise InputRefused(
                f"{one_clean_line(name, 120)}: is larger than {LIST_CAP_BYTES:,} bytes",
                hint="name the jobs in several files, one after the other",
            )
        words += [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(dict.fromkeys(words))


def keys_of(named: Sequence[str], lanes: Iterable[JobStream], option: str) -> frozenset[str]:
    """The keys of the Jobs that `named` means. Raises InputRefused for a word that names none,
    and for the beginning of a key that several have."""
    names = _Names(words_of(named))
    if not names.words:
        return frozenset()
    for lane in lanes:
        for job in lane.jobs():
            names.take(job)
    names.refuse(option)
    return frozenset[str]().union(*map(names.keys_of, names.words))


def charges_of(
    named: Sequence[str], among: Sequence[Charge], lanes: Callable[[], Iterable[JobStream]]
) -> list[Charge]:
    """The Charges that `named` means, each once. What no Charge is known by is looked for among
    the Jobs of `lanes`, which know their output paths. Raises InputRefused for a word that means
    none, and for the beginning of a key that several have."""
    chosen: dict[tuple[str, int], Charge] = {}
    planned: list[Job] | None = None
    for word in words_of(named):
        found = [each for each in among if _KEY_PART.fullmatch(word) and each.key.startswith(word)]
        if len({each.key for each in found}) > 1:
            raise InputRefused(f"{word}: several keys begin so; write more digits")
        found = found or [each for each in among if each.source == word]
        found = found or [each for each in among if each.source and fits(each.source, word)]
        if not found:
            planned = (
                [job for lane in lanes() for job in lane.jobs()] if planned is None else planned
            )
            names = _Names((word,))
            for job in planned:
                names.take(job)
            found = [each for each in among if each.key in names.keys_of(word)]
        if not found:
            raise InputRefused(
                f"{one_clean_line(word, 80)}: names no job that is meant here",
                hint="without words they are listed; a job is named by its key or the beginning of "
                "it, its source, an output path, a glob of either, or @FILE of them",
            )
        chosen |= {(each.key, each.attempt): each for each in found}
    return list(chosen.values())


def fits(text: str, word: str) -> bool:
    """Whether the word is the text, or a glob that matches it."""
    return text == word or (any(sign in word for sign in "*?[") and fnmatch.fnmatchcase(text, word))


class _Names:
    """The words, and the Jobs that they have named so far. What a word names exactly, it means: a
    name that looks like a glob is not one as well."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self._exact = {word: [word] for word in words}
        for word in words:
            stem, suffix = posixpath.splitext(word)
            if suffix in SUFFIXES.values():
                self._exact.setdefault(stem, []).append(word)
        self._keys = [word for word in words if _KEY.fullmatch(word)]
        self._globs = [
            (word, re.compile(fnmatch.translate(word)))
            for word in words
            if any(sign in word for sign in "*?[")
        ]
        self._named: dict[str, set[str]] = {}
        self._matched: dict[str, set[str]] = {}

    def take(self, job: Job) -> None:
        """Note which words name the Job."""
        key = job.key
        outputs = [job.output_path(index) for index in range(job.images_wanted)]
        said = [word for word in self._keys if key.startswith(word)]
        for at in (job.source.name, *outputs):
            said += self._exact.get(at, ())
        for word in said:
            self._named.setdefault(word, set()).add(key)
        if self._globs:
            pictures = [path + suffix for path in outputs for suffix in SUFFIXES.values()]
            places = (job.source.name, *outputs, *pictures)
            for word, glob in self._globs:
                if any(map(glob.match, places)):
                    self._matched.setdefault(word, set()).add(key)

    def keys_of(self, word: str) -> set[str]:
        """The keys of the Jobs that a word names."""
        return self._named.get(word) or self._matched.get(word) or set()

    def refuse(self, option: str) -> None:
        """Raises InputRefused for what names no Job, or is not clear."""
        missed = [word for word in self.words if not self.keys_of(word)]
        if missed:
            shown = ", ".join(one_clean_line(word, 80) for word in missed[:3])
            more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
            raise InputRefused(
                f"{option} {shown}{more}: names no job of the plan",
                hint="write a job's key or its first 12 digits, a source, an output path, a glob "
                "of either, or @FILE of them",
            )
        for word in self._keys:
            if len(self.keys_of(word)) > 1:
                raise InputRefused(f"{option} {word}: several keys begin so; write more digits")
