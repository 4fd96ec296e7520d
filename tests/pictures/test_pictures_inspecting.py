"""`inspect`: the preflight of one file. The rows are BAD-INPUT's 19-26, 28 and 29."""

from __future__ import annotations

import hashlib
import os
import socket
import zlib
from pathlib import Path

import pytest
from PIL import Image

from retouch.pictures import BadPicture, Facts, Role, inspect, measure
from retouch.pictures.payloads import transformed
from tests.support.hostile_pictures import (
    DISGUISED,
    animation,
    chunk,
    encoded,
    oriented,
    picture,
    png,
    png_16_bits,
)


def facts_of(folder: Path, data: bytes, name: str = "a.png", role: Role = "picture") -> Facts:
    """The facts of a good picture."""
    (folder / name).write_bytes(data)
    found = inspect(folder / name, within=folder, role=role)
    assert isinstance(found, Facts), found
    return found


def reason_of(folder: Path, data: bytes, name: str = "a.png", role: Role = "picture") -> str:
    """Why a picture is bad."""
    (folder / name).write_bytes(data)
    found = inspect(folder / name, within=folder, role=role)
    assert isinstance(found, BadPicture), found
    return found.reason


BROKEN = {
    "0 bytes": (b"", "is empty"),
    "truncated PNG": (picture(kind="PNG")[:-20], "is cut: it ends at byte"),
    "truncated JPEG": (picture(kind="JPEG")[:-20], "is cut: it ends at byte"),
    "truncated WEBP": (picture(kind="WEBP")[:-20], "is cut: it ends at byte"),
    "bad CRC": (picture()[:-8] + b"XXXXXXXX", "is "),
    "cut inside, but ended": (png(64, 64, pixels=b"\0" * 500), "cannot be decoded"),
    "animated PNG": (animation("PNG", 5), "animated (5 frames)"),
    "animated WEBP": (animation("WEBP", 3), "animated (3 frames)"),
    "animated GIF": (animation("GIF", 4), "an animated GIF of 4 frames"),
    "bomb": (png(50_000, 50_000), "2,500,000,000 pixels"),
    "0 wide": (png(0, 10), "no pixels"),
    "IHDR of nonsense": (png(10, 10, depth=3, colour=9), "cannot be decoded"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_picture_is_told_with_its_reason(case: str, tmp_path: Path) -> None:
    """Nothing broken passes, and nothing raises."""
    data, said = BROKEN[case]
    assert said in reason_of(tmp_path, data)


@pytest.mark.parametrize("name", DISGUISED)
def test_what_is_no_picture_is_told_by_what_it_is(name: str, tmp_path: Path) -> None:
    """A disguised file is recognised by its bytes, whatever it is named."""
    assert name in reason_of(tmp_path, DISGUISED[name], "cat.jpg")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Folders, pipes, sockets and devices are told at once; none of them blocks."""
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.png"))
        named = {
            "folder.png": "a folder", "pipe.png": "a named pipe", "s.png": "a socket",
            "dangling.png": "is not there", "loop.png": "leads to itself", "none.png": "not there",
        }  # fmt: skip
        for name, said in named.items():
            found = inspect(tmp_path / name, within=tmp_path)
            assert isinstance(found, BadPicture)
            assert said in found.reason
    device = inspect(Path(os.devnull))
    assert isinstance(device, BadPicture)
    assert "a device" in device.reason


def test_a_link_is_followed_inside_the_folder_alone(tmp_path: Path) -> None:
    """A link to a neighbour is fine; one that leads out of the folder is refused."""
    folder, outside = tmp_path / "project", tmp_path / "secret.png"
    folder.mkdir()
    outside.write_bytes(picture())
    (folder / "in.png").write_bytes(picture())
    (folder / "near.png").symlink_to("in.png")
    (folder / "far.png").symlink_to(outside)
    assert isinstance(inspect(folder / "near.png", within=folder), Facts)
    found = inspect(folder / "far.png", within=folder)
    assert isinstance(found, BadPicture)
    assert "outside the manifest's folder" in found.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_told_with_its_errno(tmp_path: Path) -> None:
    """The system's reason is passed on."""
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "a.png").chmod(0)
    found = inspect(tmp_path / "a.png")
    assert isinstance(found, BadPicture)
    assert "errno 13" in found.reason


def test_the_bytes_are_believed_and_the_extension_is_warned_about(tmp_path: Path) -> None:
    """A PNG named .jpg is a PNG; a right or unknown extension says nothing."""
    found = facts_of(tmp_path, picture(), "cat.jpg")
    assert found.media_type == "image/png"
    assert found.warnings == ("is named .jpg but is PNG by its bytes, which are believed",)
    assert facts_of(tmp_path, picture(kind="JPEG"), "cat.JPEG").warnings == ()
    assert facts_of(tmp_path, picture(), "cat.img").warnings == ()


@pytest.mark.parametrize(
    ("data", "mode", "has_alpha"),
    [
        (picture(mode="CMYK", kind="JPEG"), "CMYK", False),
        (picture(mode="P"), "P", False),
        (picture(mode="1"), "1", False),
        (picture(mode="LA"), "LA", True),
        (png_16_bits(channels=1), "I;16", False),
        (png_16_bits(channels=3), "RGB;16", False),
        (png_16_bits(channels=4), "RGBA;16", True),
        (encoded(Image.new("P", (9, 9)), transparency=0), "P", True),
    ],
)
def test_the_mode_is_told(data: bytes, mode: str, has_alpha: bool, tmp_path: Path) -> None:
    """Modes that many models refuse are not hidden by the decoder's kindness."""
    found = facts_of(tmp_path, data)
    assert (found.mode, found.has_alpha) == (mode, has_alpha)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_told(orientation: int, tmp_path: Path) -> None:
    """EXIF's orientation is read, and the size once upright follows from it."""
    found = facts_of(tmp_path, oriented(orientation), "a.jpg")
    assert found.orientation == orientation
    assert (found.width, found.height) == (40, 30)
    assert found.upright_size == ((30, 40) if orientation >= 5 else (40, 30))


def test_broken_metadata_do_not_make_a_picture_bad(tmp_path: Path) -> None:
    """A picture with nonsense for EXIF is upright, and nothing is warned to the terminal."""
    data = picture(kind="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xee" * 40)
    assert facts_of(tmp_path, data, "a.jpg").orientation == 1


def test_a_masks_levels_are_measured(tmp_path: Path) -> None:
    """Black and white, all black, and 16 bits of grey."""
    mask = Image.new("L", (20, 20), 0)
    assert facts_of(tmp_path, encoded(mask), role="mask").brightest == 0
    mask.paste(255, (5, 5, 9, 9))
    found = facts_of(tmp_path, encoded(mask), role="mask")
    assert (found.darkest, found.brightest) == (0, 255)
    assert facts_of(tmp_path, png_16_bits(channels=1), role="mask").brightest == 127


def test_a_mask_of_transparency_alone_is_refused_with_the_polarity(tmp_path: Path) -> None:
    """OpenAI's masks mean the opposite: they are not taken in silence."""
    alpha = Image.linear_gradient("L").resize((20, 20))
    mask = Image.merge("LA", (Image.new("L", (20, 20), 255), alpha))
    said = reason_of(tmp_path, encoded(mask), role="mask")
    assert "transparency" in said
    assert "white is edited" in said


def with_chunk(data: bytes, kind: bytes, body: bytes, *, damaged: bool = False) -> bytes:
    """A PNG with one more chunk before its pixels."""
    one = chunk(kind, body)
    if damaged:
        one = one[:-4] + b"\0\0\0\0"
    return data[:33] + one + data[33:]


def stray(data: bytes) -> bytes:
    """A JPEG with bytes that belong to nothing between its first two segments."""
    length = int.from_bytes(data[4:6], "big")
    return data[: 4 + length] + b"\0\x17junk" + data[4 + length :]


HARMLESS = {
    "stray bytes in a JPEG": (stray(picture(kind="JPEG")), "6 stray bytes"),
    "a text's checksum": (
        with_chunk(picture(), b"tEXt", b"Comment\0x", damaged=True), "checksum of the tEXt chunk",
    ),
    "2 MB of text": (with_chunk(picture(), b"tEXt", b"Comment\0" + b"x" * 2_000_000), ""),
    "a text that unpacks to 2 MB": (
        with_chunk(picture(), b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000))),
        "remarks that a decoder refuses",
    ),
    "a pHYs cut short": (with_chunk(picture(), b"pHYs", b"\0\0"), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_damage_outside_of_the_pixels_is_a_warning(tmp_path: Path, name: str) -> None:
    """As a source, as a result, and where it is converted: the pixels are what counts."""
    data, told = HARMLESS[name]
    suffix = ".jpg" if data[:2] == b"\xff\xd8" else ".png"
    facts = facts_of(tmp_path, data, f"a{suffix}")
    assert told in "; ".join(facts.warnings)
    assert facts.bytes == len(data)
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert measure(data) == (facts.media_type, facts.width, facts.height)
    converted = transformed(data, ("convert",))
    assert measure(converted) == ("image/png", facts.width, facts.height)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE"])
def test_damage_in_the_pixels_is_none(tmp_path: Path, kind: bytes) -> None:
    """A chunk that a decoder needs must have its checksum."""
    data = picture(mode="P") if kind == b"PLTE" else picture()
    at = data.index(kind) - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    damaged = data[: end - 4] + b"\0\0\0\0" + data[end:]
    assert f"the checksum of the {kind.decode()} chunk" in reason_of(tmp_path, damaged)
    assert measure(damaged) is None
