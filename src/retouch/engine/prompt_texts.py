"""`prompts.jsonl`: every prompt that was asked, in full, by the digest that Records begin with."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import orjson

from retouch.ledger.terms import prompt_digest
from retouch.storage.durable import storage_failed

NAME = "prompts.jsonl"


def keep_texts(folder: Path, texts: Iterable[str]) -> None:
    """Append those that are not there yet, a line each: {"digest", "text"}. Durable on return;
    raises StorageFailed."""
    path = folder / NAME
    known = _known(path)
    new: dict[str, str] = {}
    for text in texts:
        digest = prompt_digest(text)
        if digest not in known and digest not in new:
            new[digest] = text
    if not new:
        return
    lines = b"".join(
        orjson.dumps({"digest": digest, "text": text}) + b"\n" for digest, text in new.items()
    )
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o644), "ab") as file:
            if file.tell() and not _ends_whole(path):
                file.write(b"\n")  # a line that a crash cut is left as it is
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_failed(path, error) from error


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


def _known(path: Path) -> set[str]:
    return set(texts_in(path.parent))


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
