"""Cost reviews: what ledgers add up to, by what, and what of it was wasted; and bills against them.

Pure: Records in, rows out. Sums are Decimal and never of two currencies; the three sums of
DESIGN §2 (confirmed, unknown between bounds, none) stay apart. Memory holds the rows, what is
still open and a few examples, never the Records.
"""

from retouch.report.sums import (
    DIMENSIONS,
    MORE_DIMENSIONS,
    Dimension,
    Grouping,
    Period,
    Sums,
    is_dimension,
)
from retouch.report.tally import Tally
from retouch.report.waste import Kept, Waste

__all__ = [
    "DIMENSIONS",
    "MORE_DIMENSIONS",
    "Dimension",
    "Grouping",
    "Kept",
    "Period",
    "Sums",
    "Tally",
    "Waste",
    "is_dimension",
]
