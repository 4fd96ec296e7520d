"""Data sets of 100,000 tiny pictures: planned with splits and leaks, and exported.

Seconds are CPU's, of all threads. The references do the least that could do: hash every source,
or copy every picture with its SHA-256. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from retouch.dialects import DIALECTS
from retouch.manifest import load
from retouch.plan import DigestCache, build
from tests.bench.measured import Measured
from tests.support.large_sets import finished, manifest, tree

SOURCES = 100_000
FEWER = SOURCES // 10
FORMAT = "webdataset"
MEMORY = Path("/dev/shm")  # noqa: S108 - made unguessable below


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        return [_planned(Path(name) / "plan"), _exported(Path(name) / "export")]


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _planned(folder: Path) -> Measured:
    """Named, hashed, decoded, compared across splits, checked for each prompt and path."""
    tree(folder / "pictures", SOURCES)
    loaded = load(manifest(folder, folder / "pictures"))

    def plan() -> None:
        with DigestCache.open(folder / "outputs") as cache:
            found = build(loaded, DIALECTS["qiniu"], outputs=folder / "outputs", cache=cache)
        assert (found.sources, found.problems) == (SOURCES, ())

    def hashed() -> None:
        for path in _files(folder / "pictures"):
            hashlib.sha256(path.read_bytes()).hexdigest()

    reference = cpu_seconds(hashed)
    name = f"{SOURCES:,} sources planned, splits and leaks"
    found = Measured(name, cpu_seconds(plan), "hashing them", reference, SOURCES)
    shutil.rmtree(folder)
    return found


def _exported(folder: Path) -> Measured:
    """The same to a tenth of the pictures says whether memory grows with their number."""
    peaks: dict[int, int] = {}
    seconds = reference = 0.0
    for count in (FEWER, SOURCES):
        place = folder / str(count)
        place.mkdir(parents=True)
        words = finished(place, count)
        seconds, peaks[count] = _run("export", *words, "--to", f"{place}/out", "--format", FORMAT)
        pictures = place / "outputs/large/images"
        reference = cpu_seconds(lambda: _copied(_files(pictures), place / "copies"))  # noqa: B023
        shutil.rmtree(place)
    told = ", ".join(f"{megabytes} MB at {count:,}" for count, megabytes in peaks.items())
    return Measured(
        f"{SOURCES:,} pictures exported ({told})",
        seconds,
        "copying and hashing them",
        reference,
        SOURCES,
    )


MEASURED = r"""
import re, resource, sys
from retouch.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(used.ru_utime + used.ru_stime, int(peak) // 1024)
sys.exit(code)
"""
# A process's own ru_maxrss would not do: it begins with what its parent held.


def _run(*words: str) -> tuple[float, int]:
    """A command's CPU seconds and its peak memory in MB."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True
    )
    seconds, megabytes = ran.stdout.splitlines()[-1].split()
    return float(seconds), int(megabytes)


def _files(folder: Path) -> Iterable[Path]:
    return (Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _copied(files: Iterable[Path], to: Path) -> None:
    to.mkdir()
    for number, path in enumerate(files):
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        (to / f"{number}.png").write_bytes(data)
