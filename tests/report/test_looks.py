"""Unchanged or edited, on real photographs: what is no edit is waste, and no edit is called so."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from retouch.report.looks import fingerprint, is_blank, is_same

PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "manifests/quickstart").glob("*.jpg"))
Change = Callable[[Image.Image], Image.Image]


def encoded(picture: Image.Image, form: str, **options: int) -> Image.Image:
    held = BytesIO()
    picture.save(held, form, **options)
    return Image.open(BytesIO(held.getvalue()))


def with_a_patch(picture: Image.Image) -> Image.Image:
    """A tenth of each side is covered with another colour."""
    patched = picture.copy()
    side = min(picture.size) // 10
    ImageDraw.Draw(patched).rectangle((0, 0, side, side), fill=(200, 30, 160))
    return patched


NO_EDITS: dict[str, Change] = {
    "as it is": lambda picture: picture,
    "bucket": lambda picture: picture.resize((1024, 1024), Image.Resampling.LANCZOS),
    "smaller": lambda picture: picture.resize((400, 300), Image.Resampling.BICUBIC),
    "jpeg": lambda picture: encoded(picture, "JPEG", quality=60),
    "webp": lambda picture: encoded(picture.resize((1024, 1024)), "WEBP", quality=70),
}
EDITS: dict[str, Change] = {
    "sharper": lambda picture: picture.resize((1024, 1024)).filter(
        ImageFilter.UnsharpMask(3, 120, 2)
    ),
    "smoother": lambda picture: picture.filter(ImageFilter.GaussianBlur(2)),
    "warmer": lambda picture: Image.blend(picture, Image.new("RGB", picture.size, "orange"), 0.15),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "patched": with_a_patch,
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def looks_same(tmp_path: Path, photograph: Path, change: Change) -> bool:
    with Image.open(photograph) as opened:
        change(opened.convert("RGB")).save(tmp_path / "result.png")
    source, result = fingerprint(photograph), fingerprint(tmp_path / "result.png")
    assert source is not None
    assert result is not None
    return is_same(source, result)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("change", NO_EDITS)
def test_encoded_anew_is_unchanged(tmp_path: Path, photograph: Path, change: str) -> None:
    """Another size, another format: nobody would pay for that."""
    assert looks_same(tmp_path, photograph, NO_EDITS[change])


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("change", EDITS)
def test_an_edit_is_never_called_waste(tmp_path: Path, photograph: Path, change: str) -> None:
    """Not even one that only sharpens, smooths, or touches a hundredth of the picture."""
    assert not looks_same(tmp_path, photograph, EDITS[change])


def test_one_colour_is_blank_and_like_itself(tmp_path: Path) -> None:
    """A picture without any detail is compared all the same."""
    for name, colour in (
        ("one", (250, 250, 250)),
        ("other", (248, 250, 251)),
        ("red", (250, 0, 0)),
    ):
        Image.new("RGB", (64, 48), colour).save(tmp_path / f"{name}.png")
    one, other, red = (fingerprint(tmp_path / f"{name}.png") for name in ("one", "other", "red"))
    assert one is not None
    assert other is not None
    assert red is not None
    assert is_blank(one)
    assert is_same(one, other)
    assert not is_same(one, red)
