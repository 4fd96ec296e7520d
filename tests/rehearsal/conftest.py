"""The service in process, on a clock the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from retouch_rehearsal import Book, Settings, create_app
from tests.support.samples import HEADERS, ROOT, encoded, photo

MAPPED = "https://pictures.example/in"


@dataclass
class House:
    """One service: its book, its clock and clients of it."""

    book: Book
    folder: Path
    now: float = 1_800_000_000.0

    def client(self, folder: Path | None = None, **options: Any) -> httpx.AsyncClient:
        """A client of a new service with these options, sharing book and clock."""
        app = create_app(
            Settings(**{"seconds_per_task": 30.0, "url_map": {MAPPED: self.folder}, **options}),
            base_url=ROOT,
            book=self.book,
            folder=folder,
            clock=lambda: self.now,
        )
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url=ROOT, headers=HEADERS)


ONE, TWO = encoded(photo(400, 320)), encoded(photo(320, 400, seed=2), "JPEG")


@pytest.fixture
def anyio_backend() -> str:
    """One backend is enough where the service's documents are tested; others ask for both."""
    return "asyncio"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with two pictures behind a mapped URL."""
    (tmp_path / "one.png").write_bytes(ONE)
    (tmp_path / "two.jpg").write_bytes(TWO)
    with Book() as book:
        yield House(book, tmp_path)


@pytest.fixture
def saved(house: House) -> Callable[[str, Image.Image], str]:
    """Puts a picture behind a mapped URL and says which."""

    def save(name: str, image: Image.Image) -> str:
        form = "JPEG" if name.endswith("jpg") else "WEBP" if name.endswith("webp") else "PNG"
        (house.folder / name).write_bytes(encoded(image, form))
        return f"{MAPPED}/{name}"

    return save
