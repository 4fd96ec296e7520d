"""Parquet as Hugging Face has it: `data/<split>-00000-of-00001.parquet`, pictures' bytes inside.

Rows are written in groups of a bounded number of bytes, so that memory stays flat and readers can
stream. Which rows share a group depends on the pictures alone: twice the same bytes.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from retouch.export.arrow import fitted, picture_schema
from retouch.export.folder import NewFolder
from retouch.export.pictures import Exported, File, Json, Shape, cells
from retouch.export.streams import Streaming

GROUP_BYTES = 16 << 20
GROUP_ROWS = 1000

Cell = Json | dict[str, "str | bytes"]


class _Split:
    """One file, and the rows that wait for their group to be full."""

    def __init__(self, path: str, writer: pq.ParquetWriter) -> None:
        self.path = path
        self.writer = writer
        self.rows: list[dict[str, Cell]] = []
        self.bytes = 0


class Parquet(Streaming):
    """A row a picture."""

    def __init__(self, folder: NewFolder, shape: Shape) -> None:
        super().__init__(folder, shape)
        self._schema = picture_schema(shape)
        self._splits: dict[str, _Split] = {}

    def add(self, picture: Exported) -> str:
        """Write one row, once its group is full."""
        split = self._split(picture.split)
        split.rows.append(self._row(picture))
        files = (picture.file, picture.before, picture.segmentation)
        split.bytes += sum(len(each.data) for each in files if each is not None)
        if split.bytes >= GROUP_BYTES or len(split.rows) >= GROUP_ROWS:
            self._flush(split)
        return f"{split.path}/{picture.file.name}"

    def _row(self, picture: Exported) -> dict[str, Cell]:
        named = cells(picture, self.shape)
        if isinstance(label := named.get("label"), str):
            named["label"] = self.shape.number(label)
        if self.shape.has_several_labels:
            named["labels"] = [self.shape.number(each) for each in picture.annotations.labels]
        objects = named.get("objects")
        if self.shape.has_instances and isinstance(objects, dict) and not self._carries_objects:
            categories = [self.shape.number(each.label) for each in picture.annotations.instances]
            named["objects"] = objects | {"category": list[Json](categories)}
        row: dict[str, Cell] = {"image": _image(picture.file)}
        if picture.before is not None:
            row["input_image"] = _image(picture.before)
        if picture.segmentation is not None:
            row["segmentation"] = _image(picture.segmentation)
        return row | {
            name: fitted(value, self._schema.field(name).type) for name, value in named.items()
        }

    @property
    def _carries_objects(self) -> bool:
        return any(name == "objects" for name, _ in self.shape.columns)

    def finish(self) -> None:
        """Write the last groups and the files' ends."""
        for split in self._splits.values():
            self._flush(split)
            split.writer.close()

    def _flush(self, split: _Split) -> None:
        if split.rows:
            split.writer.write_table(pa.Table.from_pylist(split.rows, schema=self._schema))
            split.rows, split.bytes = [], 0

    def _split(self, name: str) -> _Split:
        known = self._splits.get(name)
        if known is None:
            path = f"data/{name}-00000-of-00001.parquet"
            writer = pq.ParquetWriter(
                self.stream(path), self._schema, compression="snappy", use_dictionary=False
            )
            known = self._splits[name] = _Split(path, writer)
        return known


def _image(file: File) -> dict[str, str | bytes]:
    return {"bytes": file.data, "path": file.name}
