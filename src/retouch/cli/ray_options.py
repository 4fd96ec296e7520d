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


def workers_of(arguments: argparse.Namespace) -> int:
    """What `--workers` says. Raises InputRefused."""
    if arguments.ray is None:
        if arguments.workers is not None:
            raise InputRefused("--workers: says how many workers --ray has; there is no --ray")
        return 0
    workers = DEFAULT_WORKERS if arguments.workers is None else arguments.workers
    if not 1 <= workers <= MOST_WORKERS:
        raise InputRefused(f"--workers {workers}: from 1 to {MOST_WORKERS:,}")
    if arguments.shard is not None:
        raise InputRefused("--ray and --shard: a run is divided by the one or by the other")
    return int(workers)
