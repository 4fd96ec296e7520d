"""What every reader of a labelled set is given, and the words they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from retouch.errors import Problem
from retouch.plan.annotations import Annotations, Cell, Instance
from retouch.storage.reading import UnreadableFile, read_regular

SET_CAP_BYTES = 1024**3
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif",
            ".avif")  # fmt: skip
HEADER = ("label", "labels")

_SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
    "eval": "test", "evaluation": "test",
}  # fmt: skip
_WORD = re.compile(r"[a-z]+")


@dataclass(slots=True)
class Reading:
    """A set being read. `root` is the user's, else what the reader says it is; `told` takes what
    is wrong with the set, `warn` what is odd: what, what to do, an example."""

    folder: Path
    given_root: Path | None
    shown: Callable[[str], str]
    told: Callable[[Problem], None]
    warn: Callable[[str, str, str], None]
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.given_root or self.folder

    def begin(self, root: Path) -> Path:
        """The folder that names are relative to: the user's, else `root`."""
        self.root = self.given_root or root
        return self.root

    def bytes_of(self, path: Path) -> bytes | None:
        """A file of the set; None where it cannot be read, which is told."""
        try:
            return read_regular(path, cap=SET_CAP_BYTES)
        except UnreadableFile as error:
            self.wrong(path, error.reason, error.remedy)
            return None

    def wrong(self, path: Path, what: str, remedy: str, line: int = 0) -> None:
        """Something is wrong with a file of the set."""
        self.told(Problem(self.shown(str(path)), line, 1 if line else 0, what, remedy))


def split_of_folder(name: str) -> str:
    """The split that a folder's name says; "" for any other folder."""
    return _SPLITS.get(name.lower(), "")


def split_of_path(path: str) -> str:
    """The split that the first such folder of a path says."""
    return next(filter(None, map(split_of_folder, path.split("/")[:-1])), "")


def split_of_file(stem: str) -> str:
    """The split that a word of a file's name says, as in `instances_val2017`."""
    return next(filter(None, map(split_of_folder, _WORD.findall(stem.lower()))), "")


def by_turns(numbers: Iterable[float], count: int) -> Iterator[tuple[float, ...]]:
    """So many of them at a time; what is left over is dropped."""
    return zip(*[iter(numbers)] * count, strict=False)


def of_instances(instances: Iterable[Instance], columns: tuple[Cell, ...] = ()) -> Annotations:
    """Annotations of objects: the label is their one class where they share it."""
    instances = tuple(instances)
    labels = tuple(sorted({each.label for each in instances}))
    label = labels[0] if len(labels) == 1 else None
    return Annotations(label, labels, instances, columns)


def values_of(annotations: Annotations) -> tuple[str, str]:
    """The columns of `HEADER`: the one class or nothing, and all classes joined by +."""
    return annotations.label or "", "+".join(annotations.labels)
