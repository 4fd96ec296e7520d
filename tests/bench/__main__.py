"""`python -m tests.bench [TOPIC ...]`: what things cost here and now, beside references.

A topic is a module with `measure() -> list[Measured]`, listed in TOPICS. `datasets` takes minutes,
the others less than one together.
"""

from __future__ import annotations

import sys

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
    unknown = set(arguments) - set(TOPICS)
    if unknown:
        sys.stderr.write(f"no such topic: {', '.join(unknown)}; there are {', '.join(TOPICS)}\n")
        return 2
    table = Table("what", "ours", "each", "reference", "its time", "ours is", box=None)
    for topic in arguments or TOPICS:
        for row in TOPICS[topic]():
            table.add_row(*_cells(row))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
