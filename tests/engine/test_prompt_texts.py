"""The prompts on file: what is asked is there before it is sent, and nothing waits for the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retouch.engine.prompt_texts import LATEST, NAME, Texts, keep_texts, texts_in
from retouch.errors import StorageFailed
from retouch.ledger.records import Started
from retouch.ledger.terms import prompt_digest
from tests.support.provider import Provider
from tests.support.workbench import GEMINI, Bench, lane


def _lines(folder: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (folder / NAME).read_bytes().splitlines()]


def test_what_all_sources_share_is_there_at_once_and_once(tmp_path: Path) -> None:
    for _ in range(3):
        keep_texts(tmp_path, ["white", "夜", "white"])
        texts = Texts(tmp_path, ["white", "夜"])
        assert _lines(tmp_path) == ["white", "夜"]
        texts.keep("white")
        assert _lines(tmp_path) == ["white", "夜"]
    assert set(texts_in(tmp_path)) == {prompt_digest("white"), prompt_digest("夜")}


def test_a_text_of_one_source_is_there_as_soon_as_it_is_kept(tmp_path: Path) -> None:
    """As a killed process leaves it. What is one of the latest comes once, and of
    a million no more are remembered."""
    keep_texts(tmp_path, ["white"])
    texts = Texts(tmp_path, ["white"])
    for number in range(LATEST + 10):
        for _ in range(2):
            texts.keep(f"the cat {number}")
    assert _lines(tmp_path) == ["white", *(f"the cat {number}" for number in range(LATEST + 10))]
    assert len(texts._latest) == LATEST


def test_shards_add_beside_each_other(tmp_path: Path) -> None:
    keep_texts(tmp_path, ["white"])
    one, other = Texts(tmp_path, ["white"]), Texts(tmp_path, ["white"])
    one.keep("first")
    other.keep("second")
    one.keep("third")
    assert _lines(tmp_path) == ["white", "first", "second", "third"]


@pytest.mark.parametrize("cut", [b'{"digest":"0', b'{"digest":"%s","text":"whi'])
def test_a_line_that_a_crash_cut_is_left_and_hides_no_other(tmp_path: Path, cut: bytes) -> None:
    digest = prompt_digest("white").encode()
    (tmp_path / NAME).write_bytes(cut.replace(b"%s", digest))
    keep_texts(tmp_path, ["white"])
    texts = Texts(tmp_path, ["white"])
    texts.keep("the cat")
    assert set(texts_in(tmp_path).values()) == {"white", "the cat"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / NAME).write_bytes(cut)
    texts = Texts(tmp_path / "other", [])
    texts.keep("the cat")
    assert set(texts_in(tmp_path / "other").values()) == {"the cat"}


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    texts = Texts(tmp_path, [])
    (tmp_path / NAME).mkdir()
    with pytest.raises(StorageFailed, match=r"prompts\.jsonl"):
        texts.keep("the cat")
    with pytest.raises(StorageFailed, match=r"prompts\.jsonl"):
        keep_texts(tmp_path, ["the cat"])


def test_lines_that_are_no_texts_are_passed_over(tmp_path: Path) -> None:
    """Each text stands under its own digest, whatever its line says; a later line changes none."""
    assert texts_in(tmp_path) == {}
    lines = ["", "no JSON", "[]", '"x"', '{"digest":"0"}', '{"text":5}']
    lines += ['{"digest":"0","text":"a"}', '{"text":"b"}', '{"digest":"0","text":"a"}']
    (tmp_path / NAME).write_text("\n".join(lines))
    assert texts_in(tmp_path) == {prompt_digest("a"): "a", prompt_digest("b"): "b"}


def test_a_line_is_a_text_with_its_digest(tmp_path: Path) -> None:
    """In this order, as it is looked for; a line that says another text under that digest is not
    it."""
    keep_texts(tmp_path, ["夜"])
    line = f'{{"digest":"{prompt_digest("夜")}","text":"夜"}}\n'
    assert (tmp_path / NAME).read_text() == line
    (tmp_path / NAME).write_text(line.replace('"夜"', '"日"'))
    keep_texts(tmp_path, ["夜"])
    assert (tmp_path / NAME).read_text() == line.replace('"夜"', '"日"') + line
    keep_texts(tmp_path, [])
    assert (tmp_path / NAME).read_text().count("\n") == 2


@pytest.mark.anyio
@pytest.mark.virtual_time
async def test_a_text_is_kept_before_it_is_sent_or_nothing_is(tmp_path: Path) -> None:
    for name in ("kept", "full"):
        (tmp_path / name).mkdir()
    kept: list[tuple[str, int]] = []
    bench = Bench(tmp_path / "kept", Provider())
    bench.keep_text = lambda text: kept.append((text, len(bench.provider.book)))
    await bench.run([lane(GEMINI, 3)])
    assert len(kept) == len(bench.provider.book) == 3
    assert kept[0][1] == 0

    def full(text: str) -> None:
        raise StorageFailed(f"no room for {text}")

    bench = Bench(tmp_path / "full", Provider(), keep_text=full)
    summary = await bench.run([lane(GEMINI, 3)])
    assert isinstance(summary.stopped, StorageFailed)
    assert not bench.provider.book
    assert not bench.records_of(Started)
