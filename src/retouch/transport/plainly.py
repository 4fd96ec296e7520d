"""httpx without its command line, which would bring rich and pygments along: a fifth of the time
until a first request is sent."""

from __future__ import annotations

import sys

_COMMAND_LINE = "httpx._main"

if "httpx" not in sys.modules:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment] # so Python is told: there is none
    try:
        import httpx  # noqa: F401 - the first to do so
    finally:
        del sys.modules[_COMMAND_LINE]
