"""Edits of light and colour: recolouring, tones, and the adjustments of a darkroom."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .arrays import (
    Floats,
    Pixels,
    Plane,
    Rgb,
    as_floats,
    as_pixels,
    blend,
    from_lab,
    luma,
    soften,
    to_lab,
)  # fmt: skip

COLOURS: dict[str, Rgb] = {
    "white": (245, 245, 243), "black": (28, 28, 30), "grey": (128, 128, 128),
    "red": (200, 30, 35), "orange": (238, 125, 35), "pink": (240, 140, 170),
    "yellow": (245, 205, 45), "gold": (212, 165, 55), "green": (50, 150, 70),
    "cyan": (40, 170, 180), "blue": (45, 95, 200), "purple": (125, 65, 170),
    "brown": (120, 75, 45), "beige": (230, 214, 184),
}  # fmt: skip


def rgb_of(name: str) -> Rgb:
    """The colour of a name like `blue`, `dark blue` or `light blue`."""
    shade, _, base = name.rpartition(" ")
    red, green, blue = COLOURS[base]
    if shade == "dark":
        return round(red * 0.5), round(green * 0.5), round(blue * 0.6)
    if shade == "light":
        return (red + 255) // 2, (green + 255) // 2, (blue + 255) // 2
    return red, green, blue


def recolour(pixels: Pixels, region: Plane, name: str, strength: float) -> Pixels:
    """Give the region a colour; its light and shade, and some of its variety, stay."""
    target = to_lab(np.array([[rgb_of(name)]], np.uint8))[0, 0]
    lab = to_lab(pixels)
    weight = region / max(float(region.sum()), 1e-3)
    mean = (lab * weight[:, :, None]).sum(axis=(0, 1))
    # A very light or dark colour leaves less room for shade.
    room = min(float(target[0]), 100 - float(target[0])) / 50
    shade = (lab[:, :, 0] - mean[0]) * (0.45 + 0.4 * min(1.0, room))
    pull = 0.5 + 0.42 * abs(float(target[0]) - 50) / 50
    lab[:, :, 0] = mean[0] + (target[0] - mean[0]) * pull + shade
    variety = 0.3
    lab[:, :, 1] = target[1] + (lab[:, :, 1] - mean[1]) * variety
    lab[:, :, 2] = target[2] + (lab[:, :, 2] - mean[2]) * variety
    return blend(pixels, from_lab(lab), as_floats(np.clip(region * min(strength, 1.0), 0, 1)))


def brightness(pixels: Pixels, way: str, strength: float) -> Pixels:
    """Lift or lower the middle tones; black and white stay."""
    gamma = 1 / (1 + 0.5 * strength) if way == "up" else 1 + 0.6 * strength
    return _by_table(pixels, (np.arange(256) / 255) ** gamma * 255)


def contrast(pixels: Pixels, way: str, strength: float) -> Pixels:
    """Spread tones from their mean, or draw them to it."""
    factor = 1 + 0.25 * strength if way == "up" else 1 - 0.3 * strength
    mean = float(luma(pixels).mean())
    return _by_table(pixels, (np.arange(256) - mean) * factor + mean)


def saturation(pixels: Pixels, way: str, strength: float) -> Pixels:
    """Stronger or weaker colours at equal lightness."""
    factor = 1 + 0.5 * strength if way == "up" else max(0.0, 1 - 0.45 * strength)
    lab = to_lab(pixels)
    lab[:, :, 1:] *= factor
    return from_lab(lab)


def grayscale(pixels: Pixels) -> Pixels:
    """Black and white, with a little more contrast than colour needs."""
    grey = as_pixels(luma(pixels))
    return contrast(np.dstack([grey, grey, grey]), "up", 0.4)


def sharpen(pixels: Pixels, strength: float) -> Pixels:
    """Unsharp masking."""
    values = pixels.astype(np.float32)
    return as_pixels(values + (values - soften(values, 1.6)) * 0.9 * strength)


def denoise(pixels: Pixels, strength: float) -> Pixels:
    """Smooth surfaces, keep edges (a bilateral filter: non-local means takes seconds)."""
    spread = 35 * strength
    return np.asarray(cv2.bilateralFilter(pixels, 7, spread, 5), dtype=np.uint8)


def tone(
    pixels: Pixels, name: str, strength: float, sky: Plane | None, random: np.random.Generator
) -> Pixels:
    """Another light: sunset, night, warm, cool or sepia. `sky` is where a night has its stars."""
    if name == "sunset":
        return _sunset(pixels, strength)
    if name == "night":
        return _night(pixels, strength, sky, random)
    if name == "sepia":
        return _sepia(pixels)
    lab = to_lab(pixels)
    lab[:, :, 1] += (5 if name == "warm" else -3) * strength
    lab[:, :, 2] += (17 if name == "warm" else -22) * strength
    return from_lab(lab)


def mild_tone(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A small seeded shift of colour: what is done when nothing was understood."""
    lab = to_lab(pixels)
    angle = random.uniform(0, 2 * np.pi)
    lab[:, :, 1] += 4 * np.cos(angle)
    lab[:, :, 2] += 4 * np.sin(angle)
    return from_lab(lab)


def _sunset(pixels: Pixels, strength: float) -> Pixels:
    height = pixels.shape[0]
    lab = to_lab(pixels)
    # Light from a low sun: highlights turn orange, shadows violet, the top glows.
    light = lab[:, :, 0] / 100
    glow = np.linspace(1.0, 0.35, height, dtype=np.float32)[:, None]
    lab[:, :, 1] += strength * (16 * light * glow + 7 * (1 - light))
    lab[:, :, 2] += strength * (34 * light * glow - 9 * (1 - light))
    lab[:, :, 0] *= 1 - 0.1 * strength
    return from_lab(lab)


def _night(
    pixels: Pixels, strength: float, sky: Plane | None, random: np.random.Generator
) -> Pixels:
    lab = to_lab(pixels)
    lab[:, :, 0] = 100 * (lab[:, :, 0] / 100) ** (1 + 0.7 * strength) * (1 - 0.35 * strength)
    lab[:, :, 1] = lab[:, :, 1] * 0.6 + 2
    lab[:, :, 2] = lab[:, :, 2] * 0.5 - 16 * strength
    dark = from_lab(lab)
    if sky is None:
        return dark
    return as_pixels(dark + stars(pixels.shape[:2], random)[:, :, None] * 255 * sky[:, :, None])


def stars(shape: tuple[int, ...], random: np.random.Generator) -> Plane:
    """Points of light, 0-1, about one in 1,500 pixels."""
    height, width = shape[0], shape[1]
    plane = np.zeros((height, width), np.float32)
    count = max(20, height * width // 1500)
    rows, columns = random.integers(0, height, count), random.integers(0, width, count)
    plane[rows, columns] = random.uniform(0.5, 3.0, count)
    return as_floats(np.clip(soften(plane, 0.8) * 2.2, 0, 1))


def _sepia(pixels: Pixels) -> Pixels:
    grey = luma(pixels)
    tinted: Floats = np.dstack([grey * 1.05 + 12, grey * 0.9 + 6, grey * 0.68])
    return contrast(as_pixels(tinted), "down", 0.4)


def _by_table(pixels: Pixels, table: npt.NDArray[np.floating[Any]]) -> Pixels:
    return np.asarray(as_pixels(table)[pixels], dtype=np.uint8)
