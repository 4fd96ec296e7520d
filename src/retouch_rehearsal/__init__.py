"""The rehearsal service: a stand-in for the provider, with real edits, offline and free.

A service of its own: nothing but the command line and the tests imports it, and it knows nothing
of manifests or ledgers. `create_app` for use in process, `server` for `retouch serve`.
"""

from __future__ import annotations

from .app import Settings, create_app
from .book import Book, Charge
from .faults import Fault, Faults

__all__ = ["Book", "Charge", "Fault", "Faults", "Settings", "create_app"]
