"""The data set's digest: what two people compare to know that they hold the same.

Free of times, places, names of files and of what an export makes of the pictures (format, size,
type). A picture is the JSON list [key, source's digest, output's digest, split, label, labels] (key
"" for an original, a source given by URL is `url:` and its name); its SHA-256 is one line. The
annotations' digest is made in the same way of the pictures that have instances, carried cells or a
segmentation, with the annotations (and the segmentation's digest) added to the list. The data set's
digest is the SHA-256 of the sorted lines, each ended by a newline, and of the annotations' digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, combinations

import orjson

from retouch.export.pictures import Provenance
from retouch.plan.known import Known

Group = tuple[str, bool]
"""A split, and whether its originals are meant."""


@dataclass(frozen=True, slots=True)
class Lines:
    """One group's lines: of its pictures, and of the annotations of those that have any."""

    pictures: list[bytes]
    annotations: list[bytes]


class DatasetDigest:
    """Takes in pictures in any order, then says the digest of all, or of some groups of them."""

    def __init__(self) -> None:
        self._groups: dict[Group, Lines] = {}

    def add(self, facts: Provenance, known: Known) -> None:
        """Take in one picture; what is known is the source's own, before anything moved."""
        annotations, pixels = known.annotations, known.segmentation
        lines = self._lines((known.split, facts.is_original))
        row = row_of(facts, known.split, annotations.label, annotations.labels)
        lines.pictures.append(_sha256(row))
        if annotations.instances or annotations.columns or pixels is not None:
            placed = orjson.dumps(asdict(annotations), option=orjson.OPT_SORT_KEYS).decode()
            said = [*row, placed, *([pixels.digest] if pixels is not None else ())]
            lines.annotations.append(_sha256(said))

    def add_row(self, group: Group, row: list[object]) -> None:
        """Take in a picture of which only its provenance is at hand."""
        self._lines(group).pictures.append(_sha256(row))

    def _lines(self, group: Group) -> Lines:
        return self._groups.setdefault(group, Lines([], []))

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(sorted(self._groups))

    def annotations(self, groups: Iterable[Group] | None = None) -> str:
        """The annotations' digest; "" where there are none."""
        lines = [each for lines in self._chosen(groups) for each in lines.annotations]
        return _joined(lines).hexdigest() if lines else ""

    def hexdigest(
        self, groups: Iterable[Group] | None = None, annotations: str | None = None
    ) -> str:
        """64 hex digits, of these groups' pictures (default: of all)."""
        groups = None if groups is None else tuple(groups)
        whole = _joined(each for lines in self._chosen(groups) for each in lines.pictures)
        whole.update((self.annotations(groups) if annotations is None else annotations).encode())
        return whole.hexdigest()

    def _chosen(self, groups: Iterable[Group] | None) -> Iterator[Lines]:
        return (self._groups[group] for group in (self._groups if groups is None else groups))

    def choices(self) -> Iterator[tuple[Group, ...]]:
        """Every choice of groups, whole data sets first: which of them an export took is not said
        by a digest."""
        every = self.groups
        sizes = range(len(every), 0, -1)
        return chain.from_iterable(combinations(every, size) for size in sizes)


def row_of(facts: Provenance, split: str, label: str | None, labels: Iterable[str]) -> list[object]:
    """What a picture's line is made of."""
    source = facts.source_sha256 or f"url:{facts.source}"
    return [facts.key or "", source, facts.sha256, split, label or "", list(labels)]


def _sha256(row: list[object]) -> bytes:
    return hashlib.sha256(orjson.dumps(row)).hexdigest().encode()


def _joined(lines: Iterable[bytes]) -> hashlib._Hash:
    whole = hashlib.sha256()
    for line in sorted(lines):
        whole.update(line + b"\n")
    return whole
