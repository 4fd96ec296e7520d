"""A server of plain sockets that does to its client exactly what a script says, and keeps a book.

A script gets a Peer for each connection, in a thread of its own; what it raises is ignored, as a
connection's end is told by the client's view of it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)


@dataclass
class Heard:
    """One request as it arrived, whole or not."""

    head: str
    body: bytes = b""

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


class Peer:
    """One accepted connection."""

    def __init__(self, connection: socket.socket, book: list[Heard], number: int) -> None:
        self.connection = connection
        self.number = number
        self._book = book
        self._buffer = b""

    def read_head(self) -> Heard:
        """The next request's head, noted in the book at once."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        heard = Heard(head.decode("latin-1"))
        self._book.append(heard)
        return heard

    def read_body(self, heard: Heard, limit: int | None = None) -> None:
        """The body its Content-Length announces, or its first `limit` bytes."""
        wanted = int(heard.header("content-length") or 0)
        wanted = wanted if limit is None else min(wanted, limit)
        parts = [self._buffer]
        size = len(self._buffer)
        while size < wanted:
            part = self.connection.recv(1 << 20)
            if not part:
                raise ConnectionError("the client went away")
            parts.append(part)
            size += len(part)
        data = b"".join(parts)
        heard.body, self._buffer = data[:wanted], data[wanted:]

    def read_request(self) -> Heard:
        heard = self.read_head()
        self.read_body(heard)
        return heard

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> None:
        """A whole reply; `headers` is a block of lines, each with its line end."""
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def reset(self) -> None:
        """Closes with RST: what was not read yet is lost on both sides."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def wait_for_the_end(self) -> None:
        """Reads on until the client closes."""
        while self.connection.recv(1 << 20):
            pass

    def _more(self) -> None:
        part = self.connection.recv(65536)
        if not part:
            raise ConnectionError("the client went away")
        self._buffer += part


Script = Callable[[Peer], None]


@dataclass
class Server:
    """Listens on loopback; `connections` counts what was accepted, `closed` what has ended."""

    port: int
    scheme: str = "http"
    book: list[Heard] = field(default_factory=list)
    connections: int = 0
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.scheme == "http" else "localhost"
        return f"{self.scheme}://{host}:{self.port}"

    def wait_for_an_end(self) -> None:
        """Returns once another connection's script is over and its socket closed."""
        assert self.ended.acquire(timeout=10), "no connection ended"


@contextlib.contextmanager
def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A Server running `script` for every connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(listener.getsockname()[1], "https" if tls else "http")
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def serve(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            connection.settimeout(10)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
                sockets.append(connection)
            script(Peer(connection, server.book, number))
        with contextlib.suppress(OSError):
            connection.close()
        server.ended.release()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            if stopping.is_set():
                connection.close()
                return
            server.connections += 1
            sockets.append(connection)
            thread = threading.Thread(
                target=serve, args=(connection, server.connections), daemon=True
            )
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        stopping.set()
        with socket.socket() as waking:  # no name to resolve: a test may have taken that away
            waking.connect(listener.getsockname())
        acceptor.join()
        listener.close()
        for connection in sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for connection in sockets:
            connection.close()
