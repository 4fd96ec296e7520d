"""The real program in real processes: a folder with pictures, a manifest and a provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from retouch.ledger import Reader
from retouch.replay import Replay, replay
from tests.provider import Charge

CANARY = "sk-canary-0123456789abcdef"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class House:
    """A project folder: `manifest.yaml`, `pictures/`, `outputs/`, and the provider's book."""

    folder: Path
    port: int = 0

    @property
    def book(self) -> list[Charge]:
        path = self.folder / "book.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Charge(**json.loads(line)) for line in lines]

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs" / "manifest"

    @property
    def state(self) -> Replay:
        return replay(Reader(self.outputs / "ledger.jsonl"))

    def posts_begun(self) -> int:
        """How many requests the ledger says were begun."""
        ledger = self.outputs / "ledger.jsonl"
        return ledger.read_bytes().count(b'"event":"started"') if ledger.exists() else 0

    def posts_arrived(self) -> int:
        """How many submits the provider has received whole, answered or not."""
        arrived = self.folder / "book.arrived"
        return len(arrived.read_text()) if arrived.exists() else 0

    def pictures(self, count: int) -> None:
        """`count` different pictures that any model takes."""
        (self.folder / "pictures").mkdir()
        for index in range(count):
            colour = (index * 40 % 256, index * 7 % 256, 90)
            Image.new("RGB", (300, 300), colour).save(self.folder / f"pictures/{index:03}.png")

    def manifest(self, models: str, *, prompts: int = 1, run: str = "{}") -> None:
        """A manifest over the pictures, for the provider."""
        lines = "\n".join(f"  - {{id: p{one}, template: edit {one}}}" for one in range(prompts))
        (self.folder / "manifest.yaml").write_text(
            "version: 1\n"
            f"provider: {{dialect: qiniu, base_url: 'http://127.0.0.1:{self.port}/v1'}}\n"
            "inputs: [{glob: pictures/*.png}]\n"
            f"prompts:\n{lines}\n"
            f"models:\n{models}\n"
            f"run: {run}\n"
        )

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Start `retouch COMMAND manifest.yaml ...`, in a session of its own."""
        words: Sequence[str] = (command, "manifest.yaml", *arguments)
        return subprocess.Popen(
            [sys.executable, "-m", "retouch", *words],
            cwd=self.folder,
            env=os.environ | {"OPENAI_API_KEY": CANARY, "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def retouch(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `retouch COMMAND manifest.yaml ...` to its end."""
        process = self.start(command, *arguments)
        out, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


@contextmanager
def house(folder: Path, *options: str) -> Iterator[House]:
    """A House whose provider runs in another process until the end of the block."""
    program = [sys.executable, "-m", "tests.e2e.provider_server"]
    command = [*program, "--book", str(folder / "book.jsonl"), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield House(folder, int(server.stdout.readline()))
        finally:
            server.kill()
