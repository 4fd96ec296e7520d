"""The formats by their names, and what each of them offers."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from retouch.export.coco import Coco
from retouch.export.folder import NewFolder
from retouch.export.imagefolder import ImageFolder
from retouch.export.parquet import Parquet
from retouch.export.pictures import Exported, Shape
from retouch.export.voc import Voc
from retouch.export.webdataset import WebDataset
from retouch.export.yolo import Yolo


class Writer(Protocol):
    """Writes one data set's pictures, one by one, in the order they come in."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def add(self, picture: Exported) -> str:
        """Write one picture; returns where it lies, relative to the data set's folder."""

    def finish(self) -> None:
        """Write what could not be written before the last picture was known."""


FORMATS: dict[str, Callable[[NewFolder, Shape], Writer]] = {
    "imagefolder": ImageFolder,
    "webdataset": WebDataset,
    "coco": Coco,
    "yolo": Yolo,
    "voc": Voc,
    "parquet": Parquet,
}
TAKES_PAIRS = frozenset({"imagefolder", "webdataset", "parquet"})
