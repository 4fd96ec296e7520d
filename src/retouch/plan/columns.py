"""A source's columns: those of its path, its size, and those of its table's row.

The same few names for 100,000 sources: nothing is stored but what differs. A table's column wins
over a built-in one of the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from retouch.plan.annotations import Annotations
from retouch.text import url_without_signature

AT_ONCE = 4096  # sources of which something is made together
_OF_PATH = ("stem", "name", "suffix", "parent")
BUILT_IN = ("stem", "name", "suffix", "parent", "label", "width", "height")
OF_A_JOB = ("model", "prompt", "index")  # known once a job is made of the source


def _of_path(path: str, column: str) -> str:
    """A built-in column of a path. KeyError for another one."""
    parent, _, name = path.rpartition("/")
    match column:
        case "name":
            return name
        case "parent":
            return parent
        case "label":
            return parent.rpartition("/")[2]
        case "stem":
            return name[: _suffix_at(name)]
        case "suffix":
            return name[_suffix_at(name) :]
    raise KeyError(column)


Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int = AT_ONCE) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last of what is left."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def in_all(
    columns: Sequence[Mapping[str, str]], name: str, otherwise: str | None = None
) -> list[str]:
    """One column of many sources: of a folder's files all at once. `otherwise`: what stands for
    it where a source has none; KeyError for that without."""
    if name in _OF_PATH:
        paths = Columns.paths_alone(columns)
        if len(paths) == len(columns):
            if name == "parent":
                return [path.rpartition("/")[0] for path in paths]
            names = [path[path.rfind("/") + 1 :] for path in paths]
            if name == "name":
                return names
            ends = map(_suffix_at, names)
            if name == "stem":
                return [each[:end] for each, end in zip(names, ends, strict=True)]
            return [each[end:] for each, end in zip(names, ends, strict=True)]
    if otherwise is None:
        return [each[name] for each in columns]
    return [each.get(name, otherwise) for each in columns]


def _suffix_at(name: str) -> int:
    """Where a name's suffix begins: at its last dot, if more than dots stand before it."""
    at = name.rfind(".")
    if at > 0 and (name[0] != "." or name[:at].strip(".")):
        return at
    return len(name)


def path_of_url(url: str) -> str:
    """A path that stands for a URL: host, folders, name; and what a query tells apart."""
    identity = urlsplit(url_without_signature(url))
    path = PurePosixPath(unquote(identity.path).lstrip("/") or "index")
    if identity.query:
        digest = hashlib.sha256(identity.query.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        path = path.with_name(f"{path.stem}~{digest}{path.suffix}")
    return f"{identity.hostname or ''}/{path}"


class Columns(Mapping[str, str]):
    """One source's columns, read-only. `values` go with `header`; both are of its table or set.

    `label` is the folder's name where the path does not tell it. What a labelled set says besides
    is `annotations`; `split` is the source's ("": none), of which `is_augmented` tells whether its
    pictures are edited.
    """

    __slots__ = ("_header", "_label", "_path", "_size", "_values", "annotations", "is_augmented",
                 "split")  # fmt: skip

    def __init__(
        self,
        path: str,
        size: tuple[int, int] | None = None,
        header: tuple[str, ...] = (),
        values: tuple[str, ...] = (),
        *,
        label: str = "",
        annotations: Annotations | None = None,
        split: str = "",
        is_augmented: bool = True,
    ) -> None:
        self._path = path
        self._size = size
        self._header = header
        self._values = values
        self._label = label
        self.annotations = annotations
        self.split = split
        self.is_augmented = is_augmented

    def __getitem__(self, name: str) -> str:
        if self._header and name in self._header:
            return self._values[self._header.index(name)]
        if name in ("width", "height"):
            if self._size is None:
                raise KeyError(name)
            return str(self._size[name == "height"])
        if name == "label" and self._label:
            return self._label
        if name == "split" and self.split:
            return self.split
        return _of_path(self._path, name)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in BUILT_IN if name not in self._header and name in self)
        if self.split and "split" not in self._header:
            yield "split"
        yield from self._header

    def __contains__(self, name: object) -> bool:
        if name in self._header:
            return True
        if name == "split":
            return bool(self.split)
        return name in BUILT_IN and (name not in ("width", "height") or self._size is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Columns({dict(self)!r})"

    @property
    def path(self) -> str:
        """The source's path, which the built-in columns are made of."""
        return self._path

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the table's columns."""
        return self._header

    @classmethod
    def paths_alone(cls, columns: Sequence[Mapping[str, str]]) -> list[str]:
        """The paths of those whose built-in columns these alone tell."""
        return [
            each._path
            for each in columns
            if isinstance(each, cls) and not each._header and not each._label
        ]

    def take(self, size: tuple[int, int]) -> Columns:
        """These columns, which nobody else holds yet, with the picture's size."""
        self._size = size
        return self

    def measured(self, size: tuple[int, int], *, in_shares: bool = False) -> Columns:
        """The same columns, with the picture's width and height known; `in_shares`: annotations
        are shares of these, and become pixels."""
        known = self.annotations
        if in_shares and known is not None:
            known = known.scale(*size)
        return Columns(
            self._path, size, self._header, self._values, label=self._label,
            annotations=known, split=self.split, is_augmented=self.is_augmented,
        )  # fmt: skip

    def in_split(self, split: str, *, is_augmented: bool) -> Columns:
        """The same columns, with the source's split known."""
        return Columns(
            self._path, self._size, self._header, self._values, label=self._label,
            annotations=self.annotations, split=split, is_augmented=is_augmented,
        )  # fmt: skip
