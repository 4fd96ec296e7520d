"""The tests' provider as a real server, for a process of its own.

Charges are in the book's file before they are answered.
"""

from __future__ import annotations

import asyncio
import socket
from itertools import repeat
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn

from tests.support.provider import Mishap, Provider

REFUSAL = Mishap(400, b'{"error":{"message":"unsafe","code":"content_policy_violation"}}')


def serve(
    port: Connection[int, int],
    book: Path,
    *,
    seconds: float = 0.05,
    task_seconds: float = 0.3,
    refused: str = "",
) -> None:
    """Say the port and serve until killed. Every request for the model `refused` is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        provider = Provider(
            seconds=seconds,
            task_seconds=task_seconds,
            mishaps=repeat(REFUSAL) if refused else (),
            mishaps_of=refused,
            origin=f"http://127.0.0.1:{number}",
            book_file=book,
        )
        config = uvicorn.Config(provider, log_level="error", lifespan="off", access_log=False)
        port.send(number)
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
