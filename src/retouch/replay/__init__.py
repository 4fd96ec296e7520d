"""From Records to Outcomes and Charges (`state`), and what is to be done (`decision`).

Pure and total over any prefix of a ledger.
"""

from retouch.replay.decision import (
    NOTHING_REDONE,
    Decision,
    Hold,
    Poll,
    Redo,
    Send,
    Skip,
    decide,
)
from retouch.replay.outcome import OpenCharge, Outcome, State, Totals
from retouch.replay.state import Replay, replay

__all__ = [
    "NOTHING_REDONE",
    "Decision",
    "Hold",
    "OpenCharge",
    "Outcome",
    "Poll",
    "Redo",
    "Replay",
    "Send",
    "Skip",
    "State",
    "Totals",
    "decide",
    "replay",
]
