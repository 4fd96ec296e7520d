"""`measure` and `sniff`: what bytes are, and whether they are structurally whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.pictures import called, measure, sniff
from retouch.pictures.structure import Flaw, skeleton
from tests.support.hostile_pictures import DISGUISED, animation, chunk, picture, png

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
}


@pytest.mark.parametrize(
    ("kind", "mode"), [(k, mode) for k, modes in MODES.items() for mode in modes]
)
def test_a_whole_picture_is_measured_as_it_is(kind: str, mode: str) -> None:
    """Media type and size are those of the bytes, in every mode."""
    assert measure(picture(61, 47, mode, kind)) == (KINDS[kind], 61, 47)


@pytest.mark.parametrize(
    "options",
    [
        {"lossless": True},
        {"quality": 40},
        {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"},
    ],
)
def test_every_kind_of_webp_is_measured(options: dict[str, object]) -> None:
    """Lossy, lossless and extended files say their size in three different places."""
    assert measure(picture(123, 45, "RGB", "WEBP", **options)) == ("image/webp", 123, 45)


@pytest.mark.parametrize(
    "options",
    [{"progressive": True}, {"restart_marker_rows": 1}, {"exif": b"Exif\0\0" + b"\xff\xd9" * 20}],
)
def test_every_kind_of_jpeg_is_measured(options: dict[str, object]) -> None:
    """Progressive scans, restart markers and an end marker inside metadata change nothing."""
    assert measure(picture(123, 45, "RGB", "JPEG", **options)) == ("image/jpeg", 123, 45)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_anywhere_is_not_measured(kind: str) -> None:
    """No prefix of a picture is taken for a whole one, and none raises."""
    data = picture(64, 64, "RGB", kind)
    assert measure(data) is not None
    taken = [length for length in range(len(data)) if measure(data[:length])]
    assert taken == []


def test_what_follows_a_whole_picture_is_no_matter() -> None:
    """Cameras and editors append things; the picture before them is whole."""
    for kind in KINDS:
        assert measure(picture(kind=kind) + b"appended") is not None


def test_every_flipped_byte_of_a_png_is_noticed() -> None:
    """The checksums cover every chunk, and the walk covers what they do not."""
    data = picture(16, 16)
    for at in range(8, len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x40
        assert measure(bytes(broken)) is None, at


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (picture()[:-12], "without its IEND chunk"),
        (picture()[:60], "inside a IDAT chunk"),
        (picture(kind="JPEG")[:-2], "without the end-of-image marker"),
        (picture(kind="WEBP")[:-9], "it ends at byte"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"), "does not begin with its header"),
        (png(0, 5), "no pixels (0x5)"),
        (picture().replace(b"IDAT", b"IDAX", 1), "checksum of the IDAX chunk"),
        (b"\xff\xd8\xff\xd9", "before any pixels"),
        (b"", "neither PNG, JPEG nor WEBP"),
    ],
)  # fmt: skip
def test_a_flaw_says_where(data: bytes, said: str) -> None:
    """A broken picture is told with the place where it breaks."""
    with pytest.raises(Flaw, match=re.escape(said)):
        skeleton(data)


@steady
@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"RIFF\x20\0\0\0WEBP",
            b"RIFF\x20\0\0\0WEBPVP8X",
        ]
    ),
)
def test_any_bytes_are_measured_or_not_and_never_raise(tail: bytes, head: bytes) -> None:
    """Replies are hostile: whatever comes is a picture or None."""
    found = measure(head + tail)
    assert found is None or (found[1] > 0 and found[2] > 0)
    assert called(head + tail)


@pytest.mark.parametrize("name", DISGUISED)
def test_what_is_no_picture_is_called_by_its_name(name: str) -> None:
    """Only PNG, JPEG and WEBP are sniffed; everything else has a name for people."""
    assert sniff(DISGUISED[name]) is None
    assert called(DISGUISED[name]) == name


@pytest.mark.parametrize(("kind", "frames"), [("PNG", 3), ("WEBP", 4)])
def test_frames_are_counted_without_decoding(kind: str, frames: int) -> None:
    """An animation is known by its headers."""
    assert skeleton(animation(kind, frames)).frames == frames
