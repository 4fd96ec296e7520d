"""Which pictures a reviewer rejected, as `review.jsonl` beside the ledger says.

A line is `{"key", "index", "mark"}` and more; `index` null means all pictures of the job. The last
mark of a picture counts, `none` takes it back.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from retouch.errors import LedgerDamaged
from retouch.storage.durable import open_regular

NAME = "review.jsonl"


class _Mark(msgspec.Struct, frozen=True):
    key: str
    mark: str
    index: int | None = None


class Rejects:
    """The pictures that are left out."""

    def __init__(self, marks: dict[str, dict[int | None, str]]) -> None:
        self._marks = marks

    def holds(self, key: str, index: int) -> bool:
        """Whether this picture of a job is rejected."""
        marks = self._marks.get(key)
        return marks is not None and marks.get(index, marks.get(None)) == "reject"


def read_rejects(folder: Path) -> Rejects:
    """The marks of a manifest's outputs folder; a line cut by a crash at the end is no mark.

    Raises StorageFailed, LedgerDamaged.
    """
    marks: dict[str, dict[int | None, str]] = {}
    path = folder / NAME
    descriptor = open_regular(path)
    if descriptor is None:
        return Rejects(marks)
    decoder = msgspec.json.Decoder(_Mark)
    with os.fdopen(descriptor, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                mark = decoder.decode(line)
            except msgspec.MsgspecError as error:
                if not line.endswith(b"\n"):
                    break
                raise LedgerDamaged(
                    f"{path}:{number}: no mark: {error}", hint="mend or remove the line"
                ) from error
            of_job = marks.setdefault(mark.key, {})
            if mark.index is None:
                of_job.clear()
            of_job[mark.index] = mark.mark
    return Rejects(marks)
