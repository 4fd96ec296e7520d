"""Looking at pictures that were paid for: blank ones, and ones that are what was sent.

A fingerprint is a picture seen from some way off: the mean colours of 128 by 128 cells. Encoding
a picture anew or resizing it moves them hardly. An edit moves those of some place by more; one that
only sharpens or smooths moves none far, and shows in how much neighbouring cells differ.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageOps, ImageStat

from retouch.pictures import PIXEL_CAP, measure
from retouch.storage.reading import UnreadableFile, read_regular

CELLS = 128
AFAR = 32  # cells of the coarser look, which tells places apart and no detail
BLANK_RANGE = 4  # levels of 255 between the darkest and the lightest cell of each colour
SAME_CELL = 14  # levels that no coarse cell of an unchanged picture differs by
SAME_MEAN = 3
SAME_DETAIL = 0.925  # measured: encoding anew keeps 0.95, sharpening and smoothing at most 0.90
FLAT = 0.25  # levels between neighbours: smaller differences are no detail


def fingerprint(path: Path) -> Image.Image | None:
    """The cells of a picture's file; None where it cannot be read or decoded."""
    try:
        data = read_regular(path, None)
        measured = measure(data)
        if measured is None or measured[1] * measured[2] > PIXEL_CAP:
            return None
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.draft("RGB", (CELLS * 2, CELLS * 2))
            ImageOps.exif_transpose(picture, in_place=True)
            upright = picture if picture.mode == "RGB" else picture.convert("RGB")
            return upright.resize((CELLS, CELLS), Image.Resampling.BOX)  # pixels copied once less
    except (
        UnreadableFile,
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
    difference = ImageChops.difference(_from_afar(one), _from_afar(other))
    largest = max(high for _, high in _extremes(difference))
    if largest >= SAME_CELL or _mean(difference.convert("L")) >= SAME_MEAN:
        return False
    less, more = sorted((_detail(one), _detail(other)))
    return more < FLAT or less >= SAME_DETAIL * more


def _from_afar(cells: Image.Image) -> Image.Image:
    return cells.resize((AFAR, AFAR), Image.Resampling.BOX)


def _detail(cells: Image.Image) -> float:
    """How many levels neighbouring cells differ by, on the mean of both directions."""
    grey = cells.convert("L")
    left, right = grey.crop((0, 0, CELLS - 1, CELLS)), grey.crop((1, 0, CELLS, CELLS))
    upper, lower = grey.crop((0, 0, CELLS, CELLS - 1)), grey.crop((0, 1, CELLS, CELLS))
    beside, below = ImageChops.difference(left, right), ImageChops.difference(upper, lower)
    return (_mean(beside) + _mean(below)) / 2


def _mean(grey: Image.Image) -> float:
    return float(ImageStat.Stat(grey).mean[0])


def _extremes(cells: Image.Image) -> list[tuple[int, int]]:
    """The lowest and highest level of each colour."""
    found = []
    for band in cells.split():
        levels = [level for level, count in enumerate(band.histogram()) if count]
        found.append((levels[0], levels[-1]))
    return found
