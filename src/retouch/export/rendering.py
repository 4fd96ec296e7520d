"""The bytes that go out: as they were paid for, or at another size, or as another type of file.

Untouched bytes stay untouched (a provider's signed provenance survives). What is changed is decoded
and encoded once, the same every time, with its colour profile and without other metadata.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL import Image

from retouch.pictures import PIXEL_CAP
from retouch.pictures.geometry import Size

ImageFormat = Literal["png", "jpeg", "webp"]

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_TYPES: dict[ImageFormat, str] = {f: f"image/{f}" for f in ("png", "jpeg", "webp")}
_QUALITY = 95


class Unrenderable(Exception):
    """Why a picture cannot be had as asked, as a clause."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Bytes with their type and size in pixels."""

    data: bytes
    suffix: str
    size: Size


def rendered(
    data: bytes, media_type: str, size: Size, wanted: Size | None, image_format: ImageFormat | None
) -> Rendered:
    """A picture as it is to be stored: `wanted` None for its own size, `image_format` None for its
    own type, one of SUFFIXES. Raises Unrenderable.
    """
    target = _TYPES[image_format] if image_format else media_type
    if media_type == "image/svg+xml":
        raise Unrenderable("is a drawing (SVG), and a data set holds pictures")
    if media_type == "image/gif" and target == media_type:
        if wanted not in (None, size):
            raise Unrenderable("moves (GIF), and moving pictures are exported as they are alone")
        return Rendered(data, ".gif", size)
    if target == media_type and wanted in (None, size):
        return Rendered(data, SUFFIXES[target], size)
    if size[0] * size[1] > PIXEL_CAP:
        raise Unrenderable("has more pixels than are ever decoded")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF"))
            image.load()
        profile = image.info.get("icc_profile")
        if wanted is not None and image.size != wanted:
            image = _plain(image).resize(wanted, Image.Resampling.LANCZOS)
        return Rendered(_encoded(image, target, profile), SUFFIXES[target], image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unrenderable(f"cannot be decoded: {error}") from error


def _plain(image: Image.Image) -> Image.Image:
    """A mode that can be resized and written as anything: grey, RGB, or RGBA."""
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _encoded(image: Image.Image, target: str, profile: bytes | None) -> bytes:
    image = _plain(image)
    if target == "image/jpeg" and image.mode == "RGBA":  # JPEG has no transparency
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    written = BytesIO()
    if target == "image/jpeg":
        image.save(written, "JPEG", quality=_QUALITY, subsampling=0, icc_profile=profile)
    elif target == "image/webp":
        image.save(written, "WEBP", quality=_QUALITY, icc_profile=profile)
    else:
        image.save(written, "PNG", icc_profile=profile)
    return written.getvalue()
