"""A network that drops what it is given, in silence: two namespaces, and a wire that is cut after
the body was sent. The oracle is the provider's book, beyond the wire."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.house import House, served
from tests.e2e.provider_server import serve
from tests.support.authority import authority
from tests.support.namespaces import THERE, Wire, wired

FOUR = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}"
TASKS = "  - {model: kling-v2, limits: {concurrency: 4}, poll: {interval: 0.3, timeout: 30}}"


@dataclass(frozen=True, slots=True)
class Far:
    """A House here, whose provider is at the other end of the wire."""

    place: House
    wire: Wire

    def start(self) -> subprocess.Popen[str]:
        inside = ["ip", "netns", "exec", self.wire.here, sys.executable, "-m", "retouch"]
        return self.place.start_program(
            [*inside, "run", "manifest.yaml"], {"SSL_CERT_FILE": "company-ca.pem"}
        )

    def run(self) -> tuple[int, str]:
        """A run to its end: its exit code and what it said."""
        process = self.start()
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    """By TLS, as the key goes over no wire without it."""
    with wired() as wire:
        certificate = str(authority(tmp_path, THERE).server)
        options = {"host": THERE, "certificate": certificate, "namespace": wire.path}
        with served(tmp_path, serve, seconds=2.0, task_seconds=1.0, **options) as made:
            place = House(tmp_path, made.port, f"https://{THERE}:{made.port}/v1")
            place.pictures(4)
            yield Far(place, wire)


def cut_when_all_was_sent(far: Far, process: subprocess.Popen[str]) -> None:
    far.place.wait_until(lambda: far.place.posts_arrived() == 4, process)
    far.wire.cut()


def test_answers_that_are_dropped_are_said_and_held(far: Far) -> None:
    """No packet comes back: unknown after `timeout`, four charges in the book, none bought again
    once the network is back, until the user says so."""
    place = far.place
    place.manifest(FOUR, run="{timeout: 4}", provider="trust_env: true")
    process = far.start()
    cut_when_all_was_sent(far, process)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert place.state.counts() == Counter(unknown=4), errors
    assert "all was sent, no answer came within 4 s" in place.retouch("status").stdout
    far.wire.mend()
    code, errors = far.run()
    assert code == 1, errors
    assert (place.state.counts(), len(place.book)) == (Counter(unknown=4), 4)


def test_answers_that_come_late_are_kept(far: Far) -> None:
    """Cut for two seconds: what was dropped is sent again by TCP, and every picture is kept."""
    place = far.place
    place.manifest(FOUR, run="{timeout: 30, retries: 0}", provider="trust_env: true")
    process = far.start()
    cut_when_all_was_sent(far, process)
    place.wait_until(lambda: len(place.book) == 4, process)
    far.wire.mend()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (place.state.counts(), len(place.book)) == (Counter(done=4), 4)


def test_tasks_are_polled_on_when_the_network_is_back(far: Far) -> None:
    """Cut while tasks are out: no poll is answered; the run goes on asking, and none is submitted
    again."""
    place = far.place
    place.manifest(TASKS, provider="trust_env: true")
    process = far.start()
    place.wait_until(lambda: place.state.counts() == Counter(accepted=4), process)
    far.wire.cut(far.wire.here)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    far.wire.mend(far.wire.here)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (place.state.counts(), len(place.book)) == (Counter(done=4), 4)
