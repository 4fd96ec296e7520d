"""The peers are heavy (LiteLLM alone is 130 packages), so their tests run by `make peers` alone."""

from __future__ import annotations

import os

if "RETOUCH_PEERS" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
