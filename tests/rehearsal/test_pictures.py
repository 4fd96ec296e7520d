"""Bad pictures are refused with what was found; good ones come out upright and RGB."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from retouch_rehearsal.pictures import kind_of, open_mask, open_picture
from retouch_rehearsal.refusal import Refusal
from retouch_rehearsal.results import MARK, written
from tests.rehearsal.conftest import House
from tests.support.samples import edit_body, encoded, photo

pytestmark = pytest.mark.anyio
PNG = encoded(photo())
JPEG = encoded(photo(), "JPEG")
WEBP = encoded(photo(), "WEBP")


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG that says it is huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    body = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def animated(form: str) -> bytes:
    frames = [photo(seed=seed) for seed in (2, 3)]
    return encoded(photo(), form, save_all=True, append_images=frames)


def bad_crc() -> bytes:
    data = bytearray(PNG)
    data[-20] ^= 0xFF
    return bytes(data)


BAD = {
    "empty": (b"", "empty"),
    "truncated PNG": (PNG[: len(PNG) // 2], "broken PNG"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "broken JPEG"),
    "truncated WEBP": (WEBP[: len(WEBP) // 2], "broken WEBP"),
    "only a signature": (PNG[:8], "broken PNG"),
    "bad CRC": (bad_crc(), "broken PNG"),
    "bomb": (bomb(), "3600000000 pixels"),
    "long and thin": (bomb(16_384, 1), "16384x1"),
    "HTML": (b"<!DOCTYPE html><p>no</p>", "HTML"),
    "SVG": (b"<?xml version='1.0'?><svg xmlns='x'/>", "SVG"),
    "PDF": (b"%PDF-1.7 ...", "PDF"),
    "EPS": (b"%!PS-Adobe-3.0", "EPS"),
    "ZIP": (b"PK\x03\x04....", "ZIP"),
    "HEIC": (b"\0\0\0\x18ftypheic", "HEIC"),
    "text": (b"hello, this is a text file and nothing else at all", "text"),
    "GIF": (encoded(photo(), "GIF"), "GIF"),
    "BMP": (encoded(photo(), "BMP"), "BMP"),
    "TIFF": (encoded(photo(), "TIFF"), "TIFF"),
    "noise": (bytes(range(1, 255)) * 4, "unknown"),
    "animated WEBP": (animated("WEBP"), "3 frames"),
    "animated PNG": (animated("PNG"), "3 frames"),
    "CMYK": (encoded(photo().convert("CMYK"), "JPEG"), "CMYK"),
    "16-bit": (encoded(Image.fromarray(np.full((32, 32), 4000, np.uint16))), "16 bits"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_pictures_get_a_400_that_says_what_was_found(house: House, case: str) -> None:
    """Never a 500, and nothing is charged."""
    data, words = BAD[case]
    async with house.client() as client:
        if not data:
            body: dict[str, Any] = {**edit_body(), "image": "data:image/png;base64,"}
        else:
            body = edit_body(image=data)
        reply = await client.post("/v1/images/edits", json=body)
    assert reply.status_code == 400, reply.text
    assert words in reply.json()["error"]["message"]
    assert house.book.charges == []


@pytest.mark.parametrize(
    "picture",
    [
        photo().convert("P"), photo().convert("L"), photo().convert("LA"), photo().convert("1"),
        photo().convert("RGBA"), Image.new("RGB", (1, 1), "red"),
    ],
    ids=["palette", "grey", "grey with alpha", "1-bit", "alpha", "one pixel"],
)  # fmt: skip
async def test_unusual_but_whole_pictures_are_edited(house: House, picture: Image.Image) -> None:
    """Modes that can be shown as RGB are."""
    async with house.client() as client:
        cut_outs = ("把猫改成红色,背景换成海滩",) if picture.size == (1, 1) else ()
        for prompt in ("黑白,锐化", *cut_outs):
            body = edit_body(prompt, encoded(picture))
            reply = await client.post("/v1/images/edits", json=body)
            assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int, form: str) -> None:
    """All eight orientations come out upright."""
    upright = Image.new("RGB", (40, 20), "black")
    upright.paste("white", (0, 0, 10, 10))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(stored, form, exif=exif, lossless=True), "image")
    assert picture.size == (40, 20)
    assert picture.pixels[2, 2].min() > 240
    assert picture.pixels[15, 30].max() < 15


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_every_decoder_gives_the_same_colours(form: str, mode: str) -> None:
    """Red is red, whichever library decodes it; what is clear is white."""
    picture = Image.new("RGB", (16, 16), (200, 40, 90)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(0)
    if (form, mode) == ("JPEG", "RGBA"):
        picture = Image.new("RGB", (16, 16), "white")
    expected = {"RGB": (200, 40, 90), "RGBA": (255, 255, 255), "L": (94, 94, 94)}[mode]
    found = open_picture(encoded(picture, form, lossless=True, quality=100), "image").pixels
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_a_large_picture_is_opened_small() -> None:
    """Its pixels at working size, shrunk with their colours; its own size is known."""
    picture = open_picture(encoded(photo(2500, 1100), "JPEG"), "image")
    assert picture.size == (2500, 1100)
    assert picture.pixels.shape == (676, 1536, 3)
    with Image.open(io.BytesIO(encoded(photo(2500, 1100), "JPEG"))) as image:
        expected = np.asarray(image.resize((1536, 676), Image.Resampling.BOX), dtype=int)
    assert np.abs(picture.pixels - expected).mean() < 2


def test_alpha_only_masks_are_refused_with_the_reason() -> None:
    """A mask that says everything by transparency is OpenAI's kind, not this page's."""
    mask = Image.new("RGBA", (10, 10), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 5, 10))
    with pytest.raises(Refusal, match="alpha channel"):
        open_mask(encoded(mask), "mask", "white", (10, 10))


def test_masks_of_the_other_polarity_need_alpha() -> None:
    """Under OpenAI's rule transparent is edited, and an opaque mask says nothing."""
    mask = Image.new("RGBA", (10, 10), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 5, 10))
    plane = open_mask(encoded(mask), "mask", "transparent", (10, 10))
    assert plane[:, :5].min() == 255
    assert plane[:, 5:].max() == 0
    with pytest.raises(Refusal, match="alpha channel"):
        open_mask(encoded(mask.convert("L")), "mask", "transparent", (10, 10))


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_results_are_marked(form: Any) -> None:
    """Every format carries the mark and the plan in its own place."""
    with written(np.zeros((8, 8, 3), np.uint8), form, None, "style(whole, oil)") as file:
        data = file.read()
    assert kind_of(data) == f"image/{form}"
    assert MARK.encode() in data
    assert b"style(whole, oil)" in data


async def test_the_mark_is_a_text_chunk(house: House) -> None:
    """Any PNG reader sees it."""
    async with house.client() as client:
        reply: httpx.Response = await client.post("/v1/images/edits", json=edit_body("水彩"))
    image = Image.open(io.BytesIO(base64.b64decode(reply.json()["data"][0]["b64_json"])))
    image.load()
    assert image.info[MARK] == "style(whole, watercolour)"
    assert reply.headers["x-retouch-rehearsal"] == "1"
