"""Places to put a subject in, painted from noise and gradients; each (height, width, 3)."""

from __future__ import annotations

import cv2
import numpy as np

from .arrays import Floats, Pixels, Rgb, as_floats, as_pixels, clouds, soften
from .colour import rgb_of, stars

Size = tuple[int, int]
Random = np.random.Generator


def paint(name: str, size: Size, random: Random) -> Pixels:
    """The scene or plain colour `name` at (width, height)."""
    painter = _SCENES.get(name)
    if painter is None:
        return np.full((size[1], size[0], 3), rgb_of(name), np.uint8)
    return as_pixels(painter(size, random))


def _gradient(size: Size, *stops: tuple[float, Rgb]) -> Floats:
    """Colours from top to bottom: (place 0-1, colour) in order."""
    places = np.linspace(0, 1, size[1])
    columns = [
        np.interp(places, [at for at, _ in stops], [c[band] for _, c in stops]) for band in range(3)
    ]
    column = np.stack(columns, axis=-1).astype(np.float32)[:, None, :]
    return as_floats(np.repeat(column, size[0], axis=1))


def _mix(below: Floats, colour: Rgb, weight: Floats) -> Floats:
    return as_floats(below + (np.array(colour, np.float32) - below) * weight[:, :, None])


def _sky(size: Size, _random: Random) -> Floats:
    return _gradient(size, (0, (52, 120, 205)), (0.6, (130, 185, 235)), (1, (205, 226, 243)))


def _clouds(size: Size, random: Random) -> Floats:
    sky = _sky(size, random)
    noise = clouds(size, random, 3)
    weight = np.clip((noise - 0.47) * 3.4, 0, 1)
    shaded = np.clip(1 - (noise - 0.55) * 0.4, 0.8, 1)
    white = _mix(sky, (252, 252, 253), as_floats(weight))
    return as_floats(white * (1 + (shaded - 1) * weight)[:, :, None])


def _sunset(size: Size, random: Random) -> Floats:
    width, height = size
    sky = _gradient(
        size,
        (0, (66, 50, 112)),
        (0.35, (190, 82, 100)),
        (0.62, (246, 140, 70)),
        (1, (255, 210, 128)),
    )
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = random.uniform(0.25, 0.75) * width, 0.68 * height
    away = np.hypot(rows - centre[1], columns - centre[0]) / max(width, height)
    sky = _mix(sky, (255, 225, 150), as_floats(np.exp(-((away / 0.22) ** 2)) * 0.8))
    sky = _mix(sky, (255, 246, 214), as_floats(np.clip((0.06 - away) * 200, 0, 1)))
    streaks = as_floats(cv2.resize(clouds((max(8, width // 5), height), random, 3), size))
    return _mix(sky, (120, 50, 92), as_floats(np.clip((streaks - 0.58) * 2.4, 0, 0.55)))


def _shore(size: Size, random: Random, sky: Floats, sea: Rgb, sand: Rgb) -> Floats:
    width, height = size
    horizon, beach = round(height * 0.5), round(height * 0.72)
    scene = sky.copy()
    waves = as_floats(cv2.resize(clouds((width, max(8, height // 3)), random, 8), (width, height)))
    water = _mix(
        np.full_like(scene, sea), (245, 250, 250), as_floats(np.clip((waves - 0.62) * 2, 0, 0.7))
    )
    scene[horizon:] = water[horizon:]
    grains = soften(random.standard_normal((height, width)).astype(np.float32), 0.8) * 14
    edge = beach + np.sin(np.linspace(0, 5, width) + random.uniform(0, 6)) * height * 0.02
    below = np.arange(height, dtype=np.float32)[:, None] - edge[None, :]
    ground = as_floats(np.full_like(scene, sand) + grains[:, :, None])
    scene = as_floats(np.where((below > 0)[:, :, None], ground, scene))
    foam = np.exp(-((below / (height * 0.012)) ** 2))
    return _mix(scene, (250, 252, 252), as_floats(foam * 0.85))


def _beach(size: Size, random: Random) -> Floats:
    return _shore(size, random, _clouds(size, random), (38, 138, 172), (232, 210, 165))


def _beach_sunset(size: Size, random: Random) -> Floats:
    width, height = size
    upper = _sunset((width, max(1, round(height * 0.74))), random)
    sky = np.zeros((height, width, 3), np.float32)
    sky[: upper.shape[0]] = upper
    return _shore(size, random, sky, (150, 84, 92), (178, 122, 96))


def _trees(size: Size, random: Random, scene: Floats, colours: tuple[Rgb, ...]) -> Floats:
    """Rows of pointed trees, the last row nearest."""
    width, height = size
    for depth, colour in enumerate(colours):
        base = round(height * (0.62 + 0.16 * depth))
        canvas = np.zeros((height, width), np.uint8)
        tall = height * (0.22 + 0.12 * depth)
        for _ in range(26 - 6 * depth):
            x, top = random.uniform(0, width), base - tall * random.uniform(0.55, 1.0)
            half = tall * random.uniform(0.13, 0.2)
            points = np.array([[x, top], [x - half, base + 4], [x + half, base + 4]], np.int32)
            cv2.fillPoly(canvas, [points], 255, lineType=cv2.LINE_AA)
        canvas[base:] = 255
        scene = _mix(scene, colour, as_floats(canvas / 255))
    return scene


def _forest(size: Size, random: Random) -> Floats:
    sky = _gradient(size, (0, (168, 200, 205)), (1, (222, 232, 214)))
    scene = _trees(size, random, sky, ((120, 156, 130), (70, 116, 80), (34, 74, 44)))
    return as_floats(scene + (clouds(size, random, 24)[:, :, None] - 0.5) * 26)


def _snow(size: Size, random: Random) -> Floats:
    width, height = size
    sky = _gradient(size, (0, (160, 176, 196)), (1, (222, 229, 236)))
    scene = _trees(size, random, sky, ((178, 192, 204), (140, 160, 172), (232, 238, 243)))
    flakes = np.zeros((height, width), np.float32)
    count = height * width // 900
    flakes[random.integers(0, height, count), random.integers(0, width, count)] = 12
    return _mix(scene, (255, 255, 255), np.clip(soften(flakes, 1.5), 0, 0.95))


def _meadow(size: Size, random: Random) -> Floats:
    width, height = size
    scene = _clouds(size, random)
    hill = height * 0.56 + np.sin(np.linspace(0, 3, width) + random.uniform(0, 6)) * height * 0.04
    below = np.arange(height, dtype=np.float32)[:, None] - hill[None, :]
    grass = _gradient(size, (0, (120, 172, 70)), (0.55, (120, 172, 70)), (1, (56, 118, 40)))
    blades = as_floats(
        cv2.GaussianBlur(random.standard_normal((height, width)), (0, 0), sigmaX=0.7, sigmaY=3)
    )
    grass = as_floats(grass + blades[:, :, None] * 30)
    return as_floats(np.where((below > 0)[:, :, None], grass, scene))


def _starry(size: Size, random: Random) -> Floats:
    sky = _gradient(size, (0, (8, 10, 34)), (0.7, (24, 30, 78)), (1, (52, 54, 104)))
    band = clouds(size, random, 3)
    sky = _mix(sky, (120, 96, 168), as_floats(np.clip((band - 0.55) * 1.2, 0, 0.45)))
    return _mix(sky, (255, 255, 255), stars((size[1], size[0]), random))


def _studio(size: Size, _random: Random) -> Floats:
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    away = np.hypot((rows / height - 0.45), (columns / width - 0.5))
    return as_floats(np.clip(238 - away * 130, 0, 255)[:, :, None] * np.array([1, 0.995, 0.985]))


_SCENES = {
    "sky": _sky, "clouds": _clouds, "sunset": _sunset, "beach": _beach,
    "beach_sunset": _beach_sunset, "snow": _snow, "starry": _starry, "forest": _forest,
    "meadow": _meadow, "studio": _studio,
}  # fmt: skip
SCENES = tuple(_SCENES)
