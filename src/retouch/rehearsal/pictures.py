"""Input pictures: from the client's bytes to checked pixels; results: from pixels to bytes.

A picture that cannot be used is refused with what was found in it. Decoders: PNG, JPEG, WEBP
only. Pixels are RGB, 8 bits, upright (EXIF rotation applied); transparency lies on white.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from .orders import OutputFormat, Polarity
from .refusal import Refusal, bad_request

Pixels = npt.NDArray[np.uint8]

PIXELS_MAX = 25_000_000
SIDE_MAX = 16_384
MARK = "retouch-rehearsal"
_FORMATS = ("PNG", "JPEG", "WEBP")
_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "PA", "1"})
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"), (b"%PDF", "a PDF"), (b"PK\x03\x04", "a ZIP archive"), (b"BM", "a BMP"),
    (b"II*\x00", "a TIFF"), (b"MM\x00*", "a TIFF"), (b"%!PS", "an EPS"), (b"8BPS", "a PSD"),
    (b"\x1f\x8b", "a gzip file"), (b"\x00\x00\x01\x00", "an icon"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded input: pixels (height, width, 3), its media type and bytes' SHA-256."""

    pixels: Pixels
    media_type: str
    digest: str
    bytes: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def kind_of(data: bytes) -> str:
    """What `data` is: `image/png`, `image/jpeg`, `image/webp`, or words like "a PDF"."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or a video"
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    if b"<svg" in start:
        return "SVG"
    if data and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in data[:64]):
        return "text"
    return "unknown bytes" if data else "empty"


def open_picture(data: bytes, name: str) -> Picture:
    """The picture in `data`, or a 400 that says what was found. `name` is the parameter's."""
    image = _load(data, name)
    upright = ImageOps.exif_transpose(image)
    return Picture(
        pixels=np.asarray(_on_white(upright), dtype=np.uint8),
        media_type=kind_of(data),
        digest=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
    )


def open_mask(data: bytes, name: str, polarity: Polarity, size: tuple[int, int]) -> Pixels:
    """The mask as (height, width), 255 = edit, resized to `size` (width, height)."""
    image = ImageOps.exif_transpose(_load(data, name))
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if polarity == "transparent":
        if not has_alpha:
            raise bad_request(f"{name}: needs an alpha channel; transparent = edit", param=name)
        plane = ImageOps.invert(image.convert("RGBA").getchannel("A"))
    else:
        if has_alpha and _is_flat(image.convert("RGBA")):
            raise bad_request(
                f"{name}: says nothing but by its alpha channel; "
                "paint white what is to be edited and black what is to be kept",
                param=name,
            )
        plane = _on_white(image).convert("L") if has_alpha else image.convert("L")
    if plane.size != size:
        plane = plane.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(plane, dtype=np.uint8)


def _is_flat(image: Image.Image) -> bool:
    """Whether only the alpha channel of `image` varies."""
    bands = image.split()
    varies = [low != high for low, high in (band.getextrema() for band in bands)]
    return varies[3] and not any(varies[:3])


def _load(data: bytes, name: str) -> Image.Image:
    kind = kind_of(data)
    if not kind.startswith("image/"):
        raise bad_request(f"{name}: found {kind}; a PNG, JPEG or WEBP is needed", param=name)
    if kind == "image/png" and len(data) > 24 and data[24] == 16:
        raise bad_request(f"{name}: has 16 bits a channel; 8 are supported", param=name)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_before_decoding(image, name)
        image.load()
    except Refusal:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from error
    except Exception as error:  # decoders raise almost anything on hostile bytes
        raise bad_request(f"{name}: broken {kind[6:].upper()}: {error}", param=name) from error
    return image


def _check_before_decoding(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > PIXELS_MAX or max(width, height) > SIDE_MAX:
        raise _too_large(name, f"{width}x{height}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise bad_request(f"{name}: animated, {frames} frames; one is supported", param=name)
    if image.mode not in _MODES:
        raise bad_request(f"{name}: is {image.mode}; RGB or grey, 8 bits, is needed", param=name)


def _too_large(name: str, found: str) -> Refusal:
    return bad_request(
        f"{name}: {found}; at most {PIXELS_MAX:,} pixels and {SIDE_MAX:,} a side", param=name
    )


def _on_white(image: Image.Image) -> Image.Image:
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return white
    return image.convert("RGB")


def encode(pixels: Pixels, form: OutputFormat, quality: int | None, note: str) -> bytes:
    """Picture bytes, marked as a rehearsal's; `pixels` RGB or RGBA, `quality` 0-100."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    if form == "png":
        image.save(out, "PNG", compress_level=1)
        return _with_text(out.getvalue(), MARK, note)
    if form == "jpeg":
        image.convert("RGB").save(
            out, "JPEG", quality=90 if quality is None else quality, comment=f"{MARK}: {note}"
        )
        return out.getvalue()
    exif = Image.Exif()
    exif[0x010E] = f"{MARK}: {note}"  # ImageDescription
    image.save(out, "WEBP", quality=90 if quality is None else quality, method=2, exif=exif)
    return out.getvalue()


def _with_text(png: bytes, keyword: str, text: str) -> bytes:
    """`png` with an iTXt chunk (UTF-8, uncompressed) after its header chunk."""
    content = keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    chunk = b"iTXt" + content
    framed = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + framed + png[33:]
