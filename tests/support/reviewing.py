"""`retouch review` as a real process, for tests that need its socket, its memory or its files."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.albums import Album
from tests.support.ledgers import begins, many, write

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running review."""

    url: str
    process: subprocess.Popen[str]

    @property
    def token(self) -> str:
        return self.url.partition("token=")[2]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def ask(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """One request by hand; header names with `_` for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        reply = connection.getresponse()
        try:
            return reply.status, reply.read()
        finally:
            connection.close()

    def resident_bytes(self) -> int:
        """The memory that it holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found.group(1)) * 1024

    def events(self) -> Generator[tuple[str, Any]]:
        """What an open page is told, one event after the other; it ends when nothing comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", f"/{self.token}/events")
        reply = connection.getresponse()
        name = ""
        try:
            while line := reply.readline():
                field, _, value = line.decode().rstrip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)
        finally:
            connection.close()


@contextmanager
def served(album: Album) -> Iterator[Served]:
    """The review of an album."""
    with reviewing(album.manifest, album.outputs) as running:
        yield running


@contextmanager
def reviewing(subject: Path, outputs: Path) -> Iterator[Served]:
    """The review of a manifest or ledger, ended by Ctrl-C: with 0, and nothing on stderr but what
    it says."""
    command = [sys.executable, "-m", "retouch", "review", str(subject), "--no-browser",
               "--port", "0", "--outputs", str(outputs)]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Served(process.stdout.readline().strip(), process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, told = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()  # leaving `with` waits for it
                raise
    assert process.returncode == 0, told
    assert "Traceback" not in told


def grown(folder: Path, settled: int, jobs: int, *, step: int = 250) -> int:
    """The bytes that a review's memory grows by while its ledger grows from so many finished Jobs
    to `jobs`, and a page is told of each."""
    path = write(folder / "big" / "ledger.jsonl", [begins(), *many(jobs)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: 1 + 2 * settled]))
    with reviewing(path, folder) as running:
        events = running.events()
        _wait_for(events, settled)
        before = running.resident_bytes()
        for upto in range(settled + step, jobs + 1, step):
            with path.open("ab") as file:
                file.writelines(lines[1 + 2 * (upto - step) : 1 + 2 * upto])
            _wait_for(events, upto)
        return running.resident_bytes() - before


def _wait_for(events: Iterator[tuple[str, Any]], done: int) -> None:
    """Read on until so many Jobs are told to be done."""
    for name, content in events:
        assert name != "trouble", content
        if name == "progress" and content["outcomes"].get("done", 0) >= done:
            return
    raise AssertionError("the stream of events ended")
