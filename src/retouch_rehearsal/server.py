"""The service behind a socket: uvicorn, the Host check, and connections that can be cut.

Loopback only unless asked twice; a page in a browser cannot reach it through DNS rebinding,
because a Host that is not the service's own is refused.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from .app import Settings, create_app
from .book import Book
from .refusal import Refusal
from .replies import refusal_reply
from .sending import ABORT, CLOSE

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How `retouch serve` was asked to serve. `port` 0: any that is free."""

    host: str = "127.0.0.1"
    port: int = 8765
    book: Path | None = None
    service: Settings = field(default_factory=Settings)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine alone."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` gets the base URL once requests are taken.

    Raises OSError if the address cannot be had, ValueError if the book is not one.
    """
    with _stopped_by_signals(), Book(settings.book) as book, _listener(settings) as listener:
        port: int = listener.getsockname()[1]
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        root = f"http://{shown}:{port}"
        app = create_app(
            replace(
                settings.service,
                refuses_real_keys=True,
                fetches_loopback=is_loopback(settings.host),  # exposed, it would serve strangers
            ),
            base_url=root,
            book=book,
            has_socket=True,
        )
        config = uvicorn.Config(
            Guarded(app, port, None if is_loopback(settings.host) else settings.host),
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=30,
        )
        _Announcing(config, lambda: announce(f"{root}/v1")).run(sockets=[listener])


def _listener(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    return listener


class _Stopped(BaseException):
    """SIGINT or SIGTERM came: the normal end of a server."""


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Make both signals end the block; uvicorn raises them again once it has shut down."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Stopped:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Announcing(uvicorn.Server):
    """uvicorn, saying when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


class Guarded:
    """Refuses foreign Hosts and lends requests the means to cut their connection."""

    def __init__(self, app: ASGIApp, port: int, exposed_host: str | None) -> None:
        self._app = app
        names = set(LOOPBACK) | {"[::1]"}
        self._hosts = {f"{name}:{port}" for name in names} | names
        # Exposed on purpose: reached under names that cannot be known here.
        self._checks_host = exposed_host is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if self._checks_host and host.decode("latin-1").lower() not in self._hosts:
            refusal = Refusal(421, "this service answers only to its own loopback address")
            await refusal_reply(refusal)(scope, receive, send)
            return
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is not None:
            scope[ABORT] = lambda: _reset(transport)
            scope[CLOSE] = transport.close
        await self._app(scope, receive, send)


def _reset(transport: Any) -> None:  # asyncio's and uvloop's transports share no typed base
    """Drop the connection with a TCP reset: linger off, unsent bytes thrown away."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
