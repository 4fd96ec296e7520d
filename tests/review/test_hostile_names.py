"""Names, prompts and errors that attack their readers: shown, harmless, readable."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Dialog

from retouch.ledger.records import AnyRecord, ErrorRecord
from tests.review.conftest import write_pages
from tests.support.albums import Album, key_of
from tests.support.browser import Browser
from tests.support.ledgers import GEMINI, failed, started

NAMES = (
    "data/<img src=x onerror=alert(1)>.png",
    'data/"><script>alert(2)<|script>.png',
    "data/gnp.\u202etxt.png",
    f"data/{'x' * 200}.png",
    "data/👩‍👩‍👧 naïve ü.png",
    'data/it\'s "quoted" & `ticked` %41?#x.png',
    "data/</script><svg onload=alert(3)>/in.png",
)
MODEL = "<b onmouseover=alert(4)>gemini</b>"
PROMPT = "';alert(5)//\u2066"


@pytest.fixture
def hostile(tmp_path: Path) -> Album:
    album = Album(tmp_path, name="cats & dogs")
    records: list[AnyRecord] = []
    for name in NAMES:
        records += album.finished(name, GEMINI, "white", warnings=("<s>\u202e warned",))
    words = {"key": key_of("bad"), "model": MODEL, "prompt": PROMPT, "source": NAMES[0]}
    error = ErrorRecord(kind="content", message="</td><script>alert(6)</script>\u202e")
    records += [started(1, **words), failed(1, error=error, **words)]  # type: ignore[arg-type]
    album.write(records, NAMES)
    write_pages(album)
    return album


def test_hostile_names_are_harmless_and_readable(hostile: Album, page: Browser) -> None:
    """No dialog, no script, no markup of theirs; every picture loads; turned letters are spelt."""
    dialogs: list[str] = []

    def answer(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.page.on("dialog", answer)
    page.size(1280, 2400)
    for url in (hostile.index, f"{hostile.costs}#charge=confirmed"):
        page.open(url)
        assert page.all("b b, s, u, svg[onload], [onmouseover], [onerror]") == []
        text = page.one("body").inner_text()
        assert "\u202e" not in text
        assert "\u2066" not in text
        for said in (NAMES[0], NAMES[1], "data/gnp.\\u202etxt.png", NAMES[3], NAMES[4], NAMES[5]):
            assert said in text
    assert "cats & dogs" in text
    assert MODEL in page.page.content().replace("&lt;", "<").replace("&gt;", ">")
    page.open(hostile.index)
    page.until(
        lambda: page.script(
            "return [...document.querySelectorAll('.card > img')].every(e => e.naturalWidth > 0)"
        )
    )
    for _ in NAMES:
        page.press("j", " ")
        page.until(
            lambda: page.script(
                "return ['before', 'after'].every(id => { const e = document.getElementById(id);"
                "return e.hidden || (e.naturalWidth > 0 && !e.src.includes('thumbs')); })"
            )
        )
        page.press("Escape")
    assert dialogs == []
    assert page.complaints == []
