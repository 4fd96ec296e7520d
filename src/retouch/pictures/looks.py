"""How a picture looks, as 64 bits: OpenCV's PHash. Alike are pictures that few bits tell apart.

Needs OpenCV with its contributions (extra `rehearsal`); `can_hash` says whether it is there.
Source: OpenCV's img_hash module; Zauner 2010.
"""

from __future__ import annotations

import importlib
import importlib.util

from PIL import Image

LOOKED_AT_PIXELS = 128  # a side that leaves the hash's 32x32 enough to be made of


def can_hash() -> bool:
    """Whether OpenCV is installed."""
    return importlib.util.find_spec("cv2") is not None


def looks_of(image: Image.Image) -> str:
    """The perceptual hash of a decoded picture, 16 hex digits."""
    numpy, opencv = importlib.import_module("numpy"), importlib.import_module("cv2")
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda level: level * (1 / 257))
    grey = numpy.asarray(image.convert("L"))
    digest = opencv.img_hash.pHash(grey)
    return bytes(digest.tobytes()).hex()
