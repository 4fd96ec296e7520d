"""YOLO as Ultralytics has it: a data.yaml, `images/` and beside it `labels/` with a text a picture.

A row is a class and shares of the picture's width and height: a box's centre and size, an outline's
points, or a box with keypoints where `kpt_shape` says so. Shares become pixels once the picture's
size is known. Source: docs.ultralytics.com/datasets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from retouch.plan.annotations import Box, Instance, Keypoint, Polygon
from retouch.plan.candidates import Named
from retouch.plan.globs import located
from retouch.plan.sets.reading import (
    HEADER,
    PICTURES,
    Reading,
    by_turns,
    of_instances,
    split_of_folder,
    values_of,
)
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line

YAML_CAP_BYTES = 1024 * 1024
LABELS_CAP_BYTES = 64 * 1024 * 1024
_ROUNDED = 1.01  # shares that rounding carried past the edge
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Set:
    """What the data.yaml says. `points` is how many keypoints a row has, of so many `numbers`."""

    root: Path
    classes: Mapping[int, str]
    points: int
    numbers: int


class _Odd(ValueError):
    """Why a row is not what YOLO has there."""


def read(text: str, reading: Reading) -> Iterator[Named]:
    """The pictures of each split, in order of their names, with their labels in shares."""
    path = located(text, reading.folder)
    given = _document(path, reading)
    if given is None:
        return
    base = _base(given, path, reading)
    if base is None:
        what = f"`path` names {one_clean_line(str(given.get('path')), 80)}, which is no folder"
        reading.wrong(path, what, "write where the pictures are, from this file on")
        return
    classes = _classes(given.get("names"))
    if classes is None:
        reading.wrong(path, "has no `names`", "list the classes' names")
        return
    shape = given.get("kpt_shape")
    points, numbers = (
        (shape[0], shape[1]) if isinstance(shape, list) and len(shape) == 2 else (0, 0)
    )
    whole = _Set(base, classes, int(points), int(numbers))
    reading.begin(base)
    for word in _SPLITS:
        places = given.get(word)
        for place in places if isinstance(places, list) else [places]:
            if isinstance(place, str) and place.strip():
                yield from _of_split(place, split_of_folder(word), whole, path, reading)


def _base(given: Mapping[str, object], path: Path, reading: Reading) -> Path | None:
    """The folder that the splits are relative to. A `path` that was written on another machine is
    passed over where the splits lie beside the file."""
    base = located(str(given.get("path") or "."), path.parent)
    if base.is_dir():
        return base
    places = [place for word in _SPLITS if isinstance(place := given.get(word), str)]
    if places and all(_located(place, path.parent).exists() for place in places):
        what = "`path` names no folder here, and the splits lie beside the file"
        reading.warn(what, "write `path: .`", reading.shown(str(path)))
        return path.parent
    return None


def _located(place: str, root: Path) -> Path:
    """Where a split lies. Some exports write `../train/images` for what lies beside the file, and
    Ultralytics takes it so where the place is not there."""
    where = located(place, root)
    if not where.exists() and place.startswith("../"):
        beside = located(place.removeprefix("../"), root)
        return beside if beside.exists() else where
    return where


def _document(path: Path, reading: Reading) -> dict[str, object] | None:
    try:
        data = read_regular(path, cap=YAML_CAP_BYTES)
        given = yaml.safe_load(data)
    except UnreadableFile as error:
        reading.wrong(path, error.reason, error.remedy)
        return None
    except yaml.YAMLError as error:
        what = f"is not YAML: {one_clean_line(str(error), 120)}"
        reading.wrong(path, what, "mend it")
        return None
    if not isinstance(given, dict):
        reading.wrong(path, "is no data.yaml", "write its keys path, train, val and names")
        return None
    return given


def _classes(names: object) -> Mapping[int, str] | None:
    if isinstance(names, list):
        return {at: str(name) for at, name in enumerate(names)}
    if isinstance(names, dict):
        try:
            return {int(at): str(name) for at, name in names.items()}
        except (TypeError, ValueError):
            return None
    return None


def _of_split(place: str, split: str, whole: _Set, file: Path, reading: Reading) -> Iterator[Named]:
    where = _located(place, whole.root)
    if where.is_dir():
        pictures = list(_below(where))
    elif where.suffix == ".txt" and where.is_file():
        lines = (reading.bytes_of(where) or b"").decode("utf-8-sig", "replace").splitlines()
        # A list's own paths begin with ./ for beside itself (Ultralytics).
        pictures = [
            str(located(line.strip(), where.parent if line.startswith("./") else whole.root))
            for line in lines
            if line.strip()
        ]
    else:
        what = f"names {one_clean_line(place, 80)}, which is neither a folder nor a list"
        reading.wrong(file, what, "name the split's folder of pictures, from `path` on")
        return
    labelled = 0
    for picture in pictures:
        # A row that is there twice is one object, as Ultralytics takes it.
        found = tuple(dict.fromkeys(_labels(picture, whole, reading)))
        known = of_instances(found)
        labelled += bool(found)
        yield Named(picture, "", 0, HEADER, values_of(known), known, split, in_shares=True)

    if pictures and not labelled:
        what = f"no picture of the split `{split}` has labels"
        looked = reading.shown(labels_beside(pictures[0]))
        reading.warn(what, "see where they are looked for", looked)


def _below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (f"{place}/{name}" for name in sorted(names) if name.lower().endswith(PICTURES))


def labels_beside(picture: str) -> str:
    """Where a picture's labels are: an `images` of its path is `labels` there. It is the last one,
    as trainers have it; where nothing lies there, another one under which something does."""
    parts = picture.split("/images/")
    places = [
        "/labels/".join(("/images/".join(parts[:at]), "/images/".join(parts[at:])))
        for at in range(len(parts) - 1, 0, -1)
    ] or [picture]
    names = [f"{os.path.splitext(place)[0]}.txt" for place in places]  # noqa: PTH122 - texts
    if len(names) == 1:
        return names[0]
    return next(filter(os.path.lexists, names), names[0])


def _labels(picture: str, whole: _Set, reading: Reading) -> Iterator[Instance]:
    path = labels_beside(picture)
    try:
        data = read_regular(Path(path), cap=LABELS_CAP_BYTES)
    except UnreadableFile:
        if os.path.lexists(path):
            reading.wrong(Path(path), "cannot be read", "check its permissions")
        return  # a picture without labels shows none of the classes
    for line, row in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        if row.strip():
            try:
                yield _instance(row.split(), whole)
            except _Odd as error:
                reading.wrong(Path(path), str(error), "mend the row, or remove it", line)


def _instance(words: list[str], whole: _Set) -> Instance:
    """One row, in shares of the picture."""
    try:
        number, shares = int(float(words[0])), [float(word) for word in words[1:]]
    except (ValueError, OverflowError):
        raise _Odd("holds what is no number") from None
    if number not in whole.classes:
        raise _Odd(f"has class {number}; data.yaml names {len(whole.classes)}")
    posed = 4 + whole.points * whole.numbers
    label = whole.classes[number]
    if whole.points and len(shares) == posed:
        points = tuple(map(_keypoint, by_turns(shares[4:], whole.numbers)))
        return Instance(label, _box(shares[:4]), keypoints=points)
    if len(shares) == 4:
        return Instance(label, _box(shares))
    if len(shares) >= 6 and len(shares) % 2 == 0:
        outline = Polygon(tuple((_share(x), _share(y)) for x, y in by_turns(shares, 2)))
        return Instance(label, outline.box, (outline,))
    raise _Odd(f"has {len(words)} numbers: neither a box (5) nor an outline (7, 9, ...)")


def _box(shares: list[float]) -> Box:
    x, y, width, height = map(_share, shares)
    return Box(x - width / 2, y - height / 2, width, height)


def _keypoint(numbers: tuple[float, ...]) -> Keypoint:
    seen = int(numbers[2]) if len(numbers) > 2 else 2
    x, y = _share(numbers[0]), _share(numbers[1])
    return Keypoint(x, y, seen if len(numbers) > 2 or x or y else 0)


def _share(value: float) -> float:
    if not 0 <= value <= _ROUNDED:
        raise _Odd(f"has {value:g}, which is no share from 0 to 1 (are these pixels?)")
    return min(value, 1.0)
