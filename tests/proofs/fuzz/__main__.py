"""`python -m tests.proofs.fuzz [TARGET ...] [--runs N] [--seed S] [--again S N]`, fuzz at any size.

A failure says which input it was; `--again` repeats that one alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.proofs.fuzz.targets import TARGETS, fuzz


def main(words: list[str]) -> int:
    """Fuzz each target; returns 0, or raises what a target raised."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.fuzz", description=__doc__)
    parser.add_argument("targets", metavar="TARGET", nargs="*", help=", ".join(TARGETS))
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs, over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=int, nargs=2, metavar=("SEED", "NUMBER"))
    given = parser.parse_args(words)
    chosen = given.targets or list(TARGETS)
    if given.again:
        TARGETS[chosen[0]](random.Random(f"{chosen[0]}-{given.again[0]}-{given.again[1]}"))
        return 0
    for target in chosen:
        began, runs = time.perf_counter(), given.runs // len(chosen)
        fuzz(target, runs, given.seed)
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{target}: {runs:,} inputs, {seconds:.0f} s, nothing uncaught\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
