"""What the Jobs still to be sent will cost, and how long they take: `costing`, from `history`."""

from retouch.estimate.costing import (
    THIN,
    Demand,
    Estimate,
    Range,
    estimate,
    seconds_at_limits,
)
from retouch.estimate.history import History, Sample

__all__ = [
    "THIN",
    "Demand",
    "Estimate",
    "History",
    "Range",
    "Sample",
    "estimate",
    "seconds_at_limits",
]
