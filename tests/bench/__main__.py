"""`python -m tests.bench [--json] [TOPIC ...]`: what things cost here and now, beside references.

A topic is a module with `measure() -> list[Measured]`, listed in TOPICS. `datasets` takes minutes,
the others less than one together.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from tests.bench import bodies, datasets, gallery, jobs, ledger, million, mirror, startup, transport
from tests.bench.measured import Measured

TOPICS = {
    "startup": startup.measure,
    "bodies": bodies.measure,
    "transport": transport.measure,
    "jobs": jobs.measure,
    "ledger": ledger.measure,
    "gallery": gallery.measure,
    "million": million.measure,
    "mirror": mirror.measure,
    "datasets": datasets.measure,
}


def main(arguments: list[str]) -> int:
    is_json = "--json" in arguments
    arguments = [each for each in arguments if each != "--json"]
    unknown = set(arguments) - set(TOPICS)
    if unknown:
        sys.stderr.write(f"no such topic: {', '.join(unknown)}; there are {', '.join(TOPICS)}\n")
        return 2
    rows = [row for topic in arguments or TOPICS for row in TOPICS[topic]()]
    if is_json:
        sys.stdout.write(json.dumps([_plain(row) for row in rows], indent=1) + "\n")
        return 0
    table = Table("what", "ours", "each", "reference", "its time", "ours is", box=None)
    for row in rows:
        table.add_row(*_cells(row))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    if any(row.more for row in rows):
        console.print(_of_processes(rows))
    return 0


def _cells(row: Measured) -> tuple[str, ...]:
    quicker = row.ratio >= 1
    return (
        row.name,
        f"{row.ours_seconds * 1000:.1f} ms",
        f"{row.ours_seconds / row.times * 1000:.3f} ms",
        row.reference,
        f"{row.reference_seconds * 1000:.1f} ms",
        f"{row.ratio:.2f} times quicker" if quicker else f"{1 / row.ratio:.2f} times slower",
    )


def _plain(row: Measured) -> dict[str, object]:
    return {**asdict(row), "ratio": row.ratio}


def _of_processes(rows: list[Measured]) -> Table:
    """What processes of their own came to, a job: CPU, time, memory at its peak."""
    table = Table("who (medians, one core)", "CPU", "time", "peak", "ours / theirs, CPU", box=None)
    theirs = {row.reference: (row.more["theirs"], row.ratio) for row in rows if row.more}
    ours = next(row.more["ours"] for row in rows if row.more)
    for who, (figures, ratio) in {"ours": (ours, 1.0), **theirs}.items():
        table.add_row(
            who,
            f"{figures['cpu_seconds'] * 1000:.2f} ms",
            f"{figures['seconds'] * 1000:.2f} ms",
            f"{figures['peak_bytes'] / 1e6:.0f} MB",
            f"{ratio:.2f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
