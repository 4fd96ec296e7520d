"""Results: from pixels to a picture file that says it is a rehearsal's.

Pictures are written to files without a name, not kept in memory: they go when they are closed.
"""

from __future__ import annotations

import base64
import tempfile
from typing import IO
from xml.sax.saxutils import escape

from PIL import Image, ImageEnhance
from PIL.PngImagePlugin import PngInfo

from .edits.arrays import Pixels
from .orders import Frames, OutputFormat
from .refusal import bad_request
from .sizes import Size

MARK = "retouch-rehearsal"
RESULT_PIXELS_MAX = 40_000_000
WEBP_PIXELS_MAX = 8_000_000  # its encoder takes 35 bytes a pixel
_IMAGE_DESCRIPTION = 0x010E


def check_results(images: int, size: Size, form: OutputFormat) -> None:
    """Raises a 400 for results that this service has no room for."""
    pixels = images * size[0] * size[1]
    if pixels > RESULT_PIXELS_MAX:
        raise bad_request(
            f"n: {images} results of {size[0]}x{size[1]} hold {pixels:,} pixels; "
            f"at most {RESULT_PIXELS_MAX:,} in one request",
            param="n",
        )
    if form == "webp" and size[0] * size[1] > WEBP_PIXELS_MAX:
        raise bad_request(
            f"output_format: a WEBP of {size[0]}x{size[1]} is beyond this service's "
            f"{WEBP_PIXELS_MAX:,} pixels; ask for PNG or JPEG",
            param="output_format",
        )


def written(pixels: Pixels, form: OutputFormat, quality: int | None, note: str) -> IO[bytes]:
    """The picture's file, read from its start; `pixels` RGB or RGBA, `quality` 0-100."""
    image = Image.fromarray(pixels)
    quality = 90 if quality is None else quality
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        if form == "png":
            marks = PngInfo()
            marks.add_itxt(MARK, note)
            image.save(file, "PNG", compress_level=1, pnginfo=marks)
        elif form == "jpeg":
            image.convert("RGB").save(file, "JPEG", quality=quality, comment=f"{MARK}: {note}")
        else:
            exif = Image.Exif()
            exif[_IMAGE_DESCRIPTION] = f"{MARK}: {note}"
            image.save(file, "WEBP", quality=quality, method=2, exif=exif)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def moving(pixels: Pixels, frames: Frames, note: str) -> IO[bytes]:
    """The picture as a GIF that grows brighter, from its start."""
    image = Image.fromarray(pixels).convert("RGB")
    brighter = ImageEnhance.Brightness(image)
    steps = [brighter.enhance(0.8 + 0.4 * index / frames.count) for index in range(frames.count)]
    first, *others = (step.convert("P", palette=Image.Palette.ADAPTIVE) for step in steps)
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    first.save(
        file, "GIF", save_all=True, append_images=others, duration=frames.milliseconds, loop=0,
        comment=f"{MARK}: {note}".encode(),
    )  # fmt: skip
    file.seek(0)
    return file


def drawn(pixels: Pixels, note: str) -> IO[bytes]:
    """The picture within an SVG drawing, from its start."""
    height, width = pixels.shape[:2]
    with written(pixels, "png", None, note) as picture:
        encoded = base64.b64encode(picture.read()).decode()
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    file.write(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f"<title>{escape(f'{MARK}: {note}')}</title>"
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{encoded}"/>'
        "</svg>".encode()
    )
    file.seek(0)
    return file
