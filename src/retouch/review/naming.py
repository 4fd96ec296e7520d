"""From what a person writes to the pictures that are meant: Keys or their beginnings, sources,
output paths, patterns of either, and files (`@FILE`) with one of these a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from retouch.errors import InputRefused
from retouch.job import KEY_DIGITS
from retouch.review.gallery import Jobs, Shown
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line

Place = tuple[str, int | None]
_KEY = re.compile(rf"[0-9a-f]{{{KEY_DIGITS},64}}")
_MAGIC = re.compile(r"[*?[]")


def named(words: Iterable[str], gallery: Jobs) -> list[Place]:
    """The Jobs (index None) and pictures that the words mean, each once.

    Raises InputRefused for a word that means none.
    """
    wanted = list(_spread(words))
    found: list[list[Place]] = [[] for _ in wanted]
    for job, _ in gallery.each():
        for word, places in zip(wanted, found, strict=True):
            places.extend(_meant(word, job))
    for word, places in zip(wanted, found, strict=True):
        if not places:
            raise InputRefused(
                f"{one_clean_line(word, 120)}: no picture is meant by this",
                hint="write a key or its first 12 digits, a source, an output path, or a pattern",
            )
    return list(dict.fromkeys(place for places in found for place in places))


def _spread(words: Iterable[str]) -> Iterator[str]:
    """The words, with those in files in the files' place."""
    for word in words:
        if not word.startswith("@"):
            yield word
            continue
        try:
            text = read_regular(Path(word[1:])).decode()
        except UnreadableFile as error:
            raise InputRefused(f"{word[1:]}: {error}") from error
        except UnicodeDecodeError:
            raise InputRefused(f"{word[1:]}: is not UTF-8 text") from None
        yield from (line.strip() for line in text.splitlines() if line.strip())


def _meant(word: str, job: Shown) -> Iterator[Place]:
    if not job.files:
        return
    if (_KEY.fullmatch(word) and job.key.startswith(word)) or _matches(job.words.source, word):
        yield job.key, None
        return
    yield from (
        (job.key, index) for index, file in enumerate(job.files) if _matches(file.path, word)
    )


def _matches(text: str, word: str) -> bool:
    return text == word or (bool(_MAGIC.search(word)) and fnmatchcase(text, word))
