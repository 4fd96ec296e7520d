"""What galleries and reports of others stumbled over, by their public bug reports."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main
from retouch.ledger.records import AnyRecord
from tests.review.conftest import write_pages
from tests.support.albums import Album, large_album
from tests.support.browser import Browser
from tests.support.ledgers import GEMINI


def rotated() -> bytes:
    """A JPEG stored lying, to be shown upright: blue above red."""
    stored = Image.new("RGB", (60, 40), (200, 20, 20))
    stored.paste((20, 20, 200), (0, 0, 30, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    data = BytesIO()
    stored.save(data, "JPEG", exif=exif, quality=95)
    return data.getvalue()


@pytest.mark.parametrize("is_turned", [True, False])
def test_a_picture_that_is_stored_lying_is_shown_upright(
    tmp_path: Path, is_turned: bool, page: Browser
) -> None:
    """Thumbnail and full view agree (haltakov/simple-photo-gallery 85, fgallery 12); the size is
    that which the model gets, turned or not."""
    album = Album(tmp_path)
    name = "data/phone.png"  # whatever it is called
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_bytes(rotated())
    upright = Image.new("RGB", (40, 60), (9, 99, 9))
    data = BytesIO()
    upright.save(data, "PNG")
    records: list[AnyRecord] = [*album.finished(name, GEMINI, "white", pictures=[data.getvalue()])]
    album.write(records, [name])
    if is_turned:
        said = album.manifest.read_text("utf-8")
        turned = said.replace("'data/**/*.png'", "'data/**/*.png', apply_orientation: true")
        album.manifest.write_text(turned, "utf-8")
    write_pages(album)
    page.open(album.index)
    sides = "return [e.naturalWidth, e.naturalHeight]"
    page.until(lambda: page.script(f"const e = document.querySelector('.source img'); {sides}")[0])
    assert page.script(f"const e = document.querySelector('.source img'); {sides}") == [40, 60]
    page.press("j", " ")
    page.until(lambda: page.script(f"const e = document.getElementById('before'); {sides}")[0])
    assert page.script(f"const e = document.getElementById('before'); {sides}") == [40, 60]
    assert f"was {'40×60' if is_turned else '60×40'}" in page.one("#facts").inner_text()
    assert page.complaints == []


@pytest.mark.parametrize("folder", ["Загрузки 图片", "100% #1 ?x&y+z"])
def test_pages_work_wherever_they_lie(tmp_path: Path, folder: str, page: Browser) -> None:
    """A filter is a fragment in any path (pytest-html 892); so is every link (PySceneDetect 139,
    mochawesome 162)."""
    album = Album(tmp_path / folder)
    name = "data/a+b %41 #2?.png"
    records: list[AnyRecord] = [*album.finished(name, GEMINI, "white")]
    album.write(records, [name])
    write_pages(album)
    page.open(album.index)
    page.script(
        "const e = document.getElementById('choose-q'); e.value = 'a+b';"
        "e.dispatchEvent(new Event('input'))"
    )
    assert page.page.url.endswith("#q=a%2Bb")
    assert len(page.all("[data-key]")) == 1
    page.press("j", " ")
    page.until(
        lambda: page.script(
            "return ['before', 'after'].every(id => { const e = document.getElementById(id);"
            "return e.naturalWidth > 0 && !e.src.includes('thumbs'); })"
        )
    )
    assert page.complaints == []


def test_a_browser_that_keeps_nothing_still_exports(tmp_path: Path, page: Browser) -> None:
    """Where pages have no storage (Qodana 27), marks last until the page is left."""
    album = Album(tmp_path)
    name = "data/x.png"
    records: list[AnyRecord] = [*album.finished(name, GEMINI, "white")]
    album.write(records, [name])
    write_pages(album)
    context = page.page.context.browser.new_context()  # type: ignore[union-attr]
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no'); }})"
    )
    other = context.new_page()
    errors: list[str] = []
    other.on("pageerror", lambda error: errors.append(str(error)))
    try:
        other.goto(album.index)
        other.locator(".verdict.keep").click()
        with other.expect_download() as downloading:
            other.locator("#export").click()
        exported = Path(tmp_path / "review.jsonl")
        downloading.value.save_as(exported)
    finally:
        context.close()
    assert json.loads(exported.read_text("utf-8"))["mark"] == "keep"
    assert errors == []


def test_keys_go_on_where_the_cell_was_scrolled_away(tmp_path: Path, page: Browser) -> None:
    """The place is remembered, not the element (TanStack/virtual 158, desktop 15641)."""
    album = large_album(tmp_path, 400)
    command = ["report", str(album.folder / "ledger.jsonl"), "--no-pictures", "--format", "html"]
    assert main(command) == 0
    page.open(album.index)
    page.press("j", "ArrowDown", "ArrowDown")
    where = "return document.querySelector('.row:has([aria-current=true]) .name').textContent"
    assert page.script(where).endswith("photo-00002.png")
    page.script("document.getElementById('grid').scrollTop = 100000")
    page.until(lambda: page.current() == {})
    page.press("ArrowDown")
    page.until(lambda: page.current() != {})
    assert page.script(where).endswith("photo-00003.png")
