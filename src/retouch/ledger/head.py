"""The head file beside a ledger: how many lines it had at its last clean end, and their digest.

The chain alone cannot show that its newest lines were cut off or changed; the head does. It is
replaced whole at each clean end. A ledger that ended otherwise is longer than its head says.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from retouch.errors import LedgerDamaged
from retouch.storage.durable import open_regular, replace_whole

SUFFIX = ".head"
_HEAD = re.compile(rb"(\d{1,15}) ([0-9a-f]{16})\n")


@dataclass(frozen=True, slots=True)
class Head:
    """`lines` whole lines, the last of them with this digest (the next one's `prev`)."""

    lines: int
    digest: str


def head_path(ledger: Path) -> Path:
    """Where the head of a ledger lies."""
    return ledger.with_name(ledger.name + SUFFIX)


def read_head(ledger: Path) -> Head | None:
    """The head of a ledger; None where none was written yet.

    Raises LedgerDamaged for a head that is none: it is written whole, so it was changed.
    """
    path = head_path(ledger)
    descriptor = open_regular(path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = _HEAD.fullmatch(file.read(64))
    if found is None:
        raise LedgerDamaged(
            f"{path}:1: is not what was written there; it was changed",
            hint="nothing was sent; if the ledger itself is known to be good, remove this file",
        )
    return Head(int(found[1]), found[2].decode())


def write_head(ledger: Path, head: Head) -> None:
    """Say where the ledger ended; replaced whole. Raises StorageFailed."""
    replace_whole(head_path(ledger), f"{head.lines} {head.digest}\n".encode())
