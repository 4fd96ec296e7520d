"""Small pictures for the gallery: made once, named by the digest of what they show.

A cache and nothing more: what is missing is made again, so nothing is synced. A picture that
cannot be read has none, and the page shows its place empty.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

FOLDER = "thumbs"
SIDE = 320  # px: a card is 168 CSS pixels wide, and most screens have up to two for each
NAME_DIGITS = 32
PIXEL_CAP = 120_000_000
_AT_ONCE = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

LARGE_BYTES = 8_000_000  # of a file that is looked at alone: it is held whole, and unpacked
Readable = Callable[[], bytes | None]


class Wanted(NamedTuple):
    """A picture by its digest, how to read it, and how many bytes that is, as far as is known."""

    digest: str
    read: Readable
    size: int = 0


def thumbnail_name(digest: str) -> str:
    """The file name for a SHA-256 in hex; empty for what is none (it came from a ledger)."""
    return f"{digest[:NAME_DIGITS]}.webp" if _DIGEST.fullmatch(digest) else ""


class Thumbnails:
    """The thumbnails below one `report/` folder."""

    def __init__(self, report: Path) -> None:
        self.folder = report / FOLDER

    def path(self, digest: str) -> Path | None:
        """Where the thumbnail of these bytes is or would be."""
        name = thumbnail_name(digest)
        return self.folder / name if name else None

    def has(self, digest: str) -> bool:
        """Whether it is there."""
        path = self.path(digest)
        return path is not None and path.is_file()

    def make(self, digest: str, read: Readable) -> bytes | None:
        """The thumbnail's bytes, made from the picture if need be; None where there is none."""
        path = self.path(digest)
        if path is None:
            return None
        with suppress(OSError):
            return path.read_bytes()
        data = read()
        small = None if data is None else _smaller(data)
        if small is not None:
            self._keep(path, small)
        return small

    def make_all(self, wanted: Iterable[Wanted]) -> None:
        """Make what is missing, on several threads: decoding lets other threads run. None is held
        but those that are being made, a large one alone."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "thumbnails") as pool:
            making: deque[Future[bytes | None]] = deque()
            try:
                for digest, read, size in wanted:
                    if not digest or self.has(digest):
                        continue
                    if size > LARGE_BYTES:
                        _end(making)
                        self.make(digest, read)
                        continue
                    making.append(pool.submit(self.make, digest, read))
                    if len(making) >= _AT_ONCE:
                        making.popleft().result()
                _end(making)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _keep(self, path: Path, data: bytes) -> None:
        """Put it there whole; a full disk costs nothing but the time to make it again."""
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink()


def _end(making: deque[Future[bytes | None]]) -> None:
    while making:
        making.popleft().result()


def _smaller(data: bytes) -> bytes | None:
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > PIXEL_CAP:
                return None
            picture.draft("RGB", (SIDE, SIDE))
            ImageOps.exif_transpose(picture, in_place=True)  # else all its pixels are copied
            picture.thumbnail((SIDE, SIDE), reducing_gap=2.0)
            has_alpha = "A" in picture.getbands() or "transparency" in picture.info
            small = picture.convert("RGBA" if has_alpha else "RGB")
            written = BytesIO()
            small.save(written, "WEBP", quality=75, method=2)
            return written.getvalue()
    except (
        OSError, ValueError, SyntaxError, MemoryError, EOFError, Image.DecompressionBombError,
    ):  # fmt: skip
        return None
