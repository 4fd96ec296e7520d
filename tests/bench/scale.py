"""`python -m tests.bench.scale`: what a million jobs cost, each command a process of its own.

    --jobs N      how many (default 1,000,000; N / 10 sources, 5 prompts, 2 models)
    --shards N    sent by so many processes side by side (default 1: no shards)
    --fewer N     the smaller size that bytes a job are the difference to (default: a fifth)
    --tasks N     tasks of a provider in flight at once (default 10,000)
    --json        for programs

A million take an hour or so: a whole small job costs 3.5 ms of CPU, and this sends them all. CPU
is that of the command alone (user + system), of all shards together; the server has a process of
its own.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

import retouch
from tests.bench.scale_ledger import FOLDER_OF, NAME, picture
from tests.bench.scale_server import serving

PROMPTS = ("make it white", "put snow on the {stem}", "a blue sky", "at night", "in heavy rain")
MODELS = ("gemini-2.5-flash-image", "gemini-3.0-pro-image-preview")
EACH = len(PROMPTS) * len(MODELS)
PRICE = {"currency": "CNY", "per_image": 0.25}
AT_ONCE = 32  # requests of a lane in flight
_MB = 1 << 20
# Between the bench and the command: a process begins with the peak memory of the one it is made by.
_LAUNCHED = """
import json, os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, used = os.wait4(process, 0)
cpu = used.ru_utime + used.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), cpu, used.ru_maxrss * 1024]))
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one command took: seconds of CPU and by the clock, and its peak memory in bytes.

    `job_bytes` is how much more memory each job of the larger size takes than of the smaller.
    """

    name: str
    jobs: int
    cpu_seconds: float
    seconds: float
    peak_bytes: int
    job_bytes: float | None = None
    note: str = ""

    @property
    def job_microseconds(self) -> float:
        """CPU."""
        return self.cpu_seconds / self.jobs * 1e6


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-scale")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--fewer", type=int)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    rows = measure(asked.jobs, asked.fewer or asked.jobs // 5, asked.tasks, asked.shards)
    if asked.json:
        told = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        table = Table(
            "what", "jobs", "CPU", "a job", "by the clock", "peak", "bytes a job", "", box=None
        )
        for row in rows:
            table.add_row(*_cells(row))
        console = Console(width=None if sys.stdout.isatty() else 150)
        console.print(table)
        console.print(machine())
    return 0


def machine() -> str:
    """What the figures hold for."""
    day = f"{datetime.now():%Y-%m-%d}"  # noqa: DTZ005 - the day here
    return (
        f"{day}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}"
    )


def _cells(row: Spent) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.jobs:,}",
        f"{row.cpu_seconds:.1f} s",
        f"{row.job_microseconds:,.1f} µs",
        f"{row.seconds:.1f} s",
        f"{row.peak_bytes / _MB:.0f} MB",
        "" if row.job_bytes is None else f"{row.job_bytes:,.0f}",
        row.note,
    )


def measure(jobs: int, fewer: int, tasks: int, shards: int = 1) -> list[Spent]:
    """Every command over so many jobs; bytes a job against the same over `fewer`."""
    compileall.compile_dir(Path(retouch.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("RETOUCH_BENCH") or None) as name:
        few = _life(Path(name) / "fewer", fewer, shards) if fewer else ()
        small = {row.name: row for row in few}
        many = _life(Path(name) / "jobs", jobs, shards)
        rows = [_compared(row, small.get(row.name)) for row in many]
        if tasks:
            rows.append(_tasks(Path(name) / "tasks", tasks))
        return rows


def _compared(row: Spent, small: Spent | None) -> Spent:
    if small is None or row.jobs <= small.jobs:
        return row
    more = (row.peak_bytes - small.peak_bytes) / (row.jobs - small.jobs)
    return Spent(row.name, row.jobs, row.cpu_seconds, row.seconds, row.peak_bytes, more, row.note)


def _life(folder: Path, jobs: int, shards: int) -> Iterator[Spent]:
    """A manifest planned, run, looked at and run again."""
    count = jobs // EACH
    files = _sources(folder, count)
    yield _reference(files, jobs)
    with serving() as server:
        words = _manifest(folder, server.port)
        yield _spent("plan, each picture read", jobs, "plan", *words)
        yield _spent("plan, digests cached", jobs, "plan", *words)
        began = time.time()
        run = _sent(jobs, shards, words)
        first = min(map(_first_sent, (folder / "outputs" / NAME).glob("ledger*.jsonl")))
        yield _noted(run, f"first job sent after {first - began:.1f} s")
    assert server.book["edits"] == jobs, server.book
    yield _spent("status", jobs, "status", *words)
    yield _spent("report", jobs, "report", *words, "--json")
    yield _spent("verify, each picture read", jobs, "verify", *words)
    yield _spent("plan of what is done", jobs, "plan", *words)
    yield _spent("run again", jobs, "run", *words, "--yes", "--no-report")


def _sent(jobs: int, shards: int, words: list[str]) -> Spent:
    """The run, or its shards side by side: their CPU together, the largest one's memory."""
    given = ("run", *words, "--yes", "--no-report")
    if shards == 1:
        return _spent("run", jobs, *given)
    with ThreadPoolExecutor(shards) as pool:
        numbers = range(1, shards + 1)
        parts = [
            pool.submit(_spent, "", jobs, *given, "--shard", f"{number}/{shards}")
            for number in numbers
        ]
        rows = [each.result() for each in parts]
    return Spent(
        f"run, as {shards} shards side by side",
        jobs,
        sum(row.cpu_seconds for row in rows),
        max(row.seconds for row in rows),
        max(row.peak_bytes for row in rows),
    )


def _tasks(folder: Path, count: int) -> Spent:
    """So many tasks of a provider in flight at once, polled to their ends."""
    folder.mkdir(parents=True)
    urls = (f"https://pictures.example/{number:07}.png" for number in range(count))
    (folder / "urls.txt").write_text("\n".join(urls) + "\n", "utf-8")
    with serving(count) as server:
        model = {"model": "kling-v2", "limits": {"concurrency": count}, "price": dict(PRICE)}
        given = {"inputs": [{"urls": "urls.txt"}], "models": [model], "prompts": PROMPTS[:1]}
        words = _manifest(folder, server.port, **given)
        row = _spent("tasks in flight", count, "run", *words, "--yes", "--no-report")
    book = server.book
    assert (book["tasks"], book["never_polled"]) == (count, 0), book
    return _noted(
        row,
        f"{book['polls']:,} polls, at most {book['polls_in_a_second']} in a second; "
        f"longest pause of one {book['longest_pause']:.0f} s",
    )


def _sources(folder: Path, count: int) -> list[Path]:
    files = []
    for number in range(count):
        path = folder / "pictures" / f"{number // FOLDER_OF:04}" / f"{number:07}.png"
        if number % FOLDER_OF == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(picture(number))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        files.append(path)
    return files


def _manifest(folder: Path, port: int, **more: Any) -> list[str]:
    """A manifest over all pictures below `folder`; `more` replaces its parts."""
    prompts = more.pop("prompts", PROMPTS)
    document = {
        "version": 1,
        "name": NAME,
        "provider": {"dialect": "qiniu", "base_url": f"http://127.0.0.1:{port}/v1"},
        "inputs": [{"glob": "pictures/**/*.png"}],
        "prompts": [{"id": f"p{at}", "template": text} for at, text in enumerate(prompts)],
        "models": [
            {"model": name, "limits": {"concurrency": AT_ONCE}, "price": dict(PRICE)}
            for name in MODELS
        ],
        **more,
    }
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return [str(path), "--outputs", str(folder / "outputs")]


def _spent(name: str, jobs: int, command: str, *words: str) -> Spent:
    """One command, in a process of its own. Raises AssertionError where it fails."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as said:
        told = subprocess.run(
            [sys.executable, "-S", "-E", "-c", _LAUNCHED, sys.executable, "-m", "retouch", command,
             *words],
            stdout=subprocess.PIPE, stderr=said, check=True,
            env=_environment(),
        ).stdout  # fmt: skip
        status, cpu, peak = json.loads(told)
        said.seek(0)
        assert status == 0, said.read().decode()[-2000:]
    return Spent(name, jobs, cpu, time.monotonic() - begun, peak)


def _environment() -> dict[str, str]:
    """Each command's: modules are compiled once, as on any machine, whatever is said here."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OPENAI_API_KEY": "none-is-asked-for"}


def _noted(row: Spent, note: str) -> Spent:
    return Spent(row.name, row.jobs, row.cpu_seconds, row.seconds, row.peak_bytes, None, note)


def _first_sent(ledger: Path) -> float:
    """When the first job was begun, in seconds since 1970."""
    with ledger.open("rb") as lines:
        first = next(json.loads(line) for line in lines if b'"event":"started"' in line)
    return datetime.fromisoformat(first["at"]).timestamp()


def _reference(files: list[Path], jobs: int) -> Spent:
    """What one would write: each file looked at, the product gone through, and each job's JSON
    hashed for its key and its path kept to find one that two share; nothing is checked."""
    begun, clock = time.process_time(), time.monotonic()
    facts = [(path.stem, path.stat().st_size) for path in files]
    places: set[str] = set()
    keys = 0
    for (stem, size), prompt, model in itertools.product(facts, PROMPTS, MODELS):
        asked = {"prompt": prompt.format(stem=stem), "model": model, "image": stem, "size": size}
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        keys += bool(digest)
        places.add(f"images/{model}/{prompt}/{stem}-0")
    assert keys == len(places) == jobs
    spent = time.process_time() - begun
    return Spent("(itertools, json, hashlib)", jobs, spent, time.monotonic() - clock, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
