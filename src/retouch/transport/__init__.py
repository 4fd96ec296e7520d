"""The one place that speaks HTTP: requests sent and counted, results downloaded, the key kept.

Nothing the network or a server does raises from here: an exchange ends in an `Exchange`, a
download in `Downloaded` or `DownloadFailed`. Redirects of a POST are never followed; the key
goes to the endpoints' own origins and nowhere else; results come from public addresses alone.
"""

from __future__ import annotations

import sys

# httpx imports its command line where it finds one, and with it rich and pygments: a fifth of the
# time before a first request. It finds none, for this comes before all that import httpx.
_COMMAND_LINE = "httpx._main"
if "httpx" not in sys.modules:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]
    try:
        import httpx  # noqa: F401
    finally:
        del sys.modules[_COMMAND_LINE]

from retouch.transport.aside import held, restored, whole
from retouch.transport.body import Pictures, Sending
from retouch.transport.certificates import trusted
from retouch.transport.client import Connection, Transport, open_transport
from retouch.transport.credentials import ApiKey
from retouch.transport.download import Downloaded, DownloadFailed
from retouch.transport.endpoints import endpoint_of
from retouch.transport.proxies import Proxies
from retouch.transport.reading import ReplyLimits
from retouch.transport.wire import LATE_SECONDS

__all__ = [
    "LATE_SECONDS",
    "ApiKey",
    "Connection",
    "DownloadFailed",
    "Downloaded",
    "Pictures",
    "Proxies",
    "ReplyLimits",
    "Sending",
    "Transport",
    "endpoint_of",
    "held",
    "open_transport",
    "restored",
    "trusted",
    "whole",
]
