"""The append-only, hash-chained file of Records (DESIGN §4).

`reading` takes a ledger with suspicion, `recovery` knows what a crash may leave, `head` says
beside the file where it ended cleanly, `writing` appends durably. No line is ever changed.
"""

from typing import TYPE_CHECKING

from retouch.ledger.reading import FIRST_PREV, End, Reader, read
from retouch.ledger.recovery import digest_of
from retouch.storage.durable import storage_failed, sync_folder

if TYPE_CHECKING:
    from retouch.ledger.writing import Ledger, open_ledger

__all__ = [
    "FIRST_PREV",
    "End",
    "Ledger",
    "Reader",
    "digest_of",
    "open_ledger",
    "read",
    "storage_failed",
    "sync_folder",
]


def __getattr__(name: str) -> object:
    """`writing` needs an event loop's library, which whoever only reads does not wait for."""
    if name in ("Ledger", "open_ledger"):
        from retouch.ledger import writing  # noqa: PLC0415 - start-up time

        return getattr(writing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
