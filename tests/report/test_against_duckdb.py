"""Every figure of a review against DuckDB's over the raw file, which knows nothing of Charges."""

from __future__ import annotations

from datetime import timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.ledger import Reader
from retouch.report import Tally
from retouch.report.rows import Plain, review_of
from tests.bench.million import reviewed
from tests.support.busy_ledger import write_busy
from tests.support.duckdb_review import VALUES, DuckReview

JOBS = 6000
PAIRS = (("model", "month"), ("day", "prompt", "provider"))
OFFSETS = (0, 8)
MONEY = ("amount", "amount_high")
WASTE = ("kind", "currency", "jobs", "pictures", *MONEY)


def in_order(rows: list[Plain]) -> list[dict[str, object]]:
    """The rows in one order, and amounts by their value, with however many zeros."""
    ordered = sorted(rows, key=lambda row: (str(row.get("kind")), str(row["currency"])))
    return [row | {name: Decimal(str(row[name])) for name in MONEY} for row in ordered]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_busy(tmp_path_factory.mktemp("outputs") / "cats" / "ledger.jsonl", JOBS)


@pytest.mark.parametrize("hours", OFFSETS)
def test_every_figure_is_duckdbs(ledger: Path, hours: int) -> None:
    """By each dimension and some together, in UTC and in UTC+8: counts, tokens and money."""
    groupings = [(), *((word,) for word in VALUES if word != "source"), *PAIRS]
    tally = Tally(groupings[1:], zone=timezone(timedelta(hours=hours)))
    tally.read(Reader(ledger), ledger=ledger.parent.name)
    review = review_of(tally)
    theirs = DuckReview(ledger, offset=hours * 3600)
    for grouping in groupings:
        rows = review.by[grouping] if grouping else review.totals
        assert rows
        assert theirs.differences(rows, grouping) == {}, grouping
    by_kind = [{name: row[name] for name in WASTE} for row in review.waste]
    assert in_order(by_kind) == in_order(theirs.waste())
    assert in_order(review.waste_total) == in_order(theirs.waste_total())
    assert dict(tally.failures) == theirs.failures()
    assert review.counts == {
        "records": theirs.count("true"),
        "retries": theirs.count("event = 'started' and attempt > 1"),
        "reused": theirs.count("event = 'reused'"),
        "kept": sum(int(str(row["kept"])) for row in review.totals),
    }


def test_the_command_says_the_same_in_another_process(ledger: Path) -> None:
    """What the bench does to a million records, with fewer."""
    assert reviewed(ledger).times == len(ledger.read_bytes().splitlines())
