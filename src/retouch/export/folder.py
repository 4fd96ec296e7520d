"""The new folder: everything is written beside its final name, summed up, and renamed when whole.

What stops on the way (a full disk, Ctrl-C, a killed process) leaves the name untouched. Names are
those of the formats, never a path from outside. Nothing carries a time or an owner, so that the
same data set has the same bytes twice.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.errors import InputRefused, StorageFailed
from retouch.storage.durable import sync_folder

if TYPE_CHECKING:
    from typing_extensions import Buffer

SUMS = "SHA256SUMS"
ABOUT = "dataset.json"


class Summed(BufferedIOBase):
    """A file being written, from its beginning to its end, with its SHA-256."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._sum = hashlib.sha256()
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._sum.update(view)
        self._at += len(view)
        return len(view)

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()


class NewFolder:
    """A folder in the making, by relative paths with `/`. Everything raises OSError."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._sums: list[tuple[str, str]] = []
        self._made: set[str] = set()

    def add(self, path: str, data: bytes) -> None:
        """Store one file."""
        with self.opened(path) as file:
            file.write(data)

    @contextmanager
    def opened(self, path: str) -> Iterator[Summed]:
        """A file to be written piece by piece."""
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            (self._place / folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        with Summed(self._place / path) as file:
            yield file
        self._sums.append((path, file.sha256))

    def scratch(self) -> Path:
        """A place for what is no part of the data set; gone when it is whole."""
        place = self._place.with_name(f"{self._place.name}.scratch")
        place.mkdir(exist_ok=True)
        return place

    def finish(self) -> None:
        """Write what `sha256sum -c` reads: every file but itself, sorted."""
        lines = (f"{digest}  {path}\n" for path, digest in sorted(self._sums))
        (self._place / SUMS).write_text("".join(lines), encoding="utf-8", newline="")


def refuse_taken(target: Path, *, replace: bool) -> None:
    """Raises InputRefused where something lies that must not be lost."""
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise InputRefused(f"{target}: not a folder; name another one with --to")
    if not any(target.iterdir()):
        return
    if not replace:
        raise InputRefused(
            f"{target}: the folder is not empty", hint="--replace swaps it whole for the new one"
        )
    if not (target / ABOUT).is_file():
        raise InputRefused(
            f"{target}: --replace swaps an exported data set, and this is none ({ABOUT} is not in "
            "it)",
            hint="remove it yourself, or name another folder",
        )


@contextmanager
def new_folder(target: Path, *, replace: bool) -> Iterator[NewFolder]:
    """A folder that takes `target`'s name, and its place, when the block ends well.

    Raises InputRefused where `target` is taken, StorageFailed where the disk says no.
    """
    target = target.absolute()
    refuse_taken(target, replace=replace)
    place = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    folder = NewFolder(place)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir()
        yield folder
        folder.finish()
        os.sync()  # one for all files: 100,000 of their own take minutes
        _swap(place, target)
        sync_folder(target.parent)
    except OSError as error:
        name = error.filename or target
        raise StorageFailed(
            f"{name}: {error.strerror or error}", hint="nothing was exported; make room and repeat"
        ) from error
    finally:
        for left in (place, place.with_name(f"{place.name}.scratch")):
            shutil.rmtree(left, ignore_errors=True)


def _swap(place: Path, target: Path) -> None:
    """Give the folder its name; what was there goes only once the new one stands."""
    if not target.exists():
        place.rename(target)
        return
    if not any(target.iterdir()):
        place.rename(target)  # over an empty folder
        return
    old = place.with_name(f"{place.name}.old")
    target.rename(old)
    try:
        place.rename(target)
    except OSError:
        with suppress(OSError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
