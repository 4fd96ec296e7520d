"""`payload`: the bytes that are sent are those that were planned, or nothing is."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from retouch.job import Picture
from retouch.pictures import Facts, SourceChanged, inspect, payload
from tests.support.hostile_pictures import encoded, oriented, picture, png_16_bits


def planned(path: Path, data: bytes, *transforms: str) -> Picture:
    """A Picture as the plan makes it."""
    path.write_bytes(data)
    facts = inspect(path)
    assert isinstance(facts, Facts)
    return Picture(f"sha256:{facts.sha256}", file=str(path), transforms=transforms)


def decoded(data: bytes) -> Image.Image:
    """The picture in a payload, which must be a PNG if it was transformed."""
    return Image.open(io.BytesIO(data), formats=("PNG",))


def test_an_untouched_file_is_sent_as_it_stands(tmp_path: Path) -> None:
    """No transform, no re-encoding: metadata and provenance go along."""
    data = oriented(6)
    assert payload(planned(tmp_path / "a.jpg", data)) == data


@pytest.mark.parametrize("change", ["changed", "gone", "a folder now"])
def test_a_file_that_changed_since_it_was_planned_is_not_sent(change: str, tmp_path: Path) -> None:
    """BAD-INPUT row 33: what was planned is what is paid for."""
    found = planned(tmp_path / "a.png", picture())
    (tmp_path / "a.png").unlink()
    if change == "changed":
        (tmp_path / "a.png").write_bytes(picture(41))
    elif change == "a folder now":
        (tmp_path / "a.png").mkdir()
    with pytest.raises(SourceChanged, match=r"a\.png .*since it was planned"):
        payload(found)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_turns_the_picture_upright(orientation: int, tmp_path: Path) -> None:
    """All eight orientations; the white half goes where EXIF says the left edge belongs."""
    sent = decoded(payload(planned(tmp_path / "a.jpg", oriented(orientation), "orient")))
    assert sent.size == ((30, 40) if orientation >= 5 else (40, 30))
    assert sent.getexif().get(0x0112, 1) == 1
    white = {
        1: (0, 0),
        2: (-1, 0),
        3: (-1, 0),
        4: (0, 0),
        5: (0, 0),
        6: (0, 0),
        7: (0, -1),
        8: (0, -1),
    }
    across, down = white[orientation]
    corner = (across % sent.width, down % sent.height)
    level = sent.convert("L").getpixel(corner)
    assert isinstance(level, int | float)
    assert level > 200


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (picture(mode="CMYK", kind="JPEG"), "RGB"),
        (picture(mode="P"), "RGB"),
        (picture(mode="1"), "RGB"),
        (picture(mode="LA"), "RGBA"),
        (png_16_bits(channels=1), "RGB"),
        (png_16_bits(channels=4), "RGBA"),
        (encoded(Image.new("P", (9, 9)), transparency=0), "RGBA"),
    ],
)
def test_convert_brings_every_mode_to_rgb_or_rgba(data: bytes, mode: str, tmp_path: Path) -> None:
    """Eight bits, and alpha only where there was some; the same bytes every time."""
    found = planned(tmp_path / "a.img", data, "convert")
    sent = payload(found)
    assert decoded(sent).mode == mode
    assert inspect_mode(tmp_path, sent) == mode
    assert payload(found) == sent


def inspect_mode(folder: Path, data: bytes) -> str:
    """The mode as `inspect` tells it, depth included."""
    (folder / "sent.png").write_bytes(data)
    facts = inspect(folder / "sent.png")
    assert isinstance(facts, Facts)
    return facts.mode


def test_sixteen_bits_of_grey_are_scaled_not_cut_off(tmp_path: Path) -> None:
    """0x8001 is the middle of the range, not white."""
    sent = payload(planned(tmp_path / "a.png", png_16_bits(channels=1), "convert"))
    assert decoded(sent).getpixel((0, 0)) == (127, 127, 127)


def test_a_url_has_no_payload() -> None:
    """It is the server that fetches it."""
    with pytest.raises(ValueError, match="URL"):
        payload(Picture("url:https://a.example/b.png", url="https://a.example/b.png"))
