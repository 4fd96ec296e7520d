"""What a cell says of its picture: measured, counted, and the report's own word on waste."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance, ImageOps

from retouch.cli import main
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord, Resolved
from retouch.review.marks import append_marks, mark_now
from tests.review.conftest import write_pages
from tests.support.albums import Album, key_of, png
from tests.support.browser import Browser
from tests.support.ledgers import (
    FIRST,
    GEMINI,
    TERMS,
    done,
    failed,
    stamp,
    started,
    unknown,
)
from tests.support.reviewing import served

CAT = Path(__file__).parents[2] / "manifests" / "quickstart" / "cat.jpg"
SIZE = (450, 300)


def written(picture: Image.Image) -> bytes:
    data = BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


@cache
def cat() -> Image.Image:
    with Image.open(CAT) as picture:
        return picture.convert("RGB").resize(SIZE)


def edits() -> dict[str, Image.Image]:
    """Edits of the cat by what has become of its geometry."""
    dark = ImageEnhance.Brightness(cat()).enhance(0.8)
    return {
        "in place": dark.resize((900, 600)),
        "moved": ImageOps.expand(dark.crop((0, 0, 400, 300)), (50, 0, 0, 0)),
        "stretched": dark.resize((450, 400)),
        "reframed": dark.crop((75, 0, 375, 300)),
        "not measurable": Image.new("RGB", SIZE, (90, 90, 90)),
    }


@pytest.fixture
def album(tmp_path: Path) -> Album:
    """One source a kind of edit, in two splits by their folders."""
    album = Album(tmp_path)
    records: list[AnyRecord] = []
    names = []
    for number, (name, edit) in enumerate(edits().items()):
        split = "test" if number == 0 else "train"
        source = f"data/{split}/{name.replace(' ', '-')}.png"
        place = tmp_path / source
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(written(cat().crop((number, 0, *SIZE)).resize(SIZE)))
        records += album.finished(source, GEMINI, "white", pictures=[written(edit)], seconds=2.25)
        names.append(source)
    return album.write(records, names, more="splits: {from: path}\n")


def cell(page: Browser, source: str) -> str:
    return page.one(f".card[data-key='{key_of(source, GEMINI, 'white')}']").inner_text()


def test_a_cell_says_what_an_edit_took_and_how_it_lies(album: Album, page: Browser) -> None:
    """Cost, seconds, tokens, digest, size and measured geometry; the splits are the plan's."""
    write_pages(album)
    page.size(1280, 2400)
    page.open(album.index)
    ledger = (album.folder / "ledger.jsonl").read_text("utf-8").splitlines()
    digests = {
        line["key"]: line["files"][0]["sha256"]
        for line in map(json.loads, ledger)
        if line["event"] == "done"
    }
    for name, edit in edits().items():
        source = f"data/{'test' if name == 'in place' else 'train'}/{name.replace(' ', '-')}.png"
        said = cell(page, source)
        digest = digests[key_of(source, GEMINI, "white")][:7]
        for word in ("0.2715 CNY", "2.25 s", "1,591 tok.", digest, f"{edit.width}×{edit.height}"):
            assert word in said, name
        assert name in said
    moved = cell(page, "data/train/moved.png").partition("moved ")[2]
    assert float(moved.partition(" %")[0]) == pytest.approx(100 * 50 / 450, abs=0.5)
    assert {e.inner_text() for e in page.all("#choose-split option")} == {
        "any split", "test", "train",
    }  # fmt: skip
    page.open(f"{album.index}#split=test")
    assert len(page.all("[data-key]")) == 1
    assert page.complaints == []


def test_a_served_page_measures_what_is_looked_at(album: Album, page: Browser) -> None:
    """Nothing was measured yet: opened in full, an edit is, and its cell says so from then on."""
    with served(album) as running:
        page.size(1280, 2400)
        page.open(running.url)
        assert "moved" not in cell(page, "data/train/moved.png")
        page.one(f".card[data-key='{key_of('data/train/moved.png', GEMINI, 'white')}']").click()
        page.until(lambda: "moved 11" in page.one("#facts").inner_text())
        page.press("Escape")
        assert "moved 11" in cell(page, "data/train/moved.png")
        for query in ("", "?key=x&index=0", f"?key={'0' * 64}&index=0", "?index=99999999999999"):
            assert running.ask("GET", f"/{running.token}/geometry{query}")[0] == 404
        assert running.ask("GET", "/x/geometry?key=x&index=0")[0] == 403
        assert page.complaints == []
        page.page.goto("about:blank")  # or it would ask a server that is gone
    with served(album) as running:
        page.open(running.url)
        assert "moved 11" in cell(page, "data/train/moved.png"), "it was remembered"
        assert page.complaints == []


def test_waste_is_the_reports_in_every_kind(tmp_path: Path, page: Browser) -> None:
    """Eight kinds: each amount on the page, and each list of jobs behind it, is what
    `report --json` says; so is the total, where no charge counts twice."""
    album = Album(tmp_path)
    names = [f"data/{number}.png" for number in range(8)]
    plain = png(10, 90, 160)

    def words(number: int, attempt: int = 1) -> dict[str, Any]:
        key = key_of(names[number], GEMINI, "white")
        return {"key": key, "model": GEMINI, "prompt": "white", "source": names[number],
                "attempt": attempt}  # fmt: skip

    def paid(amount: str) -> CostRecord:
        return CostRecord(amount=amount, currency="CNY", basis="images", price="p")

    def made(number: int, data: bytes, **more: Any) -> list[AnyRecord]:
        return list(album.finished(names[number], GEMINI, "white", pictures=[data], **more))

    def asked(number: int, terms: dict[str, Any], *, data: bytes, amount: str) -> list[AnyRecord]:
        from msgspec.structs import replace  # noqa: PLC0415

        _, end = made(number, data, cost=paid(amount))
        return [started(0, **words(number), terms=replace(TERMS, **terms)), end]

    later = FIRST + timedelta(days=1)
    first = made(0, png(50, 60, 70), cost=paid("0.1"))
    again = album.files(names[0], GEMINI, "white", [png(200, 9, 9)])
    records: list[AnyRecord] = [
        *first,
        started(0, later, **words(0, 2)),
        done(0, at=later, files=again, cost=paid("0.15"), **words(0, 2)),  # replaced: 0.1
        started(1, **words(1)),
        unknown(1, **words(1)),
        Resolved(key=words(1)["key"], attempt=1, verdict="charged", at=stamp(later),
                 amount=AmountRecord(amount="0.3", currency="CNY")),
        started(2, **words(2)),
        failed(2, "yes", cost=paid("0.4"), **words(2)),
        *asked(3, {"n": 3}, data=png(99, 1, 1), amount="0.5"),
        *asked(4, {"size": "1024x1024"}, data=png(1, 99, 1), amount="0.6"),
        *made(5, written(Image.new("RGB", (48, 36), (255, 255, 255))), cost=paid("0.7")),
        *made(6, plain, cost=paid("0.8")),
        # Two kinds at once: blank, and rejected below.
        *made(7, written(Image.new("RGB", (48, 36), (0, 0, 0))), cost=paid("0.9")),
    ]  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / names[6]).write_bytes(plain)
    album.write(records, names)
    append_marks(album.folder, [mark_now(words(7)["key"], 0, "reject", "no")])
    write_pages(album)
    target = tmp_path / "review.json"
    command = ["report", str(album.manifest), "--outputs", str(album.outputs), "--to", str(target)]
    assert main(command) == 0
    review = json.loads(target.read_text("utf-8"))
    assert {each["kind"] for each in review["waste"]} == {
        "replaced", "charged_without_picture", "refused_but_billed", "fewer_than_asked",
        "other_size", "blank", "unchanged", "rejected",
    }  # fmt: skip
    table = (
        "const h = [...document.querySelectorAll('h3')].find(e => e.textContent === 'Waste');"
        "return [...h.nextElementSibling.querySelectorAll('tr')].slice(1)"
        ".map(e => [e.children[0].textContent, e.children[1].textContent])"
    )
    page.open(album.costs)
    shown = page.script(table)
    amounts = {each["kind"].replace("_", " "): each["amount"] for each in review["waste"]}
    *kinds, total = shown
    assert [name for name, _ in kinds] == list(amounts), "the dearest first"
    assert {name: float(amount) for name, amount in kinds} == {
        name: pytest.approx(float(amount)) for name, amount in amounts.items()
    }
    assert float(total[1]) == pytest.approx(float(review["waste_total"][0]["amount"]))
    for each in review["waste"]:
        page.open(f"{album.costs}#currency=CNY&waste={each['kind']}")
        listed = {row.get_attribute("data-key") for row in page.all("#jobs-body tr")}
        assert listed == {example["key"] for example in each["examples"]}, each["kind"]
        page.open(f"{album.index}#waste={each['kind']}")
        cells = {card.get_attribute("data-key") for card in page.all("[data-key]")}
        assert cells == listed, each["kind"]
    with served(album) as running:
        home = f"/{running.token}/report"
        page.until(lambda: b"unchanged" in running.ask("GET", f"{home}/data/gallery.js")[1])
        page.open(f"http://127.0.0.1:{running.port}{home}/costs.html")
        assert page.script(table) == shown, "served, too"
        page.page.goto("about:blank")
    assert page.complaints == []
