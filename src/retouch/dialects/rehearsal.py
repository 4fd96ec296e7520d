"""The dialect `rehearsal`: `qiniu`, spoken to the embedded stand-in service.

Nothing differs on the wire, so that what was rehearsed is what will be sent; only the name (for
the ledger's `provider`) and the address do. The address is never connected to: the service is
mounted in process.
"""

from __future__ import annotations

from typing import Final

from retouch.dialects.qiniu.requests import (
    capabilities,
    models,
    poll,
    read_poll,
    read_submit,
    submit,
    terms,
)

NAME: Final = "rehearsal"
DEFAULT_BASE_URL: Final = "http://127.0.0.1/v1"

__all__ = [
    "DEFAULT_BASE_URL",
    "NAME",
    "capabilities",
    "models",
    "poll",
    "read_poll",
    "read_submit",
    "submit",
    "terms",
]
