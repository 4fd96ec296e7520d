"""Input pictures: from the client's bytes to checked pixels at working size.

A picture that cannot be used is refused with what was found in it. Decoders: PNG, JPEG, WEBP
only. Pixels are RGB, 8 bits, upright (EXIF rotation applied); transparency lies on white. A
picture at its own size exists only while it is decoded, and is read from in strips.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageOps

from .bench import BENCH
from .edits.arrays import STRIP_ROWS, Pixels, resize
from .orders import Polarity
from .refusal import Refusal, bad_request
from .sizes import Size, working_size

PIXELS_MAX = 25_000_000
SIDE_MAX = 16_383  # WEBP's own limit, and a result may be one
_FORMATS = ("PNG", "JPEG", "WEBP")
_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "PA", "1"})
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"), (b"%PDF", "a PDF"), (b"PK\x03\x04", "a ZIP archive"), (b"BM", "a BMP"),
    (b"II*\x00", "a TIFF"), (b"MM\x00*", "a TIFF"), (b"%!PS", "an EPS"), (b"8BPS", "a PSD"),
    (b"\x1f\x8b", "a gzip file"), (b"\x00\x00\x01\x00", "an icon"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """One input: pixels (height, width, 3) at working size; its own size, kind, SHA-256, bytes."""

    pixels: Pixels
    size: Size
    media_type: str
    digest: str
    bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether the pixels are the picture's own: it is no larger than what is worked on."""
        return (self.pixels.shape[1], self.pixels.shape[0]) == self.size


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
    digest = hashlib.sha256(data).hexdigest()
    with _decoded(data, name) as image:
        pixels = _pixels_at(image, working_size(image.size))
        return Picture(pixels, image.size, kind_of(data), digest, len(data))


@contextmanager
def own_rows(data: bytes, name: str) -> Iterator[Iterator[Pixels]]:
    """The picture's pixels at its own size, in strips from the top; on the bench meanwhile."""
    with _decoded(data, name) as image:
        yield (_as_array(_on_white(strip)) for strip in _strips(image))


def open_mask(data: bytes, name: str, polarity: Polarity, size: Size) -> Pixels:
    """The mask as (height, width), 255 = edit, resized to `size` (width, height)."""
    with _decoded(data, name) as image:
        has_alpha = _has_alpha(image)
        if polarity == "transparent":
            if not has_alpha:
                raise bad_request(f"{name}: needs an alpha channel; transparent = edit", param=name)
            plane = _plane(image, _clearness)
        else:
            if has_alpha and _says_alpha_only(image):
                raise bad_request(
                    f"{name}: says nothing but by its alpha channel; "
                    "paint white what is to be edited and black what is to be kept",
                    param=name,
                )
            plane = _plane(image, _lightness)
    if plane.size != size:
        plane = plane.resize(size, Image.Resampling.BILINEAR)
    return _as_array(plane)


@contextmanager
def _decoded(data: bytes, name: str) -> Iterator[Image.Image]:
    """The image in `data`, upright and whole, for as long as the block lasts."""
    kind = kind_of(data)
    if not kind.startswith("image/"):
        raise bad_request(f"{name}: found {kind}; a PNG, JPEG or WEBP is needed", param=name)
    if kind == "image/png" and len(data) > 24 and data[24] == 16:
        raise bad_request(f"{name}: has 16 bits a channel; 8 are supported", param=name)
    with _broken_told(name, kind):
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_before_decoding(image, name)
    with BENCH.room_for(image.size):
        with _broken_told(name, kind):
            whole = _loaded_webp(image, data) if kind == "image/webp" else image
            whole.load()
            ImageOps.exif_transpose(whole, in_place=True)
        yield whole


def _loaded_webp(image: Image.Image, data: bytes) -> Image.Image:
    """`image`, decoded by OpenCV: Pillow's way takes four times the picture."""
    pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[assignment]
    if pixels is None:
        raise ValueError("it cannot be decoded")
    order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    whole = Image.fromarray(np.asarray(cv2.cvtColor(pixels, order, dst=pixels), dtype=np.uint8))
    whole.info.update(image.info)  # with the EXIF that says which side is up
    return whole


@contextmanager
def _broken_told(name: str, kind: str) -> Iterator[None]:
    """Whatever a decoder raises, as a 400."""
    try:
        yield
    except Refusal:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from error
    except Exception as error:  # decoders raise almost anything on hostile bytes
        raise bad_request(f"{name}: broken {kind[6:].upper()}: {error}", param=name) from error


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


def _strips(image: Image.Image, rows: int = STRIP_ROWS) -> Iterator[Image.Image]:
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(image.height, top + rows)))


def _pixels_at(image: Image.Image, size: Size) -> Pixels:
    """The image's pixels at `size`, which is no larger: shrunk by whole steps, then to measure."""
    factor = max(1, min(image.width // size[0], image.height // size[1]))
    strips = [
        _as_array(_on_white(strip).reduce(factor)) for strip in _strips(image, STRIP_ROWS * factor)
    ]
    return resize(np.concatenate(strips), size)


def _plane(image: Image.Image, read: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The grey image that `read` makes of each strip."""
    plane, top = Image.new("L", image.size), 0
    for strip in _strips(image):
        plane.paste(read(strip), (0, top))
        top += strip.height
    return plane


def _clearness(strip: Image.Image) -> Image.Image:
    return ImageOps.invert(strip.convert("RGBA").getchannel("A"))


def _lightness(strip: Image.Image) -> Image.Image:
    return _on_white(strip).convert("L")


def _says_alpha_only(image: Image.Image) -> bool:
    """Whether only the alpha channel of `image` varies."""
    found = [
        [strip.getextrema() for strip in part.convert("RGBA").split()] for part in _strips(image)
    ]
    varies = [
        min(low for low, _ in band) != max(high for _, high in band)
        for band in zip(*found, strict=True)
    ]
    return varies[3] and not any(varies[:3])


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _on_white(image: Image.Image) -> Image.Image:
    if not _has_alpha(image):
        return image.convert("RGB")
    clear = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(clear, mask=clear.getchannel("A"))
    return white


def _as_array(image: Image.Image) -> Pixels:
    return np.asarray(image, dtype=np.uint8)
