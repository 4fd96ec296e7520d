"""Hugging Face's imagefolder: `<split>/<label>/<name>` and a metadata.jsonl a split.

torchvision's ImageFolder reads a split's folders too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import orjson

from retouch.export.folder import NewFolder
from retouch.export.pictures import Exported, File, Json, Shape, cells, without_nulls
from retouch.export.streams import Streaming
from retouch.manifest.names import same_path
from retouch.plan.paths import fit_part

SEGMENTATIONS = "segmentations"
INPUTS = "inputs"  # beside the labels, for `datasets` takes no path that leaves the split's folder


class ImageFolder(Streaming):
    """A picture a file, its metadata a line of its split's."""

    def __init__(self, folder: NewFolder, shape: Shape) -> None:
        super().__init__(folder, shape)
        self._folders = _folders(shape.classes)
        self._inputs: set[str] = set()

    def add(self, picture: Exported) -> str:
        """Write one picture and its line."""
        label = self._folders.get(picture.annotations.label or "", "")
        name = f"{label}/{picture.file.name}" if label else picture.file.name
        path = f"{picture.split}/{name}"
        self.folder.add(path, picture.file.data)
        row: dict[str, Json] = {"file_name": name}
        if picture.before is not None:
            row["input_image_file_name"] = self._input(picture.split, picture.before)
        if picture.segmentation is not None:
            row["segmentation_file_name"] = f"{SEGMENTATIONS}/{picture.segmentation.name}"
            pixels = f"{picture.split}/{SEGMENTATIONS}/{picture.segmentation.name}"
            self.folder.add(pixels, picture.segmentation.data)
        row |= without_nulls(cells(picture, self.shape), picture, self.shape)
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        self.stream(f"{picture.split}/metadata.jsonl").write(line)
        return path

    def _input(self, split: str, before: File) -> str:
        """A source beside its edits; many edits share one."""
        name = f"{INPUTS}/{before.name}"
        if f"{split}/{name}" not in self._inputs:
            self._inputs.add(f"{split}/{name}")
            self.folder.add(f"{split}/{name}", before.data)
        return name


def _folders(classes: Iterable[str]) -> dict[str, str]:
    """A folder for each class, each different on every file system, and none that of sources."""
    taken = {same_path(INPUTS), same_path(SEGMENTATIONS)}
    found: dict[str, str] = {}
    for label in classes:
        name = fit_part(label)
        if same_path(name) in taken:
            name = f"{name}~{hashlib.sha256(label.encode()).hexdigest()[:6]}"
        taken.add(same_path(name))
        found[label] = name
    return found
