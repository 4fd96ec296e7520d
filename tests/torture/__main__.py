"""`python -m tests.torture [--share S] [TOPIC ...]`: the proofs at their full size.

A topic is a function `(share) -> Told`, listed in TOPICS; it raises where its proof fails. A share
of 0.1 does a tenth of each.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.torture import campaigns, disk

TOPICS = {
    "power-cuts": disk.power_cuts,
    "refusals": disk.refusals,
    "kills": disk.kills,
    "flips": disk.flips,
    "bad-days": campaigns.bad_days,
    "inputs": campaigns.inputs,
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("topics", metavar="TOPIC", nargs="*", help=", ".join(TOPICS))
    parser.add_argument("--share", type=float, default=1.0, help="how much of each (default: all)")
    arguments = parser.parse_args(words)
    unknown = set(arguments.topics) - set(TOPICS)
    if unknown:
        parser.error(f"no such topic: {', '.join(sorted(unknown))}")
    for name in arguments.topics or TOPICS:
        began = time.perf_counter()
        told = TOPICS[name](arguments.share)
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{told.proof}: {told.size:,} ({seconds:.0f} s): {told.outcome}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
