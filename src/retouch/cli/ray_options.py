"""`--ray` and `--workers`: who does the work of a run."""

from __future__ import annotations

import argparse

from retouch.errors import InputRefused

DEFAULT_WORKERS = 2
MOST_WORKERS = 1000


def add_ray(parser: argparse.ArgumentParser) -> None:
    """`--ray` and `--workers`."""
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const="",
        help="by workers on a Ray cluster: at ADDRESS, else RAY_ADDRESS, else on this machine",
    )
    parser.add_argument("--workers", metavar="N", type=int, help="how many workers --ray has")


def workers_of(address: str | None, said: int | None, shard: str | None) -> int:
    """What `--ray`, `--workers` and `--shard` say together: how many workers there are; 0 without
    `--ray`. Raises InputRefused."""
    if address is None:
        if said is not None:
            raise InputRefused("--workers: says how many workers --ray has; there is no --ray")
        return 0
    workers = DEFAULT_WORKERS if said is None else said
    if not 1 <= workers <= MOST_WORKERS:
        raise InputRefused(f"--workers {workers}: from 1 to {MOST_WORKERS:,}")
    if shard is not None:
        raise InputRefused("--ray and --shard: a run is divided by the one or by the other")
    return workers
