"""The dataset out: present pictures with their labels and provenance, in a trainer's format.

    result = export(Present(plan, state, outputs, marks, wish), outputs, rules, target, cache=…)

`present` joins the plan with the ledger, `making` reads and places, a file a format writes,
`folder` makes it whole, `digest` says what two people compare. Needs the extra `export`.
"""

from retouch.export.checking import DatasetChanged, check_folder, compare
from retouch.export.dataset import Result, Target, export
from retouch.export.folder import ABOUT, refuse_taken
from retouch.export.formats import TAKES_PAIRS
from retouch.export.left_out import LeftOut
from retouch.export.making import Maker, Rules
from retouch.export.present import Present, Wish
from retouch.pictures.measured import GeometryCache

__all__ = [
    "ABOUT",
    "TAKES_PAIRS",
    "DatasetChanged",
    "GeometryCache",
    "LeftOut",
    "Maker",
    "Present",
    "Result",
    "Rules",
    "Target",
    "Wish",
    "check_folder",
    "compare",
    "export",
    "refuse_taken",
]
