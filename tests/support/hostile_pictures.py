"""Pictures as they come: whole, broken, disguised. Made in the test, small."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The picture as a file's bytes."""
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def picture(
    width: int = 40, height: int = 30, mode: str = "RGB", kind: str = "PNG", **options: object
) -> bytes:
    """A whole picture with a gradient in it, so that its bytes are worth cutting."""
    gradient = Image.linear_gradient("L").resize((width, height))
    return encoded(gradient.convert(mode), kind, **options)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One PNG chunk with its right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes = b"") -> bytes:
    """A PNG of stated size, whatever its pixels really are."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND"))
    )


def png_16_bits(width: int = 4, height: int = 4, channels: int = 3) -> bytes:
    """16 bits a channel: grey (1), grey with alpha (2), RGB (3) or RGBA (4)."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    row = b"\0" + b"\x80\x01" * channels * width
    return png(width, height, 16, colour, row * height)


def animation(kind: str, frames: int) -> bytes:
    """A picture that moves."""
    images = [Image.new("RGB", (8, 8), (number * 40, 0, 0)) for number in range(frames)]
    return encoded(images[0], kind, save_all=True, append_images=images[1:])


def oriented(orientation: int, width: int = 40, height: int = 30) -> bytes:
    """A JPEG that EXIF says is turned; its left half is white, its right half black."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("black", (width // 2, 0, width, height))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, quality=95)


DISGUISED = {
    "an HTML page": b"<!DOCTYPE html><html><body>404</body></html>",
    "an SVG drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "a PDF document": b"%PDF-1.7\n1 0 obj",
    "a PostScript (EPS) document": b"%!PS-Adobe-3.0 EPSF-3.0",
    "a HEIC picture": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "an AVIF picture": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    "a ZIP archive": b"PK\x03\x04\x14\0\0\0",
    "plain text": "这是文字\n".encode(),
    "JSON text": b'{"error": {"message": "no"}}',
    "a GIF picture": animation("GIF", 1),
    "a TIFF picture or raw photograph": picture(kind="TIFF"),
    "a BMP picture": picture(kind="BMP"),
    "a Git LFS pointer, not the picture itself": b"version https://git-lfs.github.com/spec/v1\n",
    "no picture (unknown bytes)": bytes(range(200, 256)) * 4,
}
