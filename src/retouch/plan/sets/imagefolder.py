"""Hugging Face's imagefolder: folders of splits and labels, and metadata beside the pictures.

`metadata.jsonl`, `metadata.csv` or `metadata.parquet` hold for the pictures beside and below them;
`file_name` (or the first column that ends in `_file_name`) is relative to the metadata's folder.
Source: huggingface.co/docs/datasets, "Create an image dataset".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import orjson

from retouch.errors import Problem
from retouch.plan.annotations import Annotations, Cell
from retouch.plan.candidates import Named
from retouch.plan.globs import located, with_slashes
from retouch.plan.sets.reading import PICTURES, Reading, split_of_folder, split_of_path
from retouch.plan.tables import TableRow, read_table

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def read(text: str, reading: Reading) -> Iterator[Named]:
    """The set's pictures: those that metadata name, else all, in order of their names."""
    folder = located(text, reading.folder)
    root = reading.begin(folder)
    if not folder.is_dir():
        reading.wrong(folder, "is no folder", "name the folder that holds the pictures")
        return
    pictures, tables = _looked_through(folder)
    if not tables:
        for path in _likely_tables(folder):
            what = "a table lies there that is no metadata by its name, and is not read"
            reading.warn(
                what, f"call it {METADATA[0]}, or name it by `table:`", reading.shown(path)
            )
        yield from (_unlisted(path, root) for path in pictures)
        return
    listed: set[str] = set()
    for table in tables:
        for named in _rows(table, root, reading):
            listed.add(named.path)
            listed.update(_further_files(named, root))
            yield named
    unlisted = [path for path in pictures if path not in listed]
    for path in unlisted:
        reading.warn("pictures are in no metadata, and left out", "list them", reading.shown(path))


def _likely_tables(folder: Path) -> list[str]:
    """Tables beside the pictures, of whatever name."""
    kinds = {Path(name).suffix for name in METADATA}
    return [str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in kinds]


def _looked_through(folder: Path) -> tuple[list[str], list[Path]]:
    """Every picture below, and every metadata file."""
    pictures: list[str] = []
    tables: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = next((name for name in METADATA if name in names), None)
        if found:
            tables.append(Path(place, found))
        pictures.extend(
            f"{place}/{name}"
            for name in sorted(names)
            if name.lower().endswith(PICTURES) and not name.startswith(".")
        )
    return pictures, tables


def _unlisted(path: str, root: Path) -> Named:
    """A picture with no metadata: its folder is its label, unless that names a split."""
    below = os.path.relpath(path, root).replace(os.sep, "/")
    folder = path.split("/")[-2]
    is_label = "/" in below and not split_of_folder(folder)
    label = folder if is_label else ""
    annotations = Annotations(label or None, (label,) if label else ())
    return Named(path, "", 0, ("label",), (label,), annotations, split_of_path(below))


def _rows(table: Path, root: Path, reading: Reading) -> Iterator[Named]:
    shown = reading.shown(str(table))
    column: str | None = None
    is_first = True
    for row in read_table(table, shown, None):
        if isinstance(row, Problem):
            reading.told(row)
            continue
        column = _picture_column(row.header) if column not in row.header else column
        if column is None:
            names = ", ".join(islice(row.header, 12))
            what = f"has no column `file_name` (it has: {names})"
            reading.told(Problem(shown, 1, 1, what, "name the pictures' column `file_name`"))
            return
        name = row.values[row.header.index(column)].strip()
        if not name:
            at = row.header.index(column) + 1
            what = f"the cell `{column}` is empty"
            reading.told(Problem(shown, row.line, at, what, "name a file"))
            continue
        path = str(located(with_slashes(name), table.parent))
        if is_first and not os.path.lexists(path) and _is_from_root(name, table.parent, root):
            what = f"names {name}, which lies below {reading.shown(str(root)) or '.'} instead"
            remedy = f"name files from this table's own folder, or move it to {root.name}"
            reading.told(Problem(shown, row.line, row.header.index(column) + 1, what, remedy))
            return
        is_first = False
        yield _listed(path, _below_root(row, table.parent, root), column, shown, root)


def _is_from_root(name: str, folder: Path, root: Path) -> bool:
    return folder != root and os.path.lexists(located(with_slashes(name), root))


def _below_root(row: TableRow, folder: Path, root: Path) -> TableRow:
    """The row with its further files named from the root, which the set's names are relative to;
    in the metadata they are relative to its own folder."""
    if folder == root or not any(name.endswith("_file_name") for name in row.header):
        return row
    values = tuple(
        os.path.relpath(located(with_slashes(value), folder), root)
        if name.endswith("_file_name") and value
        else value
        for name, value in zip(row.header, row.values, strict=True)
    )
    return replace(row, values=values)


def _further_files(named: Named, root: Path) -> Iterator[str]:
    """What else the row names as files: masks, pictures before or after."""
    for name, value in zip(named.header, named.values, strict=True):
        if name.endswith("_file_name") and value:
            yield str(located(value, root))


def _picture_column(header: tuple[str, ...]) -> str | None:
    if "file_name" in header:
        return "file_name"
    return next((name for name in header if name.endswith("_file_name")), None)


def _listed(path: str, row: TableRow, column: str, file: str, root: Path) -> Named:
    below = os.path.relpath(path, root).replace(os.sep, "/")
    annotations = annotations_of(row, (column,))
    split = row.values[row.header.index("split")] if "split" in row.header else ""
    split = split_of_folder(split) or split or split_of_path(below)
    folder = path.split("/")[-2]
    header, values = row.header, row.values
    if "label" not in header:
        is_label = "/" in below and annotations.label is None and not split_of_folder(folder)
        label = annotations.label or (folder if is_label else "")
        header, values = (*header, "label"), (*values, label)
        if is_label:
            labels = (label, *annotations.labels)
            annotations = Annotations(label, labels, (), annotations.columns)
    return Named(path, file, row.line, header, values, annotations, split)


def annotations_of(row: TableRow, without: tuple[str, ...]) -> Annotations:
    """What a row says of its picture: its column `label`, else `labels`; the rest is carried."""
    cells = row.cells
    if cells is None:
        cells = tuple(
            (name, orjson.dumps(value).decode())
            for name, value in zip(row.header, row.values, strict=True)
        )
    named: Mapping[str, str] = dict(zip(row.header, row.values, strict=True))
    label = named.get("label") or None
    labels = (label,) if label else ()
    carried: tuple[Cell, ...] = tuple(
        cell for cell in cells if cell[0] not in without and cell[0] != "label"
    )
    listed = dict(cells).get("labels")
    if listed is not None and (several := _texts(listed)):
        labels = tuple(sorted({*labels, *several}))
        carried = tuple(cell for cell in carried if cell[0] != "labels")
    return Annotations(label, labels, (), carried)


def _texts(text: str) -> tuple[str, ...]:
    """A JSON list of texts; nothing for any other value."""
    value = orjson.loads(text)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    return ()
