"""The one place that speaks HTTP: requests sent and counted, results downloaded, the key kept.

Nothing the network or a server does raises from here: an exchange ends in an `Exchange`, a
download in `Downloaded` or `DownloadFailed`. Redirects of a POST are never followed; the key
goes to the endpoints' own origins and nowhere else; results come from public addresses alone.
"""

from __future__ import annotations

from retouch.transport import plainly as plainly  # isort: skip - before all that import httpx
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
