"""Looking at pictures that were paid for: blank ones, and ones that are what was sent.

A fingerprint is a picture seen from afar: the mean colours of 32 by 32 cells. Encoding a picture
anew or resizing it moves them hardly; an edit of any size moves some cell by more.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

from retouch.pictures import PIXEL_CAP, measure
from retouch.pictures.files import Unreadable, read_regular

CELLS = 32
BLANK_RANGE = 4  # levels of 255 between the darkest and the lightest cell of each colour
SAME_CELL = 14  # levels that no cell of an unchanged picture differs by
SAME_MEAN = 3


def fingerprint(path: Path) -> Image.Image | None:
    """The cells of a picture's file; None where it cannot be read or decoded."""
    try:
        data = read_regular(path, None)
        measured = measure(data)
        if measured is None or measured[1] * measured[2] > PIXEL_CAP:
            return None
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.draft("RGB", (CELLS * 8, CELLS * 8))
            upright = ImageOps.exif_transpose(picture)
            return upright.convert("RGB").resize((CELLS, CELLS), Image.Resampling.BOX)
    except (
        Unreadable,
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,
        Image.DecompressionBombError,
    ):
        return None


def is_blank(cells: Image.Image) -> bool:
    """Whether the picture is one colour all over."""
    return all(high - low <= BLANK_RANGE for low, high in _extremes(cells))


def is_same(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures show the same, whatever their size and encoding."""
    difference = ImageChops.difference(one, other)
    largest = max(high for _, high in _extremes(difference))
    levels = difference.convert("L").histogram()
    mean = sum(level * count for level, count in enumerate(levels)) // (CELLS * CELLS)
    return largest < SAME_CELL and mean < SAME_MEAN


def _extremes(cells: Image.Image) -> list[tuple[int, int]]:
    """The lowest and highest level of each colour."""
    found = []
    for band in cells.split():
        levels = [level for level, count in enumerate(band.histogram()) if count]
        found.append((levels[0], levels[-1]))
    return found
