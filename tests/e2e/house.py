"""The real program in real processes: a folder with pictures, a manifest and a provider."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from retouch.ledger import Reader
from retouch.ledger.state import Replay, replay
from tests.e2e import forked
from tests.e2e.provider_server import serve
from tests.support.provider import Charge

CANARY = "sk-canary-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class House:
    """A project folder: `manifest.yaml`, `pictures/`, `outputs/`, and the provider's book."""

    folder: Path
    port: int = 0
    base_url: str = ""  # default: plain http on this machine

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

    def release(self) -> None:
        """Let a provider that was `held_after` some answers answer all."""
        (self.folder / "book.released").touch()

    def pictures(self, count: int) -> None:
        """`count` different pictures that any model takes."""
        (self.folder / "pictures").mkdir()
        for index in range(count):
            colour = (index * 40 % 256, index * 7 % 256, 90)
            Image.new("RGB", (300, 300), colour).save(self.folder / f"pictures/{index:03}.png")

    def manifest(
        self,
        models: str,
        *,
        prompts: int = 1,
        run: str = "{}",
        dialect: str = "qiniu",
        provider: str = "",
    ) -> None:
        """A manifest over the pictures, for the provider; `provider`: more about it."""
        base_url = self.base_url or f"http://127.0.0.1:{self.port}/v1"
        provider = provider and f", {provider}"
        lines = "\n".join(f"  - {{id: p{one}, template: edit {one}}}" for one in range(prompts))
        (self.folder / "manifest.yaml").write_text(
            "version: 1\n"
            f"provider: {{dialect: {dialect}, base_url: '{base_url}'{provider}}}\n"
            "inputs: [{glob: pictures/*.png}]\n"
            f"prompts:\n{lines}\n"
            f"models:\n{models}\n"
            f"run: {run}\n"
        )

    def start(self, command: str, *arguments: str) -> forked.Forked:
        """Start `retouch COMMAND manifest.yaml ...`, in a session of its own."""
        return forked.program((command, "manifest.yaml", *arguments), self.folder, self._variables)

    def start_anew(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """The same from a new interpreter, whose own beginning and end are looked at, too."""
        words = [sys.executable, "-m", "retouch", command, "manifest.yaml", *arguments]
        return self.start_program(words)

    def start_program(
        self, words: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Any program in the folder, in a session of its own."""
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=self._variables | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def retouch(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `retouch COMMAND manifest.yaml ...` to its end."""
        process = self.start(command, *arguments)
        out, errors = process.communicate(timeout=120)
        assert process.returncode is not None
        return subprocess.CompletedProcess(command, process.returncode, out, errors)

    def retouch_on(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `retouch WORDS...`, which names no manifest, to its end."""
        process = forked.program(words, self.folder, self._variables)
        out, errors = process.communicate(timeout=120)
        assert process.returncode is not None
        return subprocess.CompletedProcess(words[0], process.returncode, out, errors)

    def wait_until(
        self, so: Callable[[], bool], process: forked.Forked | subprocess.Popen[str]
    ) -> None:
        """Wait until it is so; a process that has ended before, or hangs, fails the test."""
        patience = time.monotonic() + 60
        while not so():
            if process.poll() is not None and not so():
                raise AssertionError(process.communicate())
            assert time.monotonic() < patience
            time.sleep(0.01)

    @property
    def _variables(self) -> dict[str, str]:
        return os.environ | {"OPENAI_API_KEY": CANARY, "NO_COLOR": "1"}


@contextmanager
def served(folder: Path, server: Callable[..., None], **options: Any) -> Iterator[House]:
    """A House whose provider is another process: `server(port, book, **options)`."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        process = forked.start(server, sender, folder / "book.jsonl", **options)
        sender.close()
        port = receiver.recv()
    try:
        yield House(folder, port)
    finally:
        process.kill()
        process.join()


@contextmanager
def house(folder: Path, **options: float | str) -> Iterator[House]:
    """A House with the tests' provider until the end of the block."""
    with served(folder, serve, **options) as place:
        yield place
