"""`prompts.jsonl`: every prompt that was asked, in full, by the digest that Records begin with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from retouch.ledger.terms import prompt_digest
from retouch.storage.durable import storage_failed

NAME = "prompts.jsonl"
_BEGINS = b'{"digest":"'
LATEST = 4096  # texts that are known to be there
_ADDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def keep_texts(folder: Path, texts: Iterable[str]) -> None:
    """Append those that are not there yet, a line each: {"digest", "text"}. Durable on return;
    raises StorageFailed."""
    path = folder / NAME
    new = {prompt_digest(text): text for text in texts}
    for known in _digests(path, new):
        del new[known]
    if not new:
        return
    lines = b"".join(_line(digest, text) for digest, text in new.items())
    try:
        with os.fdopen(os.open(path, _ADDING, 0o644), "ab") as file:
            if file.tell() and not _ends_whole(path):
                file.write(b"\n")  # a line that a crash cut is left as it is
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_failed(path, error) from error


class Texts:
    """The file during a run. What hangs on no source (`fixed`) is there from the beginning; of
    100,000 sources each text is added when it is first sent, so that nothing waits for the last.

    Once more for what an earlier run added, or long ago this one: a line too many does no harm.
    Not synced: a process that is killed loses none, a power cut the last.
    """

    def __init__(self, folder: Path, fixed: Iterable[str]) -> None:
        self._path = folder / NAME
        self._fixed = frozenset(fixed)
        self._latest: dict[str, None] = {}

    def keep(self, text: str) -> None:
        """Add a text, unless it is one of the latest. Raises StorageFailed."""
        if text in self._fixed or text in self._latest:
            return
        line = _line(prompt_digest(text), text)
        try:
            is_first = not self._latest and self._path.exists()
            if is_first and not _ends_whole(self._path):
                line = b"\n" + line  # a line that a crash cut is left as it is
            file = os.open(self._path, _ADDING, 0o644)
            try:
                os.write(file, line)  # in one piece: shards add, too
            finally:
                os.close(file)
        except OSError as error:
            raise storage_failed(self._path, error) from error
        self._latest[text] = None
        if len(self._latest) > LATEST:
            del self._latest[next(iter(self._latest))]


def _line(digest: str, text: str) -> bytes:
    return orjson.dumps({"digest": digest, "text": text}) + b"\n"


def texts_in(folder: Path) -> dict[str, str]:
    """Every text on file by its digest; lines that are none are passed over."""
    found: dict[str, str] = {}
    for line in _lines(folder / NAME):
        try:
            given = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(given, dict) and isinstance(given.get("text"), str):
            found[prompt_digest(given["text"])] = given["text"]
    return found


def _digests(path: Path, wanted: Mapping[str, str]) -> set[str]:
    """Those of `wanted` whose text is on file, in a line of its own that is whole."""
    found: set[str] = set()
    try:
        with path.open("rb") as lines:
            for line in lines:
                digest = line[len(_BEGINS) : len(_BEGINS) + 64].decode("ascii", "replace")
                if digest in wanted and line == _line(digest, wanted[digest]):
                    found.add(digest)
    except OSError:
        return found
    return found


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
