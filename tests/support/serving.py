"""`retouch serve` as a real process, for tests that need a socket."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY = re.compile(r"retouch rehearsal service on (http://\S+)/v1")


@dataclass(frozen=True)
class Served:
    """A running server: its process and its address without /v1."""

    process: subprocess.Popen[str]
    root: str

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def peak_bytes(self) -> int:
        """The most memory it ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found.group(1)) * 1024


@contextmanager
def serving(*flags: str) -> Iterator[Served]:
    """A server on a free port, stopped at the end."""
    command = [sys.executable, "-m", "retouch", "serve", "--port", "0", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        ready = _READY.search(line)
        assert ready, line + process.stderr.read()
        served = Served(process, ready.group(1))
        try:
            yield served
        finally:
            served.stop()
