"""The arrays edits work on, and the few operations every edit needs.

Pixels: (height, width, 3) RGB, 0-255. Plane: (height, width) float32, 0-1: a region or weight.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]
Rgb = tuple[int, int, int]
STRIP_ROWS = 256


def as_pixels(values: npt.NDArray[Any]) -> Pixels:
    """Values on the 0-255 scale, rounded and cut to bytes."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def as_floats(values: npt.NDArray[Any]) -> Floats:
    """Values as float32, unscaled."""
    return np.asarray(values, dtype=np.float32)


def blend(below: Pixels, above: Pixels, weight: Plane) -> Pixels:
    """`above` over `below`; where the weight is 0 `below` is kept to the byte, where 1 `above`."""
    result = np.empty_like(below)
    # In strips: a large picture in floats, several times over, would fill the house.
    for top in range(0, below.shape[0], STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        w = weight[rows, :, None]
        result[rows] = as_pixels(as_floats(below[rows]) * (1 - w) + as_floats(above[rows]) * w)
    return result


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """`pixels` at (width, height), shrunk by area, enlarged by Lanczos."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    shrinks = size[0] < width or size[1] < height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(pixels, size, interpolation=method), dtype=np.uint8)


def resize_plane(plane: Plane, size: tuple[int, int]) -> Plane:
    """A plane at (width, height), cut to 0-1."""
    if (plane.shape[1], plane.shape[0]) == size:
        return plane
    return np.clip(as_floats(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)), 0, 1)


def cover(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """`pixels` filling (width, height): cropped around its middle, never stretched."""
    height, width = pixels.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    crop_width = min(width, max(1, round(size[0] / scale)))
    crop_height = min(height, max(1, round(size[1] / scale)))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return resize(
        np.ascontiguousarray(pixels[top : top + crop_height, left : left + crop_width]), size
    )


def soften(values: Floats, sigma: float) -> Floats:
    """A Gaussian blur of `sigma` pixels; wide ones are made small first, at a quarter's cost."""
    height, width = values.shape[:2]
    factor = max(1, int(sigma // 6))
    if factor == 1 or min(height, width) < 4 * factor:
        return as_floats(cv2.GaussianBlur(values, (0, 0), max(sigma, 0.1)))
    small = cv2.resize(
        values, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA
    )
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return as_floats(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC))


def to_lab(pixels: Pixels) -> Floats:
    """CIE Lab: L 0-100, a and b about -127 to 127."""
    return as_floats(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def from_lab(lab: Floats) -> Pixels:
    """Pixels of CIE Lab values; out-of-gamut ones are cut."""
    lab[:, :, 0] = np.clip(lab[:, :, 0], 0, 100)
    return as_pixels(as_floats(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)) * 255)


def luma(pixels: Pixels) -> Floats:
    """Brightness as seen, 0-255."""
    return as_floats(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def clouds(size: tuple[int, int], random: np.random.Generator, coarsest: int = 3) -> Plane:
    """Fractal noise, 0-1, at (width, height); `coarsest`: blobs across at the largest scale."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    weight, cells = 1.0, coarsest
    for _ in range(5):
        rows = max(2, round(cells * height / max(width, 1)) + 1)
        grid = random.random((rows, cells + 1), dtype=np.float32)
        total += weight * as_floats(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC))
        weight, cells = weight / 2, cells * 2
    low, high = float(total.min()), float(total.max())
    return as_floats((total - low) / max(high - low, 1e-6))
