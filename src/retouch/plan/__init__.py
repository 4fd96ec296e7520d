"""The plan: from a loaded manifest to lanes of Jobs, lazily, with everything wrong said at once.

    cache = DigestCache(outputs / ".cache" / "digests.sqlite3")
    plan = build(loaded, dialect, outputs=outputs, cache=cache)

Reads files, writes nothing but its cache, sends nothing.
"""

from retouch.plan.digests import DigestCache
from retouch.plan.inspections import OnProgress
from retouch.plan.known import Known, known_of
from retouch.plan.lanes import build
from retouch.plan.planned import BadSource, Lane, Leak, Plan

__all__ = [
    "BadSource",
    "DigestCache",
    "Known",
    "Lane",
    "Leak",
    "OnProgress",
    "Plan",
    "build",
    "known_of",
]
