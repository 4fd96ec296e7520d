"""`retouch report` over a million records, beside DuckDB adding up the same file; every figure of
the review must be DuckDB's."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.measured import Measured
from tests.support.busy_ledger import write_busy
from tests.support.duckdb_review import DuckReview

JOBS = 476_000  # about 1,010,000 records
BY = ("model", "month")


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as name:
        return [reviewed(write_busy(Path(name) / "million" / "ledger.jsonl", JOBS))]


def reviewed(path: Path) -> Measured:
    """One review by another process, its seconds of CPU; raises AssertionError where a figure is
    not DuckDB's."""
    command = [sys.executable, "-m", "retouch", "report", str(path), "--json", "--by", ",".join(BY)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    review, begun = json.loads(said), time.process_time()
    theirs = DuckReview(path)
    assert theirs.differences(review["totals"], ()) == {}
    assert theirs.differences(review["by"], BY) == {}
    records = review["counts"]["records"]
    assert records == theirs.count("true")
    name = f"a review of {records:,} records (CPU, {after.ru_maxrss // 1024} MB)"
    return Measured(name, seconds, "DuckDB's sums (CPU)", time.process_time() - begun, records)
