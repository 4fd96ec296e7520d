"""What the operating system lets this process have, asked for before anything is sent."""

from __future__ import annotations

from retouch.errors import InputRefused
from retouch.storage.descriptors import raise_limit

_FOR_FILES = 64  # ledger, locks, and pictures on their way in and out
_COMFORT = 256  # files of every thread there may be, polls, downloads


def connections_allowed(concurrency: int) -> int:
    """How many connections may be open at once, the soft limit raised to what `concurrency` needs.

    Fewer than `concurrency` is slower and loses nothing: a request then waits before it is sent.
    Raises InputRefused where the concurrencies of the manifest come to more than there can be.
    """
    descriptors = raise_limit(concurrency + _COMFORT)
    if concurrency > descriptors:
        raise InputRefused(
            f"the models' `concurrency` comes to {concurrency:,}, but this process may open "
            f"{descriptors:,} files",
            hint=f"`ulimit -n {concurrency + _COMFORT}` allows for more; or lower `limits`",
        )
    return max(1, descriptors - min(_FOR_FILES, descriptors // 4))
