"""Pictures that no model takes and `convert: true` does: GIF, BMP, TIFF, HEIC, AVIF.

Their decoders are asked only where the user said so. HEIC needs pillow-heif (extra `convert`), AVIF
a Pillow that was built with it.
"""

from __future__ import annotations

import importlib
import warnings
from io import BytesIO

from PIL import Image, features

from retouch.storage.reading import UnreadableFile

_BEGINNINGS = (
    (b"GIF8", "image/gif"), (b"BM", "image/bmp"), (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)  # fmt: skip
_BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic",
    b"hevc": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic",
}  # fmt: skip
_FORMATS = {
    "image/gif": "GIF", "image/bmp": "BMP", "image/tiff": "TIFF", "image/heic": "HEIF",
    "image/avif": "AVIF",
}  # fmt: skip


def foreign_type(data: bytes) -> str | None:
    """The media type of bytes that begin like a picture of these kinds, else None."""
    if data[4:8] == b"ftyp":
        return _BRANDS.get(bytes(data[8:12]))
    return next((kind for begins, kind in _BEGINNINGS if data.startswith(begins)), None)


def open_foreign(data: bytes, media_type: str, pixel_cap: int) -> Image.Image:
    """The picture (its first frame), decoded. Raises UnreadableFile, or what a decoder raises."""
    if media_type == "image/heic":
        _register_heif()
    if media_type == "image/avif" and not features.check("avif"):
        raise UnreadableFile("is AVIF, which this Pillow was built without", "save it as PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(BytesIO(data), formats=(_FORMATS[media_type],))
        if image.width * image.height > pixel_cap:
            pixels = image.width * image.height
            what = f"has {pixels:,} pixels; at most {pixel_cap:,} are decoded"
            raise UnreadableFile(what, "scale it down")
        image.load()
    if image.mode in ("F", "I;16S"):
        raise UnreadableFile(f"has numbers for pixels (mode {image.mode})", "save it as PNG")
    return image


def _register_heif() -> None:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        remedy = "`make setup EXTRAS=convert`, or save it as PNG"
        raise UnreadableFile("is HEIC, and pillow-heif is not installed", remedy) from None
