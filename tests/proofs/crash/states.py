"""What a power cut may leave of recorded changes.

What was synced is there. Of a file's later changes, any sector may be missing, and its size may
be any between; of a folder's later entries, any may be missing, each whole or not at all. Nothing
orders one file or folder after another but a sync.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.proofs.crash.recorder import ROOT, Change, Entered, Resized, Synced, Written

SECTOR_BYTES = 512


@dataclass(slots=True)
class Disk:
    """Files by node, folders' entries by node: durable, and what came since."""

    bytes_of: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    entries_of: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    pending: dict[int, list[Written | Resized]] = field(default_factory=lambda: defaultdict(list))
    entering: dict[int, list[Entered]] = field(default_factory=lambda: defaultdict(list))

    def apply(self, change: Change) -> None:
        """Take in one change."""
        match change:
            case Written() | Resized():
                self.pending[change.node].append(change)
            case Entered():
                self.entering[change.folder].append(change)
            case Synced(node=node):
                for each in self.pending.pop(node, ()):
                    _change(self.bytes_of[node], each)
                for entered in self.entering.pop(node, ()):
                    _enter(self.entries_of[node], entered)

    def after_a_crash(self, chance: random.Random) -> dict[str, bytes]:
        """The files by path that one crash leaves."""
        files: dict[str, bytes] = {}
        self._collect(ROOT, "", files, chance, loss=chance.choice((0.1, 0.5, 0.9, 1.0)))
        return files

    def as_cached(self) -> dict[str, bytes]:
        """The files by path as a process sees them that starts after a kill."""
        files: dict[str, bytes] = {}
        self._collect(ROOT, "", files, random.Random(0), loss=0.0)
        return files

    def _collect(
        self, folder: int, path: str, files: dict[str, bytes], chance: random.Random, loss: float
    ) -> None:
        entries = dict(self.entries_of.get(folder, {}))
        for entered in self.entering.get(folder, ()):
            if chance.random() >= loss:
                _enter(entries, entered)
        for name, node in entries.items():
            if node in self.entries_of or node in self.entering or node in self.folders:
                self._collect(node, f"{path}{name}/", files, chance, loss)
            else:
                files[path + name] = self._torn(node, chance, loss)

    @property
    def folders(self) -> set[int]:
        return set(self.entries_of) | set(self.entering)

    def _torn(self, node: int, chance: random.Random, loss: float) -> bytes:
        data = bytearray(self.bytes_of.get(node, b""))
        durable = len(data)
        for change in self.pending.get(node, ()):
            if isinstance(change, Resized):
                if chance.random() >= loss:
                    _change(data, change)
                continue
            for offset, piece in _sectors(change):
                if chance.random() >= loss:
                    _change(data, Written(node, offset, piece))
        if loss and len(data) > durable and chance.random() < 0.5:
            del data[chance.randint(durable, len(data)) :]
        return bytes(data)


def _sectors(change: Written) -> Sequence[tuple[int, bytes]]:
    pieces, at = [], 0
    while at < len(change.data):
        size = SECTOR_BYTES - (change.offset + at) % SECTOR_BYTES
        pieces.append((change.offset + at, change.data[at : at + size]))
        at += size
    return pieces


def _change(data: bytearray, change: Written | Resized) -> None:
    if isinstance(change, Resized):
        del data[change.size :]
        data.extend(bytes(change.size - len(data)))
        return
    end = change.offset + len(change.data)
    data.extend(bytes(max(0, end - len(data))))
    data[change.offset : end] = change.data


def _enter(entries: dict[str, int], entered: Entered) -> None:
    for name, node in entered.names:
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node
