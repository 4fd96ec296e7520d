"""Pictures made for tests, and what turns them into request bodies."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

ROOT = "http://rehearsal.invalid"
HEADERS = {"Authorization": "Bearer rehearsal"}
GEMINI = "gemini-2.5-flash-image"


def photo(width: int = 96, height: int = 64, seed: int = 1) -> Image.Image:
    """A picture with a bright disc on a darker gradient: something like a subject."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 12, (height, width, 3))
    pixels = np.dstack([60 + rows % 60, 90 + columns % 60, np.full_like(rows, 120)]) + noise
    inside = np.hypot(rows - height / 2, columns - width / 2) < min(width, height) * 0.3
    pixels[inside] = (210, 120, 60) + noise[inside]
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The picture as a file's bytes."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def uri(data: bytes, media_type: str = "image/png") -> str:
    """Bytes as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def edit_body(prompt: str = "偏暖一些", image: bytes | None = None, **more: Any) -> dict[str, Any]:
    """A body for the synchronous model."""
    data = encoded(photo()) if image is None else image
    return {"model": GEMINI, "image": uri(data), "prompt": prompt, **more}


def pixels_of(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A result's pixels, RGB."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.uint8)


def decoded(reply: dict[str, Any]) -> list[bytes]:
    """The pictures of a synchronous reply."""
    return [base64.b64decode(item["b64_json"], validate=True) for item in reply["data"]]
