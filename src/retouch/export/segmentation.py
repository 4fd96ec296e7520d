"""A label picture where the edit has it: each pixel's value as it is, at another size or place.

Nearest neighbour, in the picture's own mode: a value that was not there before would be a class
that is nowhere. Palettes are kept, for in many sets they are the classes' colours.
"""

from __future__ import annotations

import warnings
from io import BytesIO

from PIL import Image

from retouch.export.rendering import Unrenderable
from retouch.pictures.geometry import Affine, Size

_FORMATS = ("PNG", "JPEG", "WEBP")


def fitted(data: bytes, affine: Affine | None, output: Size, wanted: Size) -> bytes:
    """The label picture as PNG for an edit of size `output` that is exported at size `wanted`:
    moved by `affine` (None: scaled by both sizes). What the edit shows from beyond the source is
    0, as a rule "nothing". Bytes that fit stay as they are. Raises Unrenderable.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(BytesIO(data), formats=_FORMATS)
            is_png = image.format == "PNG"
            image.load()
        if affine is None and is_png and image.size == wanted:
            return data
        if affine is not None:
            image = image.transform(
                output, Image.Transform.AFFINE, _inverse(affine), Image.Resampling.NEAREST
            )
        if image.size != wanted:
            image = image.resize(wanted, Image.Resampling.NEAREST)
        written = BytesIO()
        image.save(written, "PNG")
        return written.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unrenderable(f"its segmentation cannot be decoded: {error}") from error


def _inverse(affine: Affine) -> tuple[float, ...]:
    """From the output's points to the source's, as Pillow wants it. Raises ValueError."""
    determinant = affine.a * affine.e - affine.b * affine.d
    if abs(determinant) < 1e-9:
        raise ValueError("its map cannot be turned round")
    a, b = affine.e / determinant, -affine.b / determinant
    d, e = -affine.d / determinant, affine.a / determinant
    return a, b, -(a * affine.c + b * affine.f), d, e, -(d * affine.c + e * affine.f)
