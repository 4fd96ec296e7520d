"""Results: from pixels to a picture file that says it is a rehearsal's.

Pictures are written to files without a name, not kept in memory: they go when they are closed.
"""

from __future__ import annotations

import tempfile
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .edits.arrays import Pixels
from .orders import OutputFormat
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
