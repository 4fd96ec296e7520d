"""Edits of manner: watercolour, oil, pencil, ink and comic, from OpenCV's filters."""

from __future__ import annotations

import cv2
import numpy as np

from .arrays import Floats, Pixels, as_floats, as_pixels, clouds, luma, soften
from .colour import contrast, saturation

PAPER = np.array([252, 249, 240], np.float32)


def stylise(pixels: Pixels, name: str, random: np.random.Generator) -> Pixels:
    """The picture in a manner: one of STYLES."""
    return STYLES[name](pixels, random)


def watercolour(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Flat washes with dark rims on a grainy paper."""
    rims = np.asarray(cv2.stylization(pixels, sigma_s=45, sigma_r=0.4), dtype=np.uint8)
    flat = cv2.edgePreservingFilter(pixels, flags=1, sigma_s=40, sigma_r=0.5)
    washes = as_pixels(as_floats(rims) * 0.45 + as_floats(flat) * 0.55)
    values = saturation(washes, "up", 0.6).astype(np.float32)
    # Pigment pools: uneven density at a large scale, grain at a small one.
    height, width = pixels.shape[:2]
    pools = clouds((width, height), random, 4)[:, :, None] - 0.5
    grain = soften(random.standard_normal((height, width)).astype(np.float32), 1.0)[:, :, None]
    lifted = values + (PAPER - values) * 0.28
    return as_pixels(lifted * (1 - 0.16 * pools) + grain * 7)


def oil(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Thick dabs of paint with light catching their ridges."""
    size = max(3, round(max(pixels.shape[:2]) / 170))
    painted = np.asarray(cv2.xphoto.oilPainting(pixels, size, 1), dtype=np.uint8)
    painted = saturation(contrast(painted, "up", 0.3), "up", 0.6)
    height, width = pixels.shape[:2]
    bristle = random.standard_normal((height, width)).astype(np.float32)
    bristle = as_floats(cv2.GaussianBlur(bristle, (0, 0), sigmaX=3.5, sigmaY=0.7))
    relief = luma(painted) + bristle * 18
    kernel = np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32)
    ridges = as_floats(cv2.filter2D(relief, cv2.CV_32F, kernel))
    return as_pixels(painted + np.clip(ridges, -60, 60)[:, :, None] * 0.35)


def pencil(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Graphite lines and hatching on paper."""
    grey = luma(pixels)
    lines = _dodge(grey, max(3.0, max(pixels.shape[:2]) / 110))
    height, width = pixels.shape[:2]
    hatch = random.standard_normal((height, width)).astype(np.float32)
    kernel = np.eye(11, dtype=np.float32)[::-1] / 11
    hatch = as_floats(cv2.filter2D(hatch, cv2.CV_32F, kernel))
    shade = np.clip((150 - soften(grey, 4)) / 150, 0, 1) * (0.5 + 0.5 * np.tanh(hatch * 4))
    drawn = np.clip(lines / 255, 0, 1) ** 1.6 * (1 - 0.55 * shade)
    return as_pixels(drawn[:, :, None] * PAPER)


def ink(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Grey washes and brush lines on rice paper."""
    smooth = np.asarray(
        cv2.edgePreservingFilter(pixels, flags=1, sigma_s=40, sigma_r=0.4), dtype=np.uint8
    )
    grey = luma(smooth)
    height, width = grey.shape
    washes = 55 + soften(grey, 3.0) * 0.85
    washes += (clouds((width, height), random, 5) - 0.5) * 26
    lines = _dodge(grey, max(5.0, max(height, width) / 60)) / 255
    paper = np.array([243, 236, 220], np.float32)
    return as_pixels(np.clip(washes / 255, 0, 1)[:, :, None] * (lines**2)[:, :, None] * paper)


def comic(pixels: Pixels, _random: np.random.Generator) -> Pixels:
    """Flat colours, black outlines and dots in the shadows."""
    flat = pixels
    for _ in range(2):
        flat = np.asarray(cv2.bilateralFilter(flat, 7, 45, 7), dtype=np.uint8)
    hsv = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[:, :, 2] = (np.floor(hsv[:, :, 2] / 43) + 0.5) * 43 + 12
    hsv[:, :, 1] = np.minimum(hsv[:, :, 1] * 1.45, 255)
    coloured = np.asarray(cv2.cvtColor(as_pixels(hsv), cv2.COLOR_HSV2RGB), dtype=np.float32)
    grey = as_pixels(soften(luma(flat), 1.2))
    block = max(5, round(max(grey.shape) / 90)) | 1
    outline = cv2.adaptiveThreshold(
        grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, block, 5
    )
    height, width = grey.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    pitch = max(4.0, max(height, width) / 130)
    turned = (rows + columns) / pitch * np.pi * 0.7071, (rows - columns) / pitch * np.pi * 0.7071
    dots = (np.cos(turned[0]) * np.cos(turned[1]) + 1) / 2
    shadow = np.clip((95 - soften(luma(flat), 2)) / 95, 0, 1)
    coloured *= np.where(dots < shadow * 0.8, 0.55, 1.0)[:, :, None]
    return as_pixels(coloured * (as_floats(np.asarray(outline)) / 255)[:, :, None])


def _dodge(grey: Floats, sigma: float) -> Floats:
    """Lines: the picture divided by its blur, 0-255 with paper at 255."""
    return as_floats(np.clip(grey / np.maximum(soften(grey, sigma), 1) * 255, 0, 255))


STYLES = {
    "watercolour": watercolour,
    "oil": oil,
    "pencil": pencil,
    "ink": ink,
    "comic": comic,
}
