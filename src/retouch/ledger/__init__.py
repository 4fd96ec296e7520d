"""The append-only, hash-chained file of Records (DESIGN §4).

`reading` takes a ledger with suspicion, `recovery` knows what a crash may leave, `head` says
beside the file where it ended cleanly, `writing` appends durably. No line is ever changed.
"""

from retouch.ledger.reading import FIRST_PREV, End, Reader, read
from retouch.ledger.recovery import digest_of
from retouch.ledger.writing import Ledger, open_ledger
from retouch.storage.durable import storage_failed, sync_folder

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
