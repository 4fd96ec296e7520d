"""The bytes to send: the file's own, or the file turned upright and converted, as PNG.

The file is read again and must be the one that was planned: its digest is in the Job's Key. The
same file gives the same bytes every time.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection
from io import BytesIO

from PIL import Image, ImageChops

from retouch.job import Picture
from retouch.pictures.facts import Facts
from retouch.pictures.foreign import foreign_type, open_foreign
from retouch.pictures.inspecting import PIXEL_CAP, decoding_lock
from retouch.pictures.sniffing import sniff
from retouch.pictures.structure import Flaw, png_without_remarks, skeleton
from retouch.storage.reading import UnreadableFile, read_regular


class SourceChanged(Exception):
    """A file is no longer what was planned: the job must not be sent. The message says which."""


def payload(picture: Picture, read_object: Callable[[Picture], bytes] | None = None) -> bytes:
    """The bytes to send for a file, or for an object in a bucket, which `read_object` gives.

    Raises SourceChanged; ValueError for a URL.
    """
    if picture.object is not None and read_object is not None:
        data = read_object(picture)
        return transformed(data, picture.transforms) if picture.transforms else data
    path = picture.path
    if path is None:
        raise ValueError("a picture given by URL has no bytes to send")
    try:
        data = read_regular(path, span=picture.span)
    except UnreadableFile as error:
        raise SourceChanged(f"{path.name} {error.reason}, since it was planned") from None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != picture.digest:
        raise SourceChanged(f"{path.name} has changed since it was planned; run again")
    return transformed(data, picture.transforms) if picture.transforms else data


def needs_conversion(facts: Facts, modes: Collection[str]) -> bool:
    """Whether a model that takes `modes` takes the picture only after `convert`."""
    return facts.mode not in modes or facts.frames > 1


def converted_mode(facts: Facts) -> str:
    """The mode that `convert` brings a picture to."""
    return "RGBA" if facts.has_alpha else "RGB"


def transformed(data: bytes, transforms: Collection[str]) -> bytes:
    """A picture turned upright (`orient`), brought to RGB or RGBA (`convert`), or a mask whose
    white is made transparent (`cut_out`), as PNG.

    Metadata are left behind; a colour profile is kept where the colours were not touched.
    """
    try:
        return _transformed(data, transforms)
    except SourceChanged:
        raise
    except Exception:
        if sniff(data) != "image/png":
            raise
        return _transformed(png_without_remarks(data), transforms)


def _transformed(data: bytes, transforms: Collection[str]) -> bytes:
    kind = foreign_type(data) if "convert" in transforms else None
    image = _first_frame(data) if kind is None else _foreign(data, kind)
    if "orient" in transforms:
        from PIL import ImageOps  # noqa: PLC0415 - start-up time: `plan` converts nothing

        image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    if "convert" in transforms:
        if image.mode not in ("RGB", "RGBA"):
            profile = None
        image = _converted(image)
    if "cut_out" in transforms:
        image, profile = _cut_out(image), None
    written = BytesIO()
    image.save(written, "PNG", icc_profile=profile)
    return written.getvalue()


def _first_frame(data: bytes) -> Image.Image:
    if skeleton_pixels(data) > PIXEL_CAP:
        raise SourceChanged("a picture has grown beyond what is decoded, since it was planned")
    with decoding_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP"))


def _foreign(data: bytes, kind: str) -> Image.Image:
    try:
        with decoding_lock:
            return open_foreign(data, kind, PIXEL_CAP)
    except UnreadableFile as error:
        raise SourceChanged(f"a picture {error.reason}, since it was planned") from None


def skeleton_pixels(data: bytes) -> int:
    """How many pixels the bytes unpack to; 0 if they are no picture."""
    try:
        found = skeleton(data)
    except Flaw:
        return 0
    return found.width * found.height


def _converted(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would cut off, not scale
        image = image.convert("I").point(lambda level: level * (1 / 257)).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _cut_out(mask: Image.Image) -> Image.Image:
    """A mask of ours (white = edit) as one whose transparency says so (PROTOCOL §2, trap 3)."""
    grey = mask.convert("RGBA").convert("L") if mask.mode == "P" else mask.convert("L")
    black = Image.new("L", grey.size, 0)
    return Image.merge("RGBA", (black, black, black, ImageChops.invert(grey)))
