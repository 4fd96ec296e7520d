"""What the formats share: files of the new folder that stay open from picture to picture."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from retouch.export.folder import NewFolder, Summed
from retouch.export.pictures import Shape


class Streaming:
    """A format's writer: its folder, the data set's shape, and its open files."""

    def __init__(self, folder: NewFolder, shape: Shape) -> None:
        self.folder = folder
        self.shape = shape
        self.open_files = ExitStack()
        self._by_path: dict[str, Summed] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open_files.__exit__(kind, error, trace)

    def stream(self, path: str) -> Summed:
        """The file at `path`, opened when it is first asked for and closed with the writer."""
        known = self._by_path.get(path)
        if known is None:
            known = self._by_path[path] = self.open_files.enter_context(self.folder.opened(path))
        return known

    def finish(self) -> None:
        """Nothing is left to be written."""
