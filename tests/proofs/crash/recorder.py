"""Every change a run makes to its folder, written down; and the faults a test wants on the way.

The recorder stands between the code and the disk: it lets each call through, notes what it
changed (file nodes, folder entries, syncs), and can refuse the n-th change, or die at it. What a
power cut may leave of the changes is `states`' to say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = 0
_REAL = {
    name: getattr(os, name)
    for name in (
        "open", "write", "lseek", "ftruncate", "fsync", "fdatasync", "mkdir", "link", "unlink",
        "rename", "replace", "close",
    )
}  # fmt: skip


class Killed(BaseException):
    """The process is dead: nothing it does from here on reaches the disk."""


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes of a file were changed; the page cache has them."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    """A file was cut."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """All changes so far to this file's bytes, or this folder's entries, are on disk."""

    node: int


@dataclass(frozen=True, slots=True)
class Entered:
    """Names of a folder changed, all at once or not at all; None: the name is gone."""

    folder: int
    names: tuple[tuple[str, int | None], ...]


Change = Written | Resized | Synced | Entered


@dataclass(frozen=True, slots=True)
class Step:
    """One change and what the world outside had come to when it was made."""

    change: Change
    probe: Any


@dataclass(slots=True)
class Recorder:
    """Changes under `folder` in order; `refuse_at` and `die_at` count from 0.

    `died_after`: how many steps there were then.
    `keeps_refusing`: every change after the refused one is refused too, as by a full disk.
    """

    folder: Path
    probe: Callable[[], Any] = lambda: None
    refuse_at: int | None = None
    refusal: int = errno.EIO
    keeps_refusing: bool = False
    die_at: int | None = None
    steps: list[Step] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=lambda: {ROOT: "folder"})
    calls: int = 0
    refused: str = ""
    is_dead: bool = False
    died_after: int | None = None
    _nodes: dict[int, int] = field(default_factory=dict)
    _opened: dict[int, tuple[int, bool]] = field(default_factory=dict)

    @contextmanager
    def recording(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Stand between the code and the disk while the block runs."""
        self._nodes[self.folder.stat().st_ino] = ROOT
        with patch.context() as within:
            for name in _REAL:
                within.setattr(os, name, getattr(self, f"_{name}"))
            yield

    def _limiter(self, what: str) -> None:
        """Let one change pass, refuse it, or die."""
        if self.is_dead:
            raise Killed
        number, self.calls = self.calls, self.calls + 1
        if number == self.die_at:
            self.is_dead, self.died_after = True, len(self.steps)
            raise Killed
        if self.refuse_at is not None and (
            number == self.refuse_at or (self.keeps_refusing and number > self.refuse_at)
        ):
            self.refused = self.refused or what
            raise OSError(self.refusal, os.strerror(self.refusal))

    def _note(self, change: Change) -> None:
        self.steps.append(Step(change, self.probe()))

    def _node_of(self, descriptor: int) -> int | None:
        return self._nodes.get(os.fstat(descriptor).st_ino)

    def _place(self, path: Any, dir_fd: int | None) -> tuple[int, str] | None:
        """The node of the folder that `path` lies in, and its name; None for other places."""
        if dir_fd is not None:
            parent = self._node_of(dir_fd)
        else:
            try:
                parent = self._nodes.get(Path(path).parent.stat().st_ino)
            except OSError:
                return None
        return None if parent is None else (parent, Path(path).name)

    def _born(self, inode: int, kind: str) -> int:
        node = len(self.kinds)
        self.kinds[node] = kind
        self._nodes[inode] = node
        return node

    def _open_(self, path: Any, flags: int, mode: int, dir_fd: int | None) -> int:
        descriptor: int = _REAL["open"](path, flags, mode, dir_fd=dir_fd)
        return descriptor

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """`os.open`, noting what it makes; reading makes nothing and is never refused."""
        if not flags & os.O_CREAT:
            if self.is_dead:
                raise Killed
            return self._fdopened(self._open_(path, flags, mode, dir_fd), flags)
        place = self._place(path, dir_fd)
        if place is None:
            return self._open_(path, flags, mode, dir_fd)
        self._limiter(f"open {place[1]}")
        try:
            known = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            known = None
        descriptor = self._open_(path, flags, mode, dir_fd)
        if known is None:
            made = os.fstat(descriptor)
            assert stat.S_ISREG(made.st_mode)
            node = self._born(made.st_ino, "file")
            self._note(Entered(place[0], ((place[1], node),)))
        return self._fdopened(descriptor, flags)

    def _fdopened(self, descriptor: int, flags: int) -> int:
        node = self._node_of(descriptor)
        if node is not None:
            self._opened[descriptor] = (node, bool(flags & os.O_APPEND))
        return descriptor

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd)
        if place is None:
            return _REAL["mkdir"](path, mode, dir_fd=dir_fd)  # type: ignore[no-any-return]
        self._limiter(f"mkdir {place[1]}")
        _REAL["mkdir"](path, mode, dir_fd=dir_fd)
        node = self._born(os.stat(path, dir_fd=dir_fd).st_ino, "folder")
        return self._note(Entered(place[0], ((place[1], node),)))

    def _link(self, source: Any, name: Any, **more: Any) -> None:
        place = self._place(name, more.get("dst_dir_fd"))
        if place is None:
            return _REAL["link"](source, name, **more)  # type: ignore[no-any-return]
        self._limiter(f"link {place[1]}")
        _REAL["link"](source, name, **more)
        node = self._nodes[os.stat(name, dir_fd=more.get("dst_dir_fd")).st_ino]
        return self._note(Entered(place[0], ((place[1], node),)))

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd)
        if place is None:
            return _REAL["unlink"](path, dir_fd=dir_fd)  # type: ignore[no-any-return]
        self._limiter(f"unlink {place[1]}")
        _REAL["unlink"](path, dir_fd=dir_fd)
        return self._note(Entered(place[0], ((place[1], None),)))

    def _rename(self, source: Any, name: Any, **more: Any) -> None:
        old = self._place(source, more.get("src_dir_fd"))
        new = self._place(name, more.get("dst_dir_fd"))
        if old is None or new is None:
            return _REAL["replace"](source, name, **more)  # type: ignore[no-any-return]
        assert old[0] == new[0], "renames stay in their folder"
        self._limiter(f"rename {new[1]}")
        _REAL["replace"](source, name, **more)
        node = self._nodes[os.stat(name, dir_fd=more.get("dst_dir_fd")).st_ino]
        return self._note(Entered(new[0], ((old[1], None), (new[1], node))))

    _replace = _rename

    def _write(self, descriptor: int, data: Any) -> int:
        opened = self._opened.get(descriptor)
        if opened is None:
            return _REAL["write"](descriptor, data)  # type: ignore[no-any-return]
        self._limiter("write")
        node, appends = opened
        offset = (
            os.fstat(descriptor).st_size if appends else _REAL["lseek"](descriptor, 0, os.SEEK_CUR)
        )
        size: int = _REAL["write"](descriptor, data)
        self._note(Written(node, offset, bytes(data[:size])))
        return size

    def _ftruncate(self, descriptor: int, size: int) -> None:
        opened = self._opened.get(descriptor)
        if opened is None:
            return _REAL["ftruncate"](descriptor, size)  # type: ignore[no-any-return]
        self._limiter("ftruncate")
        _REAL["ftruncate"](descriptor, size)
        return self._note(Resized(opened[0], size))

    def _fsync(self, descriptor: int) -> None:
        opened = self._opened.get(descriptor)
        if opened is not None:
            self._limiter("fsync")
            self._note(Synced(opened[0]))

    _fdatasync = _fsync

    def _lseek(self, descriptor: int, offset: int, whence: int) -> int:
        return _REAL["lseek"](descriptor, offset, whence)  # type: ignore[no-any-return]

    def _close(self, descriptor: int) -> None:
        self._opened.pop(descriptor, None)
        _REAL["close"](descriptor)
