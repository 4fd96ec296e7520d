"""What nobody foresaw: its traceback is shown for the report that it deserves, without secrets.

A traceback's last line is the message of whatever failed, which may hold what a server sent, and
that may hold the key. So no secret of the environment is let through.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Mapping

from retouch.text import fit_for_terminal, without_secrets
from retouch.transport.credentials import secrets_of

_NAMED_LIKE_SECRETS = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


def tell_defect(error: BaseException, environment: Mapping[str, str]) -> int:
    """Print the error's traceback, scrubbed; returns the exit code, Python's own for this."""
    hidden = tuple(
        spelling
        for name, value in environment.items()
        if _NAMED_LIKE_SECRETS.search(name)
        for spelling in secrets_of(value)
    )
    lines = "".join(traceback.format_exception(error))
    print(fit_for_terminal(without_secrets(lines, hidden)), file=sys.stderr)
    print(
        "retouch: this is a defect of retouch itself; nothing recorded is lost, and the next run "
        "goes on from the ledger",
        file=sys.stderr,
    )
    return 1
