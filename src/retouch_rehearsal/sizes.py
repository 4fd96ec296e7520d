"""How large results are: Gemini's buckets by the picture's shape, Kling's by `aspect_ratio`.

All sizes are (width, height) in pixels. Edits are worked on at a bucket's size, whatever the
input's and the result's, so that memory and time do not grow with the picture.
"""

from __future__ import annotations

import math

Size = tuple[int, int]

GEMINI_BUCKETS: tuple[Size, ...] = (
    (1024, 1024), (832, 1248), (1248, 832), (864, 1184), (1184, 864),
    (896, 1152), (1152, 896), (768, 1344), (1344, 768), (1536, 672),
)  # fmt: skip
_BY_RATIO: dict[str, Size] = {
    "1:1": (1024, 1024), "16:9": (1344, 768), "9:16": (768, 1344), "4:3": (1184, 864),
    "3:4": (864, 1184), "3:2": (1248, 832), "2:3": (832, 1248), "21:9": (1536, 672),
    "5:4": (1152, 896), "4:5": (896, 1152),
}  # fmt: skip
ASPECT_RATIOS = tuple(_BY_RATIO)
OPENAI_SIZES: tuple[Size, ...] = ((1024, 1024), (1536, 1024), (1024, 1536))
WORKING_PIXELS = 1024 * 1024
WORKING_SIDE = 1536


def bucket_for(size: Size) -> Size:
    """The bucket whose shape is nearest to `size`; a picture of a bucket's size keeps it."""
    return _nearest(size, GEMINI_BUCKETS)


def openai_size_for(size: Size) -> Size:
    """The OpenAI size whose shape is nearest to `size`."""
    return _nearest(size, OPENAI_SIZES)


def size_of_ratio(aspect_ratio: str) -> Size:
    """The size of a result with this `aspect_ratio`, one of ASPECT_RATIOS."""
    return _BY_RATIO[aspect_ratio]


def working_size(size: Size) -> Size:
    """The size a picture of `size` is edited at: its own, or less if it is beyond a bucket's."""
    width, height = size
    scale = min(WORKING_SIDE / max(size), math.sqrt(WORKING_PIXELS / (width * height)))
    if scale >= 1:
        return size
    return max(1, round(width * scale)), max(1, round(height * scale))


def _nearest(size: Size, buckets: tuple[Size, ...]) -> Size:
    shape = math.log(size[0] / size[1])
    return min(buckets, key=lambda bucket: abs(math.log(bucket[0] / bucket[1]) - shape))
