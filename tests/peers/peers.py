"""Servers that nobody here wrote, as real processes, and runs of the real program against them.

`RETOUCH_PEERS` is the folder that `make peers` fills from the two locks beside this file.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from retouch.ledger import read
from retouch.ledger.state import Replay

PEERS = Path(os.environ.get("RETOUCH_PEERS", "."))
KEY = "word-of-the-peer"
UP_SECONDS = 240.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], ready: str, log: Path, **environment: str) -> Iterator[None]:
    """A peer's process, from when `ready` answers at all to the end of the block."""
    held = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    with (
        log.open("wb") as told,
        subprocess.Popen(command, stdout=told, stderr=told, env=held | environment) as process,
    ):
        try:
            _wait(process, ready, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    until = time.monotonic() + UP_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            httpx.get(ready, trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the peer did not come up:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def node(*words: str) -> list[str]:
    """A command of the Node.js and the packages that the locks name."""
    module, *rest = words
    return [str(PEERS / "python/bin/node"), str(PEERS / "node_modules/.bin" / module), *rest]


@dataclass(frozen=True)
class Sent:
    """A run that has ended: its exit code, what it said, and its ledger."""

    code: int
    said: str
    outputs: Path

    @property
    def state(self) -> Replay:
        return read(self.outputs / "ledger.jsonl")

    @property
    def records(self) -> list[dict[str, Any]]:
        lines = (self.outputs / "ledger.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def ended(self, event: str) -> list[dict[str, Any]]:
        """The records of one kind."""
        return [record for record in self.records if record["event"] == event]

    @property
    def confirmed(self) -> Decimal:
        """The sum of what the ledger says was charged."""
        ended = self.ended("done") + self.ended("failed")
        costs = (record["cost"] for record in ended if record["cost"])
        return sum((Decimal(cost["amount"]) for cost in costs), Decimal(0))

    def picture(self, name: str) -> Image.Image:
        """One of the pictures kept, by the stem of its source."""
        found = sorted((self.outputs / "images").rglob(f"{name}*-0.*"))
        with Image.open(found[0]) as opened:
            return opened.convert("RGB")


MANIFEST = """
version: 1
name: {name}
provider: {{dialect: openai, base_url: "{base_url}", encoding: {encoding}, api_key_env: PEER_KEY}}
inputs: [{{glob: data/*.png{inputs}}}]
prompts: [{{id: warm, template: {prompt}}}]
models:
  - {{model: {model}, options: {options}, price: {price}}}
run: {{retries: 1}}
"""
BY_TOKENS = "{currency: USD, input_per_million: 8, output_per_million: 32}"
SOURCES = {"a": "orange", "b": "blue", "c": "green"}
WITH_ALL = ", mask: more/mask.png, images: [more/reference.png]"


def run(
    folder: Path,
    base_url: str,
    *,
    encoding: str = "multipart",
    inputs: str = "",
    prompt: str = "Make it warmer",
    model: str = "gpt-image-1.5",
    options: str = "{n: 1}",
    price: str = BY_TOKENS,
    key: str = KEY,
) -> Sent:
    """`retouch run` over three small pictures, as a process."""
    (folder / "data").mkdir()
    (folder / "more").mkdir()
    for name, colour in SOURCES.items():
        Image.new("RGB", (96, 64), colour).save(folder / f"data/{name}.png")
    Image.new("RGB", (96, 64), "red").save(folder / "more/reference.png")
    mask = Image.new("L", (96, 64), 0)
    mask.paste(255, (0, 0, 48, 64))
    mask.save(folder / "more/mask.png")
    manifest = folder / "peer.yaml"
    text = MANIFEST.format(
        name="peer", base_url=base_url, encoding=encoding, inputs=inputs, prompt=prompt,
        model=model, options=options, price=price,
    )  # fmt: skip
    manifest.write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "retouch", "run", str(manifest), "--outputs", str(folder), "--yes"],
        env=os.environ | {"PEER_KEY": key, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Sent(done.returncode, done.stdout + done.stderr, folder / "peer")
