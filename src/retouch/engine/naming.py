"""From what the user names to Jobs: keys, sources, output paths, globs of either, files of them."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from retouch.engine.outputs import SUFFIXES
from retouch.engine.selection import JobStream
from retouch.errors import InputRefused
from retouch.job import Job
from retouch.text import one_clean_line

_KEY = re.compile(r"[0-9a-f]{12,64}")
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
