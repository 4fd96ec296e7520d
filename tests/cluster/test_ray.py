"""A run on a real Ray cluster: it leaves what a run on one machine does, and ends as one does. That
machines are lost is proved in `make torture` (tests/proofs/crew), and without Ray in test_hands."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from retouch.cluster.wire import LEASE_SECONDS
from retouch.ledger import read
from retouch.storage.part import ledgers_in
from tests.e2e.house import CANARY, House, house

TIMES = {"at", "run", "prev", "seconds", "cost", "usage"}  # what two runs may differ in


def holding(text: str, folder: Path) -> list[Path]:
    """The files below a folder that hold it."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if text.encode() in path.read_bytes()]


def events(place: House, outputs: str) -> dict[str, list[dict[str, Any]]]:
    """By Job, its records without what belongs to the moment; and those of runs, under ""."""
    found = defaultdict(list)
    for ledger in ledgers_in(place.folder / outputs / "manifest"):
        for line in ledger.read_text().splitlines():
            record = json.loads(line)
            kept = {name: value for name, value in record.items() if name not in TIMES}
            found[record.get("key", "")].append(kept)
    return found


@pytest.fixture
def kept_by_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where Ray keeps its logs and all else, by a short name, for its sockets' sake."""
    with tempfile.TemporaryDirectory(prefix="rt") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


def test_a_run_by_workers_leaves_what_a_run_on_one_machine_does(
    tmp_path: Path, kept_by_ray: Path
) -> None:
    """The same keys, records and files by their names; the beginning and end of a run, once a
    shard; and a second run, on one machine, has nothing to do. No file of Ray's knows the key."""
    with house(tmp_path, seconds=0.01) as place:
        place.pictures(10)
        place.manifest(
            "  - {model: gemini-2.5-flash-image, price: {currency: CNY, per_image: 0.1}}\n"
            "  - {model: kling-v2, poll: {interval: 0.1}, price: {currency: CNY, per_image: 0.2}}",
            run="{budget: {amount: 3, currency: CNY}}",
        )
        alone = place.retouch("run", "--no-report", "--outputs", "alone")
        crew = place.start_anew("run", "--no-report", "--ray", "--workers", "2")
        out, errors = crew.communicate(timeout=120)
        assert (alone.returncode, crew.returncode) == (0, 0), (alone.stderr, errors)
        assert not out
        assert list(kept_by_ray.rglob("*.log"))
        assert not holding(CANARY, kept_by_ray)
        mine, theirs = events(place, "outputs"), events(place, "alone")
        assert without_pictures(mine) == without_pictures(theirs)
        assert len({record["event"] for record in mine[""]}) == 2
        assert not read(place.outputs / "ledger.jsonl").open_charges
        assert Counter(charge.request for charge in place.book).most_common(1)[0][1] == 2
        again = place.retouch("run", "--no-report")
        assert again.returncode == 0
        assert "nothing to send: 20 done" in again.stderr
        assert len(place.book) == 40


def without_pictures(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    """Each Job's events, with its files by their names: the provider's pictures are all different,
    and its tasks' numbers."""
    return {
        key: [
            (record["event"], record["model"], record["prompt"], record["source"],
             [file["path"] for file in record.get("files", ())])
            for record in records if record["event"] in ("started", "done")
        ]
        for key, records in found.items() if key
    }  # fmt: skip


def test_ctrl_c_ends_every_worker_in_order(tmp_path: Path) -> None:
    """To the whole process group, as a terminal sends it: what is in flight ends, nothing is
    unknown, and nothing else is sent."""
    with house(tmp_path, seconds=0.5) as place:
        place.pictures(100)
        place.manifest("  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}")
        process = place.start_anew("run", "--no-report", "--ray", "--workers", "2")
        try:
            until = time.monotonic() + 150  # Ray takes its time to begin on a busy machine
            while len(place.book) < 4 and time.monotonic() < until:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            out, errors = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == 130, errors
        assert not out
        counts = read(place.outputs / "ledger.jsonl").counts()
        assert set(counts) == {"done"}
        assert counts["done"] == len(place.book) < 100
        assert "interrupted; run again to go on" in errors


def test_a_second_ctrl_c_ends_every_worker_now(tmp_path: Path) -> None:
    """What is in flight is let go: unknown, each one on file, none sent again by the next run."""
    with house(tmp_path, seconds=60) as place:
        place.pictures(30)
        place.manifest("  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}")
        process = place.start_anew("run", "--no-report", "--ray", "--workers", "2")
        try:
            until = time.monotonic() + 150
            while place.posts_arrived() < 4 and time.monotonic() < until:
                time.sleep(0.05)
            first = time.monotonic()
            with suppress(ProcessLookupError):
                while process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                    time.sleep(1.5)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode == 130, errors
        assert time.monotonic() - first < 45, "it waited for the answers"
        state = read(place.outputs / "ledger.jsonl")
        assert state.counts() == {"unknown": 4} == {"unknown": place.posts_arrived()}
        assert "4 unknown" in errors


def test_a_rehearsal_by_workers_buys_nothing_and_ends_as_one_on_one_machine(
    tmp_path: Path,
) -> None:
    with house(tmp_path) as place:
        place.pictures(6)
        place.manifest(
            "  - {model: gemini-2.5-flash-image}\n  - {model: kling-v2, poll: {interval: 0.1}}"
        )
        words = ("run", "--no-report", "--rehearse", "--outputs")
        alone = place.retouch(*words, "alone")
        crew = place.start_anew(*words, "outputs", "--ray", "--workers", "2")
        _, errors = crew.communicate(timeout=180)
        assert (alone.returncode, crew.returncode) == (0, 0), (alone.stderr, errors)
        assert not place.book
        assert files_of(place, "outputs") == files_of(place, "alone")
        assert len(files_of(place, "alone")) == 12


def files_of(place: House, outputs: str) -> dict[str, str]:
    """The pictures that the ledgers speak of: by path, their SHA-256."""
    return {
        file["path"]: file["sha256"]
        for ledger in ledgers_in(place.folder / outputs / "manifest.rehearsal")
        for record in map(json.loads, ledger.read_text().splitlines())
        if record["event"] == "done"
        for file in record["files"]
    }  # fmt: skip


def test_a_driver_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    """No signal is heard, nothing is told: the workers' leases run out and Ray ends them, nothing
    is sent any more, and a run on one machine goes on, with nothing bought twice."""
    with house(tmp_path, seconds=1) as place:
        place.pictures(100)
        place.manifest("  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}")
        driver = place.start_anew("run", "--no-report", "--ray", "--workers", "2")
        until = time.monotonic() + 150
        while len(place.book) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        driver.kill()
        driver.communicate(timeout=60)
        until = time.monotonic() + LEASE_SECONDS + 30
        bought, quiet = -1, 0
        while quiet < 8 and time.monotonic() < until:
            time.sleep(0.25)
            quiet = quiet + 1 if len(place.book) == bought else 0
            bought = len(place.book)
        assert 4 <= bought < 100
        place.manifest("  - {model: gemini-2.5-flash-image, limits: {concurrency: 50}}")
        on = place.retouch("run", "--no-report")
        while on.returncode == 4 and time.monotonic() < until:  # a lock that is not let go yet
            time.sleep(0.5)
            on = place.retouch("run", "--no-report")
        assert on.returncode in (0, 1), on.stderr
        counts = read(place.outputs / "ledger.jsonl").counts()
        assert counts["done"] + counts["unknown"] == 100
        assert counts["unknown"] <= 4
        assert max(Counter(charge.request for charge in place.book).values()) == 1
