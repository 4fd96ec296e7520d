"""What the line of a run says at any width: what says least is left out first."""

from __future__ import annotations

from decimal import Decimal

import pytest
from rich.cells import cell_len
from tqdm import tqdm

from retouch.cli.geometry import GeometryLook
from retouch.cli.progress import Ahead, Pace, Progress, fitting
from retouch.engine.budget import Cap, Purse
from retouch.engine.context import JobEnd
from retouch.engine.late import LateCount
from retouch.engine.recorder import Paid
from retouch.engine.selection import LaneCount
from retouch.ledger.records import CostRecord, UsageRecord
from retouch.money import Money
from tests.support.ledgers import file_of
from tests.support.workbench import GEMINI, lane


def _progress(*, limit: str | None = "50", is_virtual: bool = False) -> Progress:
    """After 8 done, 2 failed and 1 unknown of 1,200; 3 were held before."""
    caps = [] if limit is None else [Cap("the budget", Money(Decimal(limit), "CNY"))]
    bar, ahead = tqdm(disable=True), Ahead(1200, 3)
    made = Progress(bar, lambda: ahead, GeometryLook(), is_virtual=is_virtual, purse=Purse(caps))
    jobs = lane(GEMINI, 12).all_jobs
    cost = CostRecord(amount="0.27", currency="CNY", basis="tokens", price="p")
    paid = Paid(UsageRecord(total_tokens=1591), cost)
    for number, job in enumerate(jobs[:11]):
        ended = "done" if number < 8 else "failed" if number < 10 else "unknown"
        if ended == "done":
            made.ended(JobEnd(job, "done", paid, (file_of(number),)))
        else:
            made.ended(JobEnd(job, ended))  # type: ignore[arg-type]
    made.ended(JobEnd(jobs[11], "accepted", task="image-1"))
    return made


def test_how_far_how_much_is_left_and_the_cost_come_first() -> None:
    """A task that stays on file is left for the next run."""
    words = _progress().words(Pace(61, 0.5))
    assert words[:4] == ["11/1,200", "1,189 left", "2.16 CNY", "budget left 50.00"]
    assert words[4:] == ["2 failed", "4 held", "01:01<39:38", "8 pictures", "12,728 tokens"]


@pytest.mark.parametrize("columns", range(20, 160, 7))
def test_a_line_fits_and_never_ends_inside_a_figure(columns: int) -> None:
    """Whole words from the first on; from 42 columns on the cost is there."""
    words = _progress(is_virtual=True).words(Pace(61, 0.5))
    line = fitting(words, columns)
    assert cell_len(line) <= columns
    assert line.split(" · ") == words[: len(line.split(" · "))]
    assert ("2.16 CNY (virtual)" in line) == (columns >= 42)


def test_without_a_budget_nothing_is_said_of_one() -> None:
    """Nor of what did not happen yet."""
    assert not any("budget" in word for word in _progress(limit=None).words())
    fresh = Progress(tqdm(disable=True), lambda: Ahead(2, 0), GeometryLook(), is_virtual=False)
    assert fresh.line == "0/2 · 2 left · 0 pictures"


def test_an_estimate_is_told_as_one() -> None:
    """Until all that is to be sent was come to; what is over is never estimated."""
    ahead = Ahead(1200, 0, is_about=True)
    made = Progress(tqdm(disable=True), lambda: ahead, GeometryLook(), is_virtual=False)
    made.ended(JobEnd(lane(GEMINI, 1).all_jobs[0], "failed"))
    assert made.line.startswith("1/~1,200 · ~1,199 left · ")
    ahead = Ahead(1187, 0)
    assert made.line.startswith("1/1,187 · 1,186 left · ")


def test_what_is_ahead_is_known_as_far_as_it_is_counted() -> None:
    """Of a lane counted late about as many as are expected, or as were found; of all lanes at most
    the limit, which is no estimate where far more are expected."""
    jobs = lane(GEMINI, 1)
    counted = LaneCount(jobs, to_send=70, to_poll=5, held=3, rejected=2)
    late = LateCount(jobs, expected=25, is_new=True)
    assert Ahead.of([counted], None) == Ahead(75, 5)
    assert Ahead.of([counted, late], None) == Ahead(100, 5, is_about=True)
    assert Ahead.of([counted, late], 101) == Ahead(100, 5, is_about=True)
    assert Ahead.of([counted, late], 51) == Ahead(51, 5, is_about=True)
    assert Ahead.of([counted, late], 50) == Ahead(50, 5)
    late.to_send = 30
    assert Ahead.of([counted, late], None) == Ahead(105, 5, is_about=True)
    assert Ahead.of([], 7) == Ahead(0, 0)
