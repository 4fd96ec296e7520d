"""`--redo` names jobs in any way; `plan` takes and prices what `run` takes; money of two kinds."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from retouch.cli import main
from tests.support.priced import Priced, is_unknown, priced, was_done


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    return priced(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], cats: Priced, *flags: str) -> dict[str, Any]:
    assert main(["plan", *cats.words, "--json", *flags]) == 0
    lane: dict[str, Any] = json.loads(capsys.readouterr().out)["lanes"][0]
    return lane


OUTPUT = "images/gemini-2.5-flash-image/white/data/001-0"


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["{key}"], 1),
        (["{key:.12}"], 1),
        (["data/001.png"], 1),
        ([f"{OUTPUT}.png"], 1),
        ([OUTPUT], 1),
        (["data/00[12].png"], 2),
        (["images/*/white/data/00?-0.png"], 5),
        (["@list"], 2),
        (["data/001.png", "{key:.12}"], 1),
    ],
)
def test_a_job_is_named_in_any_way_and_priced(
    cats: Priced, capsys: pytest.CaptureFixture[str], words: list[str], jobs: int
) -> None:
    """A key or its first digits, a source, an output path, a glob of either, a file of them."""
    key = cats.fill([was_done] * 5)[1].key
    listed = cats.folder / "list"
    listed.write_text("data/001.png\r\n\ndata/004.png\n")
    named = [word.format(key=key).replace("@list", f"@{listed}") for word in words]
    assert planned(capsys, cats)["to_send"] == 0
    lane = planned(capsys, cats, "--redo", *named)
    assert (lane["to_send"], lane["reasons"]) == (jobs, {"asked for": jobs})
    assert Decimal(lane["cost"]["likely"]) > 0


def test_states_are_priced_by_the_plan_too(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """`plan --redo unknown` says what `run --redo unknown` would send."""
    cats.fill([was_done, is_unknown, is_unknown, was_done, was_done])
    assert planned(capsys, cats)["held"] == 2
    assert planned(capsys, cats, "--redo", "unknown")["to_send"] == 2


@pytest.mark.parametrize("word", ["data/9.png", "0" * 12, "nothing*", "@/nowhere", "Failed"])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_names_nothing_is_refused(
    cats: Priced, capsys: pytest.CaptureFixture[str], command: str, word: str
) -> None:
    """Exit 2 with the word and what may stand there; nothing is sent."""
    assert main([command, *cats.words, "--redo", word]) == 2
    assert word in capsys.readouterr().err
    assert not cats.ledger.exists()


USD = "{currency: USD, input_per_million: 0.3, output_per_million: 30}"


def test_a_price_restated_over_open_charges_is_refused(
    cats: Priced, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CASES A9: what is open in CNY is no part of a sum in USD: exit 2, nothing sent."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    cats.fill([is_unknown])
    cats.write(price=USD)
    assert main(["run", *cats.words]) == 2
    told = capsys.readouterr().err
    assert "gemini-2.5-flash-image is priced in USD now, and charges in CNY are open" in told


def test_a_total_over_amounts_in_another_currency_is_refused(
    cats: Priced, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would begin at zero and allow as much again."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    cats.fill([was_done])
    cats.write(price=USD, more="run: {budget: {total: 3, currency: USD}}")
    assert main(["run", *cats.words]) == 2
    assert "a budget in USD over a ledger with amounts in CNY" in capsys.readouterr().err
