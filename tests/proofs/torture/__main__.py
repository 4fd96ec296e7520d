"""`python -m tests.proofs.torture [--share S] [TOPIC ...]`: the proofs at full size, on every core.

A topic is cut into pieces, each drawn from its number; a piece raises where its proof fails, and
`--piece N` does that one again. A share of 0.1 does a tenth of each topic.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tqdm import tqdm

from tests.proofs.torture.topics import TOPICS, Topic

QUIET_SECONDS = 30.0  # between two lines of progress where nobody sits at a terminal


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.torture", description=__doc__)
    parser.add_argument("topics", metavar="TOPIC", nargs="*", help=", ".join(TOPICS))
    parser.add_argument("--share", type=float, default=1.0, help="how much of each (default: all)")
    parser.add_argument("--piece", type=int, help="this one alone")
    given = parser.parse_args(words)
    unknown = set(given.topics) - set(TOPICS)
    if unknown:
        parser.error(f"no such topic: {', '.join(sorted(unknown))}")
    for name in given.topics or TOPICS:
        topic, began = TOPICS[name], time.perf_counter()
        count = max(1, round(topic.pieces * given.share))
        pieces = range(count) if given.piece is None else [given.piece]
        figures = all_of(name, topic, pieces)
        told = ", ".join(f"{figure:,} {what}" for what, figure in figures.items())
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{topic.proof}: {told} ({seconds:.0f} s): {topic.outcome}\n")
        sys.stdout.flush()
    return 0


def all_of(name: str, topic: Topic, pieces: range | list[int]) -> Counter[str]:
    """The pieces side by side, their figures added up."""
    figures: Counter[str] = Counter()
    quiet = 0.1 if sys.stderr.isatty() else QUIET_SECONDS
    with (
        ProcessPoolExecutor(min(len(pieces), os.cpu_count() or 1)) as pool,
        tqdm(total=len(pieces), desc=name, unit="piece", mininterval=quiet) as progress,
    ):
        numbers = {pool.submit(topic.piece, number): number for number in pieces}
        for done in as_completed(numbers):
            if done.exception() is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                sys.stderr.write(f"\n{name}: `--piece {numbers[done]}` does it again\n")
            figures += done.result()
            progress.update()
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
