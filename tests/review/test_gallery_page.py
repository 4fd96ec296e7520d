"""The gallery as a person has it: opened from disk in a real Chromium, used by keyboard."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Literal

from retouch.cli import main
from tests.review.conftest import write_pages
from tests.support.albums import Album, key_of
from tests.support.browser import Browser, in_language
from tests.support.ledgers import GEMINI, KLING

SIGHTS: tuple[tuple[Literal["light", "dark"], int], ...] = (
    ("light", 1280),
    ("dark", 1280),
    ("light", 390),
)


def shown(page: Browser) -> list[tuple[str, str]]:
    """Key and index of the cells in the document, in the order of the page."""
    found = page.script(
        "return [...document.querySelectorAll('[data-key]')].map(e => [e.dataset.key, "
        "e.dataset.index])"
    )
    return [(key, index) for key, index in found]


def choose(page: Browser, name: str, value: str) -> None:
    page.script(
        "const e = document.getElementById('choose-' + given[0]); e.value = given[1];"
        "e.dispatchEvent(new Event('input'))",
        name,
        value,
    )


def test_it_opens_from_disk_and_asks_for_nothing(common: Album, page: Browser) -> None:
    """Every cell is there, its thumbnail loaded; the console is silent; only files are read."""
    page.size(1280, 2400)
    page.open(common.index)
    assert len(shown(page)) == 19
    page.until(
        lambda: page.script(
            "return [...document.querySelectorAll('.card > img')].every(e => e.naturalWidth > 0)"
        )
    )
    assert len(page.all(".card > img")) == 17 + 6
    assert page.complaints == []
    assert {url.partition(":")[0] for url in page.requests} == {"file"}
    outcomes = page.script(
        "return [...document.querySelectorAll('[data-outcome]')].map(e => e.dataset.outcome)"
    )
    assert sorted(set(outcomes)) == ["done", "failed", "unknown"]


def test_filters_and_their_fragment(common: Album, page: Browser) -> None:
    """What is chosen is shown and stands in the fragment; the fragment alone leads there."""
    page.size(1280, 2400)
    page.open(common.index)
    choose(page, "model", KLING)
    assert len(shown(page)) == 6
    choose(page, "outcome", "failed")
    assert shown(page) == [(key_of("data/dogs/1.png"), "0")]
    assert page.page.url.endswith(f"#model={KLING}&outcome=failed")
    page.open(f"{common.index}#label=dogs&q=1.png")
    keys = {key_of("data/dogs/1.png", GEMINI, prompt) for prompt in ("white", "snow")}
    assert {key for key, _ in shown(page)} == keys | {key_of("data/dogs/1.png")}
    choose(page, "q", "nothing is called so")
    assert shown(page) == []
    assert page.one("#count").inner_text() == "no picture matches"


def test_sorted_by_cost(common: Album, page: Browser) -> None:
    """The dearest row is the first; without a choice rows stand as they were sent."""
    page.size(1280, 2400)
    page.open(f"{common.index}#model={KLING}")
    assert shown(page)[0][0] == key_of("data/cats/0.png", KLING, "white")
    choose(page, "sort", "dearest")
    # 0.6 unknown at most, then 0.4 for the fourth
    assert [key for key, _ in shown(page)][:2] == [
        key_of("data/dogs/2.png"),
        key_of("data/dogs/0.png", KLING, "white"),
    ]


def test_a_key_counts_once_its_dialog_has_closed(common: Album, page: Browser) -> None:
    """Even where the focus is still in what was typed into: a quick hand is not lost."""
    page.open(common.index)
    page.press("j", "r", "Escape")
    page.until(lambda: page.script("return document.querySelector('dialog[open]') === null"))
    page.script(
        "document.getElementById('reason').dispatchEvent("
        "new KeyboardEvent('keydown', {key: ' ', bubbles: true}))"
    )
    page.until(lambda: page.script("return document.getElementById('viewer').open"))


def test_everything_by_keyboard(common: Album, page: Browser) -> None:
    """Arrows and j move, space opens and turns, escape closes, k, r and u judge."""
    page.open(common.index)
    page.press("j")
    first = page.current()
    assert first["key"] == key_of("data/cats/0.png", GEMINI, "white")
    page.press("j")
    assert (page.current()["key"], page.current()["index"]) == (first["key"], "1")
    page.press("ArrowRight")
    assert page.current()["key"] == key_of("data/cats/0.png", KLING, "white")
    page.press("ArrowDown", "ArrowLeft")
    assert page.current()["key"] == key_of("data/cats/1.png", GEMINI, "white")
    page.press("k")
    page.until(lambda: page.current()["mark"] == "keep")
    page.press("r", *"too green", "Enter")
    page.until(lambda: page.current()["mark"] == "reject")
    assert "too green" in page.one("[aria-current=true]").inner_text()
    page.press("u")
    page.until(lambda: page.current()["mark"] == "keep")
    page.press("u")
    page.until(lambda: page.current()["mark"] == "")
    page.press("r", "Escape")
    page.until(lambda: page.script("return document.querySelector('dialog[open]') === null"))
    assert page.current()["mark"] == ""
    page.press(" ")
    page.until(lambda: page.script("return document.getElementById('viewer').open"))
    seen = [page.one("#stage").get_attribute("data-at")]
    for _ in range(3):
        page.press(" ")
        seen.append(page.one("#stage").get_attribute("data-at"))
    assert seen == ["50", "100", "0", "50"]
    page.press("r", "Enter")
    page.until(lambda: page.current()["mark"] == "reject")
    page.press("ArrowDown")
    assert "cats/2.png" in page.one("#facts").inner_text()
    page.press("Escape")
    assert not page.script("return document.getElementById('viewer').open")
    page.press("ArrowUp", "u")
    page.until(lambda: page.current()["mark"] == "")
    assert page.complaints == []


def test_the_slider_divides_before_and_after(common: Album, page: Browser) -> None:
    """Both pictures are loaded in full; the slider's arrow keys and the mouse move the divide."""
    page.open(common.index)
    page.press("j", "Enter")
    page.until(
        lambda: page.script(
            "return ['before', 'after'].every(id => document.getElementById(id).naturalWidth > 0)"
        )
    )
    source = page.one("#before").get_attribute("src") or ""
    assert source.endswith("/data/cats/0.png")
    slider = page.one("#slider")
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    assert page.one("#stage").get_attribute("data-at") == "48"
    clip = page.script("return getComputedStyle(document.getElementById('after')).clipPath")
    assert clip == "inset(0px 0px 0px 48%)"
    facts = page.one("#facts").inner_text()
    for said in ("0.271532 CNY", "48×36", "301", "make it white", "1.5 s"):
        assert said in facts


def test_marks_of_a_page_from_disk_are_exported(album: Album, page: Browser) -> None:
    """The exported file in the outputs folder is what `run --redo rejected` and pages read."""
    page.open(album.index)
    page.press("j", "r", *"blurred", "Enter")
    page.until(lambda: page.current()["mark"] == "reject")
    page.press("j", "k")
    page.until(lambda: page.current()["mark"] == "keep")
    page.page.reload()
    page.drawn()
    assert "1 kept · 1 rejected" in page.one("#count").inner_text()
    with page.page.expect_download() as downloading:
        page.one("#export").click()
    assert downloading.value.suggested_filename == "review.jsonl"
    exported = album.folder / "review.jsonl"
    downloading.value.save_as(exported)
    lines = [json.loads(line) for line in exported.read_text("utf-8").splitlines()]
    assert [(line["mark"], line["index"], line["reason"]) for line in lines] == [
        ("reject", 0, "blurred"),
        ("keep", 1, ""),
    ]
    write_pages(album)
    page.open(f"{album.index}#mark=reject")
    assert shown(page) == [(key_of("data/cats/0.png", GEMINI, "white"), "0")]
    assert page.complaints == []


def test_no_accessibility_violation(common: Album, page: Browser) -> None:
    """axe-core finds nothing: light and dark, at a desk and on a phone, in and out of a dialog."""
    for url in (common.index, common.costs):
        for scheme, width in SIGHTS:
            page.size(width, 800)
            page.prefer(scheme)
            page.open(url)
            if url == common.index:
                page.press("j")
                if width == 1280:
                    page.press(" ")
            assert page.violations() == [], f"{url} {scheme} {width}"


def test_chinese_by_the_browsers_language(common: Album, window: Browser) -> None:
    """A Chinese browser gets Chinese pages, all of their words."""
    with in_language(window, "zh-CN") as page:
        for url in (common.index, common.costs):
            page.open(url)
            assert page.script("return document.documentElement.lang") == "zh-CN"
            said = page.script(
                "return [...document.querySelectorAll('[data-say], dt, summary, button, caption')]"
                ".map(e => e.textContent.trim())"
            )
            left = [text for text in said if re.search(r"[a-z]{3}", text) and "token" not in text]
            assert left == []
        assert page.complaints == []


def test_paper_shows_every_row(common: Album, page: Browser) -> None:
    """Printed, the rows stand one below the other, with nothing to click."""
    page.open(common.index)
    page.page.emulate_media(media="print")
    page.script("dispatchEvent(new Event('beforeprint'))")
    tops = page.script(
        "return [...document.querySelectorAll('.row')].map(e => e.getBoundingClientRect())"
        ".map(b => [b.top, b.bottom])"
    )
    assert len(tops) == 6
    assert all(one[1] <= other[0] + 1 for one, other in pairwise(sorted(tops)))
    assert not page.one(".filters").is_visible()
    assert page.page.pdf().startswith(b"%PDF")
    page.page.emulate_media(media="screen")


def test_rejected_by_command_is_seen(album: Album, page: Browser) -> None:
    """`review --reject` marks all pictures that a word means; a page written later has it."""
    gemini = key_of("data/cats/0.png", GEMINI, "white")
    words = ["review", str(album.manifest), "--outputs", str(album.outputs)]
    assert main([*words, "--reject", "images/*/white/cats/0-*.png", "--reason", "no"]) == 0
    write_pages(album)
    page.size(1280, 2400)
    page.open(f"{album.index}#mark=reject")
    assert sorted(shown(page)) == sorted(
        [(gemini, "0"), (gemini, "1"), (key_of("data/cats/0.png", KLING, "white"), "0")]
    )
