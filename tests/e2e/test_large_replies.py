"""Replies of tens of megabytes through the real program: memory, bytes, and a death half-way.

The oracle is the server's book, and the peak that the kernel counts for the process.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from retouch.ledger import read
from tests.support.raw_server import Peer, Server, serving

SOURCES = 6
MANIFEST = """
version: 1
name: large
provider: {{dialect: {dialect}, base_url: "http://127.0.0.1:{port}/v1", api_key_env: null}}
inputs: [{{glob: "sources/*.png"}}]
prompts: [{{id: warm, template: Make it warmer}}]
models: [{{model: {model}, price: {{local: true}}, limits: {{concurrency: {sources}}}}}]
run: {{memory: {memory}, timeout: 60}}
"""


def picture(folder: Path, side: int) -> bytes:
    """A PNG of noise, about three bytes a pixel."""
    path = folder / f"{side}.png"
    noise = Image.frombytes("RGB", (side, side), os.urandom(side * side * 3))
    noise.save(path, compress_level=0)
    return path.read_bytes()


@dataclass
class Bench:
    """A folder with a manifest for the server."""

    folder: Path
    server: Server

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs/large"

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "retouch", *words, "large.yaml"]
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self) -> int:
        """Run it to its end; the most memory that it held, in bytes."""
        process = self.start("run")
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        assert process.returncode == 0, said.decode()
        return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def bench(
    folder: Path,
    script: object,
    *,
    memory: str = "16MB",
    sources: int = SOURCES,
    dialect: str = "openai",
    model: str = "qwen-image-edit",
) -> Iterator[Bench]:
    folder.mkdir()
    (folder / "sources").mkdir()
    for index in range(sources):
        Image.new("RGB", (320, 320), (index, 9, 9)).save(folder / f"sources/{index}.png")
    with serving(script) as server:  # type: ignore[arg-type]
        text = MANIFEST.format(
            dialect=dialect,
            model=model,
            port=server.port,
            memory=memory,
            sources=sources,
        )
        (folder / "large.yaml").write_text(text)
        yield Bench(folder, server)


def answering(data: bytes, together: int = 1) -> object:
    """Answers each edit with the picture, so many of them at the same time."""
    body = json.dumps({"data": [{"b64_json": base64.b64encode(data).decode()}]}).encode()
    all_here = threading.Barrier(together)

    def script(peer: Peer) -> None:
        heard = peer.read_request()
        if heard.head.startswith("GET"):
            return peer.answer(status="404 Not Found", headers="Connection: close\r\n")
        all_here.wait(60)
        return peer.answer(body, headers="Connection: close\r\n")

    return script


def test_large_replies_at_once_take_little_more_memory_than_one_and_come_whole(
    tmp_path: Path,
) -> None:
    """Six of 16 MB of base64 under `run.memory: 16MB`; each is kept byte for byte. (At its end a
    run looks at some of its pictures, two at a time.)"""
    large = picture(tmp_path, 2000)
    with bench(tmp_path / "one", answering(large), sources=1) as one:
        base = one.run()
    with bench(tmp_path / "six", answering(large, SOURCES)) as six:
        peak = six.run()
        kept = list(six.outputs.rglob("*.png"))
        assert len(kept) == SOURCES
        assert all(file.read_bytes() == large for file in kept)
        assert not list(six.outputs.rglob("*.part"))
    assert peak - base < 64_000_000, f"{(peak - base) / 1e6:.0f} MB more"


def handing_out(data: bytes) -> object:
    """Takes each edit as a task, whose first poll brings the picture itself."""
    encoded = base64.b64encode(data).decode()
    done = json.dumps({"status": "succeed", "data": [{"index": 0, "b64_json": encoded}]}).encode()

    def script(peer: Peer) -> None:
        if peer.read_request().head.startswith("POST"):
            task = json.dumps({"task_id": f"t{peer.number}"}).encode()
            return peer.answer(task, headers="Connection: close\r\n")
        return peer.answer(done, headers="Connection: close\r\n")

    return script


def test_large_pictures_in_replies_to_polls_take_no_more_memory(tmp_path: Path) -> None:
    """As those of edits that are answered at once: they pass by the room that a run has."""
    large, kling = picture(tmp_path, 2000), {"dialect": "qiniu", "model": "kling-v2"}
    with bench(tmp_path / "one", handing_out(large), sources=1, **kling) as one:
        base = one.run()
    with bench(tmp_path / "six", handing_out(large), **kling) as six:  # type: ignore[arg-type]
        peak = six.run()
        kept = list(six.outputs.rglob("*.png"))
        assert len(kept) == SOURCES
        assert all(file.read_bytes() == large for file in kept)
    assert peak - base < 64_000_000, f"{(peak - base) / 1e6:.0f} MB more"


@pytest.mark.parametrize("sent_share", [0.4, 0.9])
def test_a_death_while_a_large_reply_comes_leaves_no_picture(
    tmp_path: Path, sent_share: float
) -> None:
    """`kill -9` half-way: what had come of it is no picture, the job is unknown, and is not bought
    again by itself."""
    body = json.dumps({"data": [{"b64_json": base64.b64encode(os.urandom(16_000_000)).decode()}]})
    begun, over = threading.Event(), threading.Event()

    def half(peer: Peer) -> None:
        heard = peer.read_request()
        if heard.head.startswith("GET"):
            return peer.answer(status="404 Not Found", headers="Connection: close\r\n")
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        peer.send(body[: int(len(body) * sent_share)].encode())
        begun.set()
        over.wait(60)
        return None

    with bench(tmp_path / "dies", half, sources=1) as one:
        process = one.start("run")
        assert begun.wait(60)
        process.kill()
        process.communicate()
        over.set()
        posted = [heard for heard in one.server.book if heard.head.startswith("POST")]
        assert len(posted) == 1
        again = one.start("run")
        said, _ = again.communicate(timeout=60)
        assert again.returncode == 1, said.decode()
        posted = [heard for heard in one.server.book if heard.head.startswith("POST")]
        assert len(posted) == 1
        assert not list(one.outputs.rglob("*.png"))
        assert read(one.outputs / "ledger.jsonl").counts()["unknown"] == 1


def test_a_large_reply_that_holds_no_picture_is_in_quarantine_as_it_came(tmp_path: Path) -> None:
    """Megabytes that were decoded as they came, into a file: the reply is put together again."""
    body = json.dumps(
        {"data": [{"b64_json": base64.b64encode(os.urandom(9_000_001)).decode()}], "more": "猫"}
    ).encode()

    def script(peer: Peer) -> None:
        heard = peer.read_request()
        if heard.head.startswith("GET"):
            return peer.answer(status="404 Not Found", headers="Connection: close\r\n")
        return peer.answer(body, headers="Connection: close\r\n")

    with bench(tmp_path / "none", script, sources=1) as one:
        process = one.start("run")
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 1, said.decode()
        (kept,) = (one.outputs / "quarantine").iterdir()
        assert kept.read_bytes() == body
        assert not list(one.outputs.rglob("*.part"))
        assert not list(one.outputs.rglob("*.png"))
