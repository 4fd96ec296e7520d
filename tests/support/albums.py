"""Outputs folders made for tests of pages: sources, pictures, a ledger whose chain holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord, FileRecord
from retouch.review.thumbnails import Thumbnails
from tests.support.ledgers import FIRST, GEMINI, KLING, begins, done, failed, started, unknown
from tests.support.ledgers import write as write_ledger

PROMPTS = ("white", "snow")


def png(red: int, green: int, blue: int, size: tuple[int, int] = (48, 36)) -> bytes:
    """A small picture with some detail, so that it is not blank."""
    picture = Image.new("RGB", size, (red, green, blue))
    picture.paste((255 - red, 255 - green, 255 - blue), (0, 0, size[0] // 3, size[1] // 2))
    written = BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    """A picture's width and height in pixels."""
    with Image.open(BytesIO(data)) as picture:
        return picture.size


def key_of(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(slots=True)
class Album:
    """A manifest with its sources and a ledger beside pictures, below `root`."""

    root: Path
    name: str = "cats"

    @property
    def manifest(self) -> Path:
        return self.root / f"{self.name}.yaml"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def folder(self) -> Path:
        return self.outputs / self.name

    @property
    def index(self) -> str:
        return (self.folder / "report" / "index.html").as_uri()

    @property
    def costs(self) -> str:
        return (self.folder / "report" / "costs.html").as_uri()

    def source(self, name: str, number: int) -> None:
        """Put a source where its name says."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(png(40 * number % 256, 90, 160))

    def finished(
        self,
        source: str,
        model: str,
        prompt: str,
        *,
        n: int = 1,
        pictures: Sequence[bytes] = (),
        **more: object,
    ) -> Iterator[AnyRecord]:
        """The records of a Job that is done, its pictures written: `n` plain ones, or those
        given."""
        key = key_of(source, model, prompt)
        red, green = int(key[:2], 16), int(key[2:4], 16)
        given = pictures or [png(red, green, 40 * index) for index in range(n)]
        files = self.files(source, model, prompt, given)
        words: dict[str, Any] = {"key": key, "model": model, "prompt": prompt, "source": source}
        yield started(0, **words)
        yield done(0, **({"files": files} | words | more))

    def files(
        self, source: str, model: str, prompt: str, pictures: Sequence[bytes]
    ) -> tuple[FileRecord, ...]:
        """A Job's pictures, written where they belong."""
        stem = source.removeprefix("data/").rpartition(".")[0]
        files = []
        for index, data in enumerate(pictures):
            place = self.folder / "images" / model / prompt / f"{stem}-{index}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            width, height = size_of(data)
            files.append(
                FileRecord(
                    path=place.relative_to(self.folder).as_posix(),
                    sha256=hashlib.sha256(data).hexdigest(),
                    bytes=len(data),
                    media_type="image/png",
                    width=width,
                    height=height,
                )
            )
        return tuple(files)

    def write(
        self, records: Sequence[AnyRecord], sources: Sequence[str] = (), more: str = ""
    ) -> Album:
        """Write the manifest (with `more` at its end), its sources that are not there, and the
        ledger."""
        for number, name in enumerate(sources):
            self.source(name, number)
        self.root.mkdir(parents=True, exist_ok=True)
        self.manifest.write_text(
            "version: 1\nprovider: {dialect: qiniu}\ninputs: [{glob: 'data/**/*.png'}]\n"
            "prompts:\n- {id: white, template: make it white}\n"
            "- {id: snow, template: let it snow}\n"
            "models:\n- model: gemini-2.5-flash-image\n"
            "  price: {currency: CNY, per_image: 0.2715}\n- model: kling-v2\n"
            "  price: {currency: CNY, per_image: 0.2}\n"
            f"run: {{budget: {{total: 20, currency: CNY}}}}\n{more}",
            "utf-8",
        )
        write_ledger(self.folder / "ledger.jsonl", [begins(), *records])
        return self


def common_album(root: Path) -> Album:
    """Six sources in two folders, two prompts, two models; one job with two variants, one failed,
    one unknown."""
    album = Album(root)
    names = [f"data/{folder}/{at}.png" for folder in ("cats", "dogs") for at in range(3)]
    records: list[AnyRecord] = []
    for number, name in enumerate(names):
        for prompt in PROMPTS:
            n = 2 if number == 0 and prompt == "white" else 1
            paid = CostRecord(amount="0.271532", currency="CNY", basis="images", price="p")
            records += album.finished(name, GEMINI, prompt, n=n, cost=paid, seconds=1.5 + number)
        lost: dict[str, Any] = {"key": key_of(name), "model": KLING, "prompt": "white"}
        lost["source"] = name
        if number == 4:
            records += [started(1, **lost), failed(1, **lost)]
        elif number == 5:
            records += [started(1, **lost), unknown(1, **lost)]
        else:
            paid = CostRecord(amount=f"0.{number + 1}", currency="CNY", basis="images", price="q")
            records += album.finished(name, KLING, "white", cost=paid, seconds=20.0, task="t-1")
    return album.write(records, names)


def large_album(root: Path, pictures: int) -> Album:
    """Many records over few picture files: what it shows is small, what it lists is long."""
    album = Album(root)
    made = [png(37 * at % 256, 11 * at % 256, 90) for at in range(50)]
    digests = [hashlib.sha256(data).hexdigest() for data in made]
    names = [f"data/set-{at // 100:03}/photo-{at:05}.png" for at in range(pictures // 4)]
    records: list[AnyRecord] = []
    for number, name in enumerate(names):
        for place, (model, prompt) in enumerate((m, p) for m in (GEMINI, KLING) for p in PROMPTS):
            count = 4 * number + place
            key = key_of(count)
            stem = name.rpartition("/")[2].removesuffix(".png")
            file = FileRecord(
                path=f"images/{model}/{prompt}/{stem}-0.png",
                sha256=digests[count % 50],
                bytes=len(made[count % 50]),
                media_type="image/png",
                width=1024,
                height=1024 - count % 3,
            )
            at = FIRST + timedelta(seconds=count)
            words: dict[str, Any] = {"key": key, "model": model, "prompt": prompt, "source": name}
            amount = AmountRecord(amount="0.600000", currency="CNY")
            records.append(started(0, at, **words, ceiling=amount))
            paid = CostRecord(
                amount=f"0.27{count % 1000:03}", currency="CNY", basis="tokens", price="p"
            )
            seconds = count % 317 / 10
            records.append(done(0, at=at, **words, files=(file,), cost=paid, seconds=seconds))
    thumbnails = Thumbnails(album.folder / "report")
    for data, digest in zip(made, digests, strict=True):
        thumbnails.make(digest, partial(bytes, data))
    return album.write(records)
