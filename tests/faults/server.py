"""The provider that breaks off, as a process of its own; says its port on the first line.

python -m tests.faults.server --book FILE --instant "cut in the reply" --stage submit
"""

from __future__ import annotations

import argparse
import sys
import threading
from dataclasses import replace
from pathlib import Path

from tests.faults.bench import listening
from tests.faults.instants import INSTANTS, redirect_to
from tests.faults.provider import BreakingProvider


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--book", type=Path, required=True)
    parser.add_argument("--instant", required=True)
    parser.add_argument("--stage", default="submit")
    parser.add_argument("--answers", default="picture")
    parser.add_argument("--redirect", default="")
    given = parser.parse_args()
    instant = next(one for one in INSTANTS if one.name == given.instant)
    if instant.redirects:
        instant = replace(instant, answer=redirect_to(given.redirect))
    provider = BreakingProvider(given.stage, instant, given.book, given.answers)
    with listening(provider) as server:
        provider.origin = f"http://127.0.0.1:{server.port}"
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
