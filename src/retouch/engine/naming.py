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
_LIST_CAP_BYTES = 64 * 1024 * 1024


def words_of(named: Sequence[str]) -> tuple[str, ...]:
    """The words themselves, `@FILE` read: one a line. Raises InputRefused."""
    words: list[str] = []
    for name in named:
        if not name.startswith("@"):
            words.append(name)
            continue
        try:
            with Path(name[1:]).open("rb") as file:
                text = file.read(_LIST_CAP_BYTES).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise InputRefused(f"{one_clean_line(name, 120)}: cannot be read: {reason}") from None
        words += [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(dict.fromkeys(words))


def keys_of(named: Sequence[str], lanes: Iterable[JobStream], option: str) -> frozenset[str]:
    """The keys of the Jobs that `named` means. Raises InputRefused for a word that names none,
    and for the beginning of a key that several have."""
    names = _Names(words_of(named))
    if not names.words:
        return frozenset()
    keys = frozenset(job.key for lane in lanes for job in lane.jobs() if names.take(job))
    names.refuse(option)
    return keys


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
        found = found or [each for each in among if each.source and fits(each.source, word)]
        if not found:
            planned = (
                [job for lane in lanes() for job in lane.jobs()] if planned is None else planned
            )
            names = _Names((word,))
            keys = {job.key for job in planned if names.take(job)}
            found = [each for each in among if each.key in keys]
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
    """The words, and which of them have named a Job so far."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self._exact = {word: word for word in words}
        for word in words:
            stem, suffix = posixpath.splitext(word)
            if suffix in SUFFIXES.values():
                self._exact.setdefault(stem, word)
        self._keys = [word for word in words if _KEY.fullmatch(word)]
        self._globs = [
            (word, re.compile(fnmatch.translate(word)))
            for word in words
            if any(sign in word for sign in "*?[")
        ]
        self._found: dict[str, set[str]] = {}

    def take(self, job: Job) -> bool:
        """Whether any word names the Job."""
        key = job.key
        outputs = [job.output_path(index) for index in range(job.images_wanted)]
        said = {word for word in self._keys if key.startswith(word)}
        said.update(self._exact[at] for at in (job.source.name, *outputs) if at in self._exact)
        if self._globs:
            pictures = [path + suffix for path in outputs for suffix in SUFFIXES.values()]
            places = (job.source.name, *outputs, *pictures)
            said.update(word for word, glob in self._globs if any(map(glob.match, places)))
        for word in said:
            self._found.setdefault(word, set()).add(key)
        return bool(said)

    def refuse(self, option: str) -> None:
        """Raises InputRefused for what names no Job, or is not clear."""
        missed = [word for word in self.words if word not in self._found]
        if missed:
            shown = ", ".join(one_clean_line(word, 80) for word in missed[:3])
            more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
            raise InputRefused(
                f"{option} {shown}{more}: names no job of the plan",
                hint="write a job's key or its first 12 digits, a source, an output path, a glob "
                "of either, or @FILE of them",
            )
        for word in self._keys:
            if len(self._found[word]) > 1:
                raise InputRefused(f"{option} {word}: several keys begin so; write more digits")
