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

from tests.support.namespaces import enter
from tests.support.provider import Mishap, Provider

REFUSAL = Mishap(400, b'{"error":{"message":"unsafe","code":"content_policy_violation"}}')


def serve(
    port: Connection[int, int],
    book: Path,
    *,
    seconds: float = 0.05,
    task_seconds: float = 0.3,
    held_after: int | None = None,
    refused: str = "",
    host: str = "127.0.0.1",
    certificate: str = "",
    namespace: str = "",
) -> None:
    """Say the port and serve until killed. Every request for the model `refused` is refused.

    `certificate`: the PEM file of one and its key, for TLS. `namespace`: the network namespace, by
    its path, in which `host` is.
    """
    if namespace:
        enter(namespace)
    with socket.create_server((host, 0)) as listener:
        number = listener.getsockname()[1]
        provider = Provider(
            seconds=seconds,
            task_seconds=task_seconds,
            held_after=held_after,
            mishaps=repeat(REFUSAL) if refused else (),
            mishaps_of=refused,
            origin=f"{'https' if certificate else 'http'}://{host}:{number}",
            book_file=book,
        )
        config = uvicorn.Config(
            provider,
            log_level="error",
            lifespan="off",
            access_log=False,
            ssl_certfile=certificate or None,
        )
        port.send(number)
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
