"""Whether a data set is the one that a digest names: a folder's, or what a manifest would export.

A folder is believed for nothing: every file is summed again and compared with SHA256SUMS, and the
digest is worked out anew from its provenance. From a manifest it is worked out from plan, ledger
and pictures; which originals and which splits an export took is not said by a digest, so every
choice is tried.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

import orjson
import pyarrow as pa

from retouch.errors import InputRefused, LedgerDamaged, StorageFailed
from retouch.export.digest import DatasetDigest, Group, row_of
from retouch.export.folder import ABOUT, SUMS
from retouch.export.left_out import LeftOut
from retouch.export.making import Maker, original_provenance, provenance_of
from retouch.export.pictures import Provenance
from retouch.export.present import Present
from retouch.export.provenance import NAME as PROVENANCE
from retouch.export.provenance import read_rows
from retouch.pictures.measured import GeometryCache
from retouch.text import one_clean_line

_CHOICES_TRIED = 5_000


class DatasetChanged(LedgerDamaged):
    """A file of a data set is not as it was exported."""


@dataclass(slots=True)
class FolderCheck:
    """What was found in a folder. Paths are relative to it."""

    digest: str = ""
    files: int = 0
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def check_folder(folder: Path) -> FolderCheck:
    """Sum everything up again. Raises InputRefused where it is no data set, StorageFailed, and
    DatasetChanged where its own lists cannot be read."""
    found = FolderCheck()
    try:
        sums = dict(_sums(folder))
        for path, digest in sums.items():
            found.files += 1
            actual = _sha256(folder / path)
            if actual is None:
                found.missing.append(path)
            elif actual != digest:
                found.changed.append(path)
        found.added = sorted(path for path in _files(folder) if path not in sums and path != SUMS)
        if not found.changed and not found.missing:
            found.digest = _digest(folder)
    except OSError as error:
        raise StorageFailed(f"{error.filename or folder}: {error.strerror or error}") from error
    return found


def _sums(folder: Path) -> Iterator[tuple[str, str]]:
    """The paths of SHA256SUMS and their digests."""
    path = folder / SUMS
    if not path.is_file():
        raise InputRefused(f"{folder}: no exported data set ({SUMS} is not in it)")
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        digest, _, name = line.decode("utf-8", "surrogateescape").partition("  ")
        if len(digest) != 64 or not name or name.startswith("/") or ".." in name.split("/"):
            raise DatasetChanged(f"{path}:{number}: no digest and name of a file")
        yield name, digest


def _sha256(path: Path) -> str | None:
    """A regular file's digest; None where it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[str]:
    """Every file below, but for those that tools keep in hidden places."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _digest(folder: Path) -> str:
    """The data set's digest, worked out from its provenance."""
    path = folder / PROVENANCE
    try:
        about = orjson.loads((folder / ABOUT).read_bytes())
        annotations = str(about["annotations"])
        digest = DatasetDigest()
        for row in read_rows(path):
            digest.add_row((str(row["split"]), bool(row["original"])), _row(row))
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        said = one_clean_line(str(error), 150)
        raise DatasetChanged(f"{path}: no provenance of a data set: {said}") from error
    return digest.hexdigest(annotations=annotations)


def _row(row: dict[str, object]) -> list[object]:
    facts = Provenance(
        source=str(row["source"]),
        source_sha256=cast("str | None", row["source_sha256"]),
        source_bytes=None,
        sha256=str(row["sha256"]),
        bytes=0,
        width=0,
        height=0,
        key=cast("str | None", row["key"]),
    )
    labels = cast("list[str]", row["labels"] or [])
    return row_of(facts, str(row["split"]), cast("str | None", row["label"]), labels)


@dataclass(slots=True)
class Comparison:
    """What a manifest would export, compared with a digest.

    `match` says which splits, and whether their originals, have it; None: no choice of them has.
    `digest` is that of all edits. `changed` pictures are not as they were recorded.
    """

    digest: str = ""
    match: tuple[Group, ...] | None = None
    pictures: int = 0
    changed: list[str] = field(default_factory=list)


def compare(present: Present, maker: Maker, cache: GeometryCache, digest: str) -> Comparison:
    """Work out the digests of what is there (`present` with all originals)."""
    found, sums = Comparison(), DatasetDigest()
    for item in present.items(LeftOut()):
        if item.edit is None:
            sums.add(original_provenance(item.source), item.known)
            continue
        if not maker.is_as_recorded(item.edit):
            found.changed.append(item.edit.file.path)
        pair = (item.source.picture.identity, item.edit.file.sha256)
        if not maker.is_misplaced(item, cache.get(pair)):
            sums.add(provenance_of(item.source, item.edit), item.known)
            found.pictures += 1
    tried = islice(sums.choices(), _CHOICES_TRIED)
    found.match = next((groups for groups in tried if sums.hexdigest(groups) == digest), None)
    found.digest = sums.hexdigest(group for group in sums.groups if not group[1])
    return found
