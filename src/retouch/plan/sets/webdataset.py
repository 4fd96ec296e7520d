"""WebDataset: tars whose files share a name up to the first dot (key.jpg, key.json, key.cls, ...).

Pictures are read where they lie in the tar. `.cls` is a class's number (or its name; a
`classes.txt` beside the tars names the numbers), `.json` holds columns, `.txt` a caption.
Source: github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson
from msgspec import structs

from retouch.plan.annotations import Annotations
from retouch.plan.candidates import Named
from retouch.plan.globs import Trouble, glob_of
from retouch.plan.sets.imagefolder import annotations_of
from retouch.plan.sets.reading import PICTURES, Reading, split_of_file
from retouch.plan.tables import row_of
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line

MEMBER_CAP_BYTES = 16 * 1024 * 1024  # of what is beside a picture
_BESIDE = (".json", ".cls", ".txt")


@dataclass(slots=True)
class _Sample:
    """The files of one key: pictures with their spans, and what is beside them."""

    key: str
    pictures: list[tuple[str, int, int]] = field(default_factory=list)
    beside: dict[str, bytes] = field(default_factory=dict)


def read(text: str, reading: Reading) -> Iterator[Named]:
    """The pictures of every tar that the pattern names, in the tars' order."""
    glob = glob_of(text, reading.folder)
    root = reading.begin(glob.base)
    for path in glob.paths():
        if isinstance(path, Trouble):
            reading.wrong(Path(path.path), path.reason, path.remedy)
        else:
            yield from _of_tar(Path(path), root, reading)


def _of_tar(path: Path, root: Path, reading: Reading) -> Iterator[Named]:
    classes = _classes(path.parent)
    below = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    shard = below.with_suffix("").as_posix()
    split = split_of_file(path.stem)
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for sample in _samples(tar, file):
                for name, offset, size in sample.pictures:
                    named = _named(_of_picture(sample, name), path, reading, classes)
                    yield structs.replace(
                        named,
                        span=(offset, size),
                        name=f"{shard}/{name}",
                        split=named.split or split,
                    )
    except tarfile.ReadError as error:
        what = f"is no tar that can be read in place: {one_clean_line(str(error), 80)}"
        reading.wrong(path, what, "unpack it if it is compressed (gunzip), or write it anew")
    except (OSError, tarfile.TarError) as error:
        what = f"cannot be read: {one_clean_line(str(error), 80)}"
        reading.wrong(path, what, "check its permissions, or write it anew")


def _samples(tar: tarfile.TarFile, file: BinaryIO) -> Iterator[_Sample]:
    """Files that lie side by side under one key."""
    sample: _Sample | None = None
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # a million would stay in memory
        if not member.isreg() or member.issparse():
            continue
        folder, slash, name = member.name.removeprefix("./").rpartition("/")
        stem, dot, suffix = name.partition(".")
        if not stem:
            continue
        key = f"{folder}{slash}{stem}"
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key)
        extension = f"{dot}{suffix}".lower()
        if f".{extension.rpartition('.')[2]}" in PICTURES:
            sample.pictures.append((f"{key}{dot}{suffix}", member.offset_data, member.size))
        elif extension.endswith(_BESIDE) and member.size <= MEMBER_CAP_BYTES:
            at = file.tell()
            file.seek(member.offset_data)
            sample.beside[extension] = file.read(member.size)
            file.seek(at)
    if sample is not None:
        yield sample


def _of_picture(sample: _Sample, name: str) -> _Sample:
    """The sample as one of its pictures has it. A dot in a picture's own name (`22.05.png`) begins
    what readers take for an extension, so that pictures share a key: what has the picture's own
    name but for the last part (`22.05.json`) is that picture's, the rest is all pictures'."""
    own = name.removeprefix(sample.key).lower().rpartition(".")[0]
    beside = {
        kind: sample.beside[whole]
        for kind in _BESIDE
        if (whole := f"{own}{kind}") in sample.beside or (whole := kind) in sample.beside
    }
    return _Sample(sample.key, sample.pictures, beside)


def _named(sample: _Sample, path: Path, reading: Reading, classes: list[str]) -> Named:
    """The sample with its columns: those of its JSON, its class, its caption."""
    found: dict[str, object] = {}
    if ".json" in sample.beside:
        try:
            parsed = orjson.loads(sample.beside[".json"])
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict):
            found.update(parsed)
        else:
            reading.wrong(path, f"{sample.key}.json holds no JSON object", "write one")
    if ".txt" in sample.beside and "caption" not in found:
        found["caption"] = sample.beside[".txt"].decode("utf-8", "replace").strip()
    label = found.get("label")
    if ".cls" in sample.beside:
        written = sample.beside[".cls"].decode("utf-8", "replace").strip()
        is_number = written.isdecimal() and int(written) < len(classes)
        if not isinstance(label, str):
            label = classes[int(written)] if is_number else written
    found["label"] = "" if label is None else str(label)
    row = row_of(0, found)
    known: Annotations = annotations_of(row, ("file_name",))
    split = str(found.get("split") or "")
    return Named(str(path), "", 0, row.header, row.values, known, split)


def _classes(folder: Path) -> list[str]:
    """The names of the numbers in `.cls`, a line each, where there are any."""
    try:
        text = read_regular(folder / "classes.txt", cap=MEMBER_CAP_BYTES).decode("utf-8-sig")
    except (UnreadableFile, UnicodeDecodeError):
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]
