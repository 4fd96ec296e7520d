"""WebDataset: tar shards a split; of each sample the picture, `.json`, `.cls` for its class and
`.seg.png` for its segmentation.

Members are plain files without owner or time. A sample's key is the first part of its names, up to
the first dot: names of pictures hold no other.
"""

from __future__ import annotations

import io
import tarfile

import orjson

from retouch.export.folder import NewFolder, Summed
from retouch.export.pictures import Exported, File, Shape, cells, without_nulls
from retouch.export.streams import Streaming

SHARD_BYTES = 1 << 30


class _Shard:
    """One tar of one split."""

    def __init__(self, path: str, file: Summed) -> None:
        self.path = path
        self.file = file
        self.tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o644
        self.tar.addfile(member, io.BytesIO(data))
        self.tar.getmembers().clear()  # tarfile keeps every member it wrote in memory


class WebDataset(Streaming):
    """Shards of at most about a gibibyte, numbered from 0."""

    def __init__(self, folder: NewFolder, shape: Shape) -> None:
        super().__init__(folder, shape)
        self._shards: dict[str, _Shard] = {}
        self._counts: dict[str, int] = {}

    def add(self, picture: Exported) -> str:
        """Write one sample."""
        shard = self._shard(picture.split)
        key = picture.file.stem
        named = without_nulls(cells(picture, self.shape), picture, self.shape)
        about = orjson.dumps(named, option=orjson.OPT_INDENT_2)
        shard.add(f"{key}{_extension(picture.file)}", picture.file.data)
        if picture.before is not None:
            shard.add(f"{key}.input{_extension(picture.before)}", picture.before.data)
        if picture.segmentation is not None:
            shard.add(f"{key}.seg.png", picture.segmentation.data)
        shard.add(f"{key}.json", about)
        label = picture.annotations.label
        if label is not None:
            shard.add(f"{key}.cls", str(self.shape.number(label)).encode())
        return f"{shard.path}/{picture.file.name}"

    def finish(self) -> None:
        """Close the tars and name the classes."""
        for shard in self._shards.values():
            shard.tar.close()
        if self.shape.classes:
            self.folder.add(
                "classes.txt", "".join(f"{each}\n" for each in self.shape.classes).encode()
            )

    def _shard(self, split: str) -> _Shard:
        shard = self._shards.get(split)
        if shard is not None and shard.file.tell() < SHARD_BYTES:
            return shard
        if shard is not None:
            shard.tar.close()
        number = self._counts.get(split, 0)
        self._counts[split] = number + 1
        path = f"{split}-{number:06}.tar"
        shard = self._shards[split] = _Shard(path, self.stream(path))
        return shard


def _extension(file: File) -> str:
    """Lower case, as readers' decoders are named."""
    return file.suffix.lower()
