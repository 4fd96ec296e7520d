"""A real Ray cluster on this machine, a process (and its workers) a node; killed as machines die.

`python -m tests.support.ray_nodes NODES CPUS` starts it in a process of its own, says its address
and where its nodes' processes are, and ends it when stdin is closed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.forked import ROOT

WORKER, HOLDER = "ray::Shard", "ray::Holder"


@dataclass(frozen=True, slots=True)
class Nodes:
    """A cluster: where it is, and the processes that are its nodes."""

    address: str
    raylets: tuple[int, ...]

    def workers(self) -> list[int]:
        """The processes that do shards, on all nodes."""
        return [pid for node in self.raylets for pid in children(node) if titled(pid, WORKER)]

    def kill_worker(self) -> int:
        """Kill one that works, with -9."""
        pid = self.workers()[-1]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_node(self) -> int:
        """Kill a node with all that is on it; not the one with the holder: that is the driver's."""
        for node in self.raylets:
            there = children(node)
            has_worker = any(titled(pid, WORKER) for pid in there)
            if has_worker and not any(titled(pid, HOLDER) for pid in there):
                for pid in (node, *there):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return node
        raise AssertionError("no node has workers alone")


def titled(pid: int, title: str) -> bool:
    """Whether a process calls itself so."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode())
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The children of a process; none where it is not there."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for task in tasks for one in (task / "children").read_text().split()]
    except OSError:
        return []


@contextmanager
def ray_nodes(count: int, processors: int) -> Iterator[Nodes]:
    """A cluster of so many nodes until the end of the block."""
    words = [sys.executable, "-m", "tests.support.ray_nodes", str(count), str(processors)]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = next(line for line in process.stdout if line.startswith("{"))
            found = json.loads(said)
            yield Nodes(found["address"], tuple(found["raylets"]))
        finally:
            process.stdin.close()
            process.wait(60)


def _patiently(add: Callable[[], Any]) -> Any:
    """Ray gives a node half a minute to begin, which a busy machine may need longer for."""
    for _ in range(5):
        try:
            return add()
        except Exception as error:
            sys.stderr.write(f"a node did not begin: {error}\n")
    raise AssertionError("no node began")


def main(count: int, processors: int) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - takes a second

    terms: dict[str, Any] = {
        "num_cpus": processors,
        "object_store_memory": 80 * 1024 * 1024,
        "include_dashboard": False,
    }
    cluster: Any = Cluster()
    nodes = [_patiently(partial(cluster.add_node, **terms)) for _ in range(count)]
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
