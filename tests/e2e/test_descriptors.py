"""A process that may open few files: nothing that is paid for is lost for want of a descriptor."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.house import House, house

RETOUCH = f"{sys.executable} -m retouch run manifest.yaml"


def limited(place: House, limits: str) -> tuple[int, str]:
    """A run in a shell with these limits: its exit code and what it said."""
    process = place.start_program(["bash", "-c", f"{limits}; exec {RETOUCH}"])
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors


@pytest.mark.parametrize("limits", ["ulimit -S -n 256", "ulimit -n 256"], ids=["soft", "hard"])
def test_with_256_descriptors_250_at_once_keep_all(tmp_path: Path, limits: str) -> None:
    """macOS gives a process 256: 1,000 jobs, 1,000 charges in the provider's book, 1,000 kept."""
    with house(tmp_path, seconds=0.5) as place:
        place.pictures(250)
        model = "{model: gemini-2.5-flash-image, limits: {concurrency: 250}}"
        place.manifest(f"  - {model}", prompts=4)
        code, errors = limited(place, limits)
        assert (place.state.counts(), len(place.book)) == (Counter(done=1000), 1000), errors
        assert code == 0
        assert "Traceback" not in errors


def test_more_at_once_than_descriptors_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """The sum of all lanes counts; the message says what to do."""
    with house(tmp_path) as place:
        place.pictures(1)
        lanes = [
            f"  - {{model: {name}, limits: {{concurrency: 70}}}}"
            for name in ("gemini-2.5-flash-image", "gemini-3.1-flash-image-preview")
        ]
        place.manifest("\n".join(lanes))
        code, errors = limited(place, "ulimit -n 128")
        assert code == 2
        assert "`concurrency` comes to 140, but this process may open 128 files" in errors
        assert "hint: `ulimit -n 396`" in errors
        assert place.book == []
        assert not (place.outputs / "ledger.jsonl").exists()


def test_what_lacks_a_descriptor_waits_for_one(tmp_path: Path) -> None:
    """Fewer descriptors than the files and connections at hand: slower, and all kept."""
    with house(tmp_path, seconds=0.05) as place:
        place.pictures(60)
        place.manifest("  - {model: gemini-2.5-flash-image, limits: {concurrency: 40}}")
        code, errors = limited(place, "ulimit -n 48")
        assert (place.state.counts(), len(place.book)) == (Counter(done=60), 60), errors
        assert code == 0
