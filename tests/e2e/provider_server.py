"""The tests' provider as a real server in a process of its own.

Says its port on the first line of stdout; charges are in the book file before they are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from tests.provider import Mishap, Provider


def _bad_days(seed: int, share: float) -> Iterator[Mishap | None]:
    """Now and then a refusal, a server error or an answer that breaks off after the charge."""
    chance = random.Random(seed)
    kinds = [
        Mishap(429, b'{"error":{"message":"slow down","type":"rate_limit_error"}}'),
        Mishap(500),
        Mishap(200, b'{"data": [{"b64', charged=True),
    ]
    while True:
        yield chance.choice(kinds) if chance.random() < share else None


async def _serve(arguments: argparse.Namespace) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    provider = Provider(
        seconds=arguments.seconds,
        task_seconds=arguments.task_seconds,
        mishaps=_bad_days(arguments.seed, arguments.mishaps),
        origin=f"http://127.0.0.1:{port}",
        book_file=arguments.book,
    )
    config = uvicorn.Config(provider, log_level="error", lifespan="off", access_log=False)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--book", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--task-seconds", type=float, default=0.3)
    parser.add_argument("--mishaps", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
