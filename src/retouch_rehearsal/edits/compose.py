"""Edits that put pictures together or take things out: backgrounds, fusion, panels, removal;
and the edit put together with what its mask keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import cv2
import numpy as np

from .arrays import (
    Floats,
    Pixels,
    Plane,
    as_floats,
    as_pixels,
    blend,
    cover,
    from_lab,
    resize,
    soften,
    to_lab,
)  # fmt: skip
from .style import comic

GUTTER = 0.018


def keep(edited: Pixels, original: Iterable[Pixels], mask: Pixels) -> Pixels:
    """`edited` where the mask is 255, `original` to the byte where it is 0, at the mask's size.

    `original` comes in strips of rows from the top; an alpha channel of `edited` is blended with
    full opacity.
    """
    height, width = mask.shape
    result = resize(edited, (width, height))
    if result is edited:
        result = edited.copy()
    top = 0
    for strip in original:
        rows = slice(top, top + len(strip))
        top, weight = rows.stop, mask[rows]
        if weight.min() == 255:
            continue
        opaque = np.full((*strip.shape[:2], edited.shape[2] - 3), 255, np.uint8)
        below = np.dstack([strip, opaque])
        if weight.any():
            below = blend(below, result[rows], as_floats(weight) / np.float32(255))
        result[rows] = below
    return result


def moved(pixels: Pixels, seed: str) -> Pixels:
    """The picture at its own size, zoomed by 6 to 12 % and shifted as far as that leaves room:
    drawn from `seed`."""
    height, width = pixels.shape[:2]
    numbers = np.random.default_rng(
        int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    )
    zoom = numbers.uniform(1.06, 1.12)
    left, top = numbers.choice((0.0, 1.0), 2)  # towards a corner, so that it is no plain zoom
    crop_width, crop_height = round(width / zoom), round(height / zoom)
    x, y = round(left * (width - crop_width)), round(top * (height - crop_height))
    crop = np.ascontiguousarray(pixels[y : y + crop_height, x : x + crop_width])
    return resize(crop, (width, height))


def replace(pixels: Pixels, scene: Pixels, region: Plane) -> Pixels:
    """`scene` where the region is; the rest takes a little of the scene's light."""
    lab, place = to_lab(pixels), to_lab(scene)
    shift = place.mean(axis=(0, 1)) - lab.mean(axis=(0, 1))
    lab[:, :, 1:] += np.clip(shift[1:] * 0.15, -6, 6)
    return blend(from_lab(lab), scene, region)


def fuse(pixels: Pixels, others: list[Pixels]) -> Pixels:
    """The first picture with the colours (Reinhard 2001) and some of the forms of the others."""
    height, width = pixels.shape[:2]
    share = np.float32(1 / len(others))
    colours, forms = np.zeros(pixels.shape, np.float32), np.zeros(pixels.shape, np.float32)
    for other in others:
        style = cover(other, (width, height))
        colours += transfer(pixels, style) * share
        forms += soften(as_floats(style), max(height, width) / 60) * share
    result = colours * np.float32(0.86) + forms * np.float32(0.14)
    smooth = cv2.edgePreservingFilter(as_pixels(result), flags=1, sigma_s=30, sigma_r=0.25)
    return np.asarray(smooth, dtype=np.uint8)


def transfer(pixels: Pixels, style: Pixels) -> Pixels:
    """Mean and spread of `style`'s colours, in Lab, given to `pixels`."""
    ours, theirs = to_lab(pixels), to_lab(style)
    mean, spread = ours.mean(axis=(0, 1)), ours.std(axis=(0, 1)) + 1e-3
    other_mean, other_spread = theirs.mean(axis=(0, 1)), theirs.std(axis=(0, 1))
    factor = np.clip(other_spread / spread, 0.4, 2.5)
    # A dark style must not swallow the picture.
    shift = other_mean - mean
    shift[0] = np.clip(shift[0], -22, 22)
    return from_lab(as_floats((ours - mean) * factor + mean + shift))


def panels(pictures: list[Pixels], size: tuple[int, int], random: np.random.Generator) -> Pixels:
    """A comic page at (width, height): a framed panel a picture, in reading order."""
    width, height = size
    page = np.full((height, width, 3), (250, 248, 240), np.uint8)
    gap = max(4, round(min(size) * GUTTER))
    for picture, (left, top, right, bottom) in zip(
        pictures, _layout(len(pictures), width > height), strict=False
    ):
        x0, y0 = round(left * width) + gap, round(top * height) + gap
        x1, y1 = round(right * width) - gap, round(bottom * height) - gap
        page[y0:y1, x0:x1] = comic(cover(picture, (x1 - x0, y1 - y0)), random)
        cv2.rectangle(page, (x0, y0), (x1 - 1, y1 - 1), (15, 15, 15), max(2, gap // 3))
    return page


def _layout(count: int, is_wide: bool) -> list[tuple[float, float, float, float]]:
    """Panels as (left, top, right, bottom), 0-1; rows as even as the count allows."""
    rows = 1 if count <= 2 and is_wide else 2 if count <= 6 else 3
    rows = min(rows, count)
    inside = [count // rows + (row >= rows - count % rows) for row in range(rows)]
    return [
        (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
        for row, columns in enumerate(inside)
        for column in range(columns)
    ]


def add_subjects(pixels: Pixels, others: list[tuple[Pixels, Plane]]) -> Pixels:
    """Further subjects, cut out, stood at the bottom from the right to the left."""
    height, width = pixels.shape[:2]
    result = pixels
    for number, (other, region) in enumerate(others):
        tall = round(height * 0.45)
        wide = max(1, min(width // 2, round(other.shape[1] * tall / other.shape[0])))
        left = max(0, width - (number + 1) * wide)
        layer, weight = result.copy(), np.zeros((height, width), np.float32)
        layer[height - tall :, left : left + wide] = cv2.resize(other, (wide, tall))
        weight[height - tall :, left : left + wide] = cv2.resize(region, (wide, tall))
        result = blend(result, layer, weight)
    return result


def blur(pixels: Pixels, region: Plane) -> Pixels:
    """Blur inside the region, without drawing colours in from outside it."""
    sigma = max(pixels.shape[:2]) / 55
    return blend(pixels, _blurred_within(pixels, region, sigma), region)


def tidy(pixels: Pixels, region: Plane) -> Pixels:
    """Replace the region's detail with its own broad colours: clutter without a mask."""
    sigma = max(pixels.shape[:2]) / 9
    return blend(pixels, _blurred_within(pixels, region, sigma), region)


def fill(pixels: Pixels, region: Plane) -> Pixels:
    """Take out what the region covers, filling from around it (Telea 2004)."""
    hole = as_pixels((region > 0.35).astype(np.float32) * 255)
    if not hole.any() or hole.all():
        return pixels
    hole = np.asarray(cv2.dilate(hole, np.ones((5, 5), np.uint8)), dtype=np.uint8)
    filled = np.asarray(cv2.inpaint(pixels, hole, 4, cv2.INPAINT_TELEA), dtype=np.uint8)
    return blend(pixels, filled, as_floats(hole / 255))


def _blurred_within(pixels: Pixels, region: Plane, sigma: float) -> Pixels:
    weight: Floats = region[:, :, None] + 1e-3
    blurred = soften(as_floats(pixels * weight), sigma)
    share = soften(as_floats(weight[:, :, 0]), sigma)[:, :, None]
    return as_pixels(blurred / np.maximum(share, 1e-4))
