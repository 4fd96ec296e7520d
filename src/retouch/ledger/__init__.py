"""The append-only, hash-chained file of Records (DESIGN §4).

`reading` takes a ledger with suspicion, `recovery` knows what a crash may leave, `head` says
beside the file where it ended cleanly, `writing` appends durably. No line is ever changed. Of a
run in shards each has a ledger of its own, which `parts` reads as one.
"""

from typing import TYPE_CHECKING

from retouch.ledger.parts import Parts, read
from retouch.ledger.reading import FIRST_PREV, End, Reader
from retouch.ledger.recovery import digest_of
from retouch.storage.durable import storage_failed, sync_folder

if TYPE_CHECKING:
    from retouch.ledger.writing import Ledger, open_ledger

__all__ = [
    "FIRST_PREV",
    "End",
    "Ledger",
    "Parts",
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
