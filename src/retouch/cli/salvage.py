"""`retouch salvage`: of a damaged ledger a new one, with what may have come after held."""

from __future__ import annotations

import argparse
import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import anyio

from retouch.cli.output import say
from retouch.errors import InputRefused, StorageFailed
from retouch.ledger import open_ledger
from retouch.ledger.head import Head, write_head
from retouch.ledger.records import Salvaged
from retouch.ledger.salvage import Salvage, salvage
from retouch.storage.durable import replace_whole, storage_failed, sync_folder
from retouch.storage.lock import Hold, exclusive
from retouch.storage.part import part_of
from retouch.text import how_many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch salvage`."""
    parser.add_argument("ledger", metavar="LEDGER", type=Path, help="the damaged ledger.jsonl")


def run(arguments: argparse.Namespace) -> int:
    """Salvage; 0 when nothing was damaged, 1 when something is held now."""
    path: Path = arguments.ledger
    if not path.is_file():
        raise InputRefused(f"{path}: there is no ledger here")
    if part_of(path) is None and not _has_record(path):
        raise InputRefused(
            f"{path}: holds no record, so it is no ledger; nothing was changed",
            hint="name the damaged one, like outputs/NAME/ledger.jsonl",
        )
    with exclusive(path.parent, guarded=path.name) as hold:
        found = salvage(path)
        if found is None:
            say(f"{path}: not damaged; nothing was changed")
            return 0
        kept = _put_in_place(path, found)
        anyio.run(_append, path, found, hold)
    _tell(path, kept, found)
    return 1 if found.held or found.lost_lines else 0


def _has_record(path: Path) -> bool:
    """Whether any line begins as a record does."""
    try:
        with path.open("rb") as file:
            return any(line.startswith(b'{"event":"') for line in file)
    except OSError as error:
        raise storage_failed(path, error) from error


def _put_in_place(path: Path, found: Salvage) -> Path:
    """The good beginning as the ledger, the damaged one beside it. Raises StorageFailed."""
    try:
        kept = _linked(path)
        sync_folder(path.parent)
        with path.open("rb") as file:
            whole = file.read(found.end.size)
    except OSError as error:
        raise storage_failed(path, error) from error
    if len(whole) < found.end.size:
        raise StorageFailed(f"{path}: was cut while it was read")
    # The shorter ledger gets its head first: after a crash in between, the old one is refused.
    write_head(path, Head(found.end.lines, found.end.prev))
    replace_whole(path, whole)
    return kept


def _linked(path: Path) -> Path:
    """Another name for the file, which nothing else has."""
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for number in count(1):
        kept = path.with_name(f"damaged-{now}{f'-{number}' if number > 1 else ''}.jsonl")
        with suppress(FileExistsError):
            os.link(path, kept)
            break
    return kept


async def _append(path: Path, found: Salvage, hold: Hold) -> None:
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    async with open_ledger(path, run_id, hold=hold, say=say, is_alone=True) as ledger:
        note = f"after line {found.end.lines}"
        await ledger.append(
            Salvaged(lost_lines=found.lost_lines, note=note), *found.tasks, *found.held
        )


def _tell(path: Path, kept: Path, found: Salvage) -> None:
    say(f"{found.damage}\n{how_many(found.end.lines, 'record')} kept as {path}")
    say(f"the damaged ledger is kept as {kept}")
    if found.tasks:
        say(f"{how_many(len(found.tasks), 'task')} on file: `retouch run` fetches them, free")
    others = len(found.held) - len(found.tasks)
    if others > 0:
        say(
            f"{how_many(others, 'job')} named after the damage held: `retouch resolve` settles "
            "them (--charged keeps a picture that lies at its place)"
        )
    if found.lost_lines:
        say(
            f"{how_many(found.lost_lines, 'line')} lost: any job may stand in them, so no new one "
            "is sent until `retouch resolve --all` says what is known"
        )
