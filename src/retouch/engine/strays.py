"""Pictures that lie in the outputs folder and that no Record of the ledger names.

One at a Job's place tells that the ledger is older than the pictures: a copy was put back, or it
is gone. The work is paid for, so nothing is sent for such a Job until the user has settled it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Sequence

from retouch.engine.outputs import SUFFIXES, Outputs
from retouch.job import Job
from retouch.ledger.lines import NamedPaths
from retouch.ledger.records import FileRecord
from retouch.ledger.state import Replay
from retouch.pictures import measure

_NUMBERED = re.compile(r"~\d+\Z")  # suffix of a name that was taken


class Strays:
    """Looks for them as the folders were when first asked for."""

    def __init__(self, outputs: Outputs, state: Replay) -> None:
        self._outputs = outputs
        self._state = state
        self._listed: dict[str, dict[str, list[str]]] = {}
        self._stems: dict[str, NamedPaths] = {}
        self._recorded: NamedPaths | None = None

    @property
    def may_be(self) -> bool:
        """Whether any file lies where pictures go."""
        found = os.walk(self._outputs.folder / "images")
        return any(names for _, _, names in found)

    def at(self, job: Job) -> tuple[str, ...]:
        """The unrecorded pictures at a Job's place, relative to the outputs folder."""
        found: list[str] = []
        for index in range(job.images_wanted):
            folder, stem = posixpath.split(job.output_path(index))
            names = self._names(folder, stem)
            found += (posixpath.join(folder, name) for name in names)
        return tuple(path for path in found if path not in self._paths_on_record()) if found else ()

    def files(self, job: Job) -> tuple[FileRecord, ...]:
        """The whole pictures among them, as a Record has them."""
        measured = (self._measured(path) for path in self.at(job))
        return tuple(file for file in measured if file is not None)

    def _measured(self, path: str) -> FileRecord | None:
        data = self._outputs.read_unrecorded(path)
        facts = measure(data) if data else None
        if data is None or facts is None:
            return None
        media_type, width, height = facts
        return FileRecord(
            path=path,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            media_type=media_type,
            width=width,
            height=height,
        )

    def _names(self, folder: str, stem: str) -> Sequence[str]:
        """The pictures of a folder that were meant to have a stem. Of a folder in which none is
        looked for that is there, the stems' hashes are kept alone."""
        if folder not in self._stems:
            self._stems[folder] = NamedPaths(meant for meant, _ in self._pictures(folder))
        if stem not in self._stems[folder]:
            return ()
        if folder not in self._listed:
            listed = self._listed[folder] = dict[str, list[str]]()
            for meant, name in self._pictures(folder):
                listed.setdefault(meant, []).append(name)
        return self._listed[folder].get(stem, ())

    def _pictures(self, folder: str) -> Iterator[tuple[str, str]]:
        """The pictures of a folder, each by the stems it may have been meant to have."""
        try:
            names = sorted(os.listdir(self._outputs.folder / folder))  # noqa: PTH208 - no Path each
        except OSError:
            return
        for name in names:
            stem, suffix = posixpath.splitext(name)
            if suffix in SUFFIXES.values():
                for meant in {stem, _NUMBERED.sub("", stem)}:
                    yield meant, name

    def _paths_on_record(self) -> NamedPaths:
        if self._recorded is None:
            self._recorded = self._state.recorded_paths()
        return self._recorded
