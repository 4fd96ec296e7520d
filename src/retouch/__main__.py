"""`python -m retouch`."""

import sys

from retouch.cli import entry

sys.exit(entry())
