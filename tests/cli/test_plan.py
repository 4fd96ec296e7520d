"""`retouch plan`: counts, reasons, costs and their basis; problems are listed and exit 2."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from retouch.cli import main
from tests.support.priced import Priced, is_unknown, priced, was_done

LANE = {
    "model", "jobs", "done", "reused", "held", "to_send", "cost", "basis", "reasons",
    "seconds_at_limits",
}  # fmt: skip


def planned(capsys: pytest.CaptureFixture[str], cats: Priced, *flags: str) -> dict[str, Any]:
    code = main(["plan", *cats.words, "--json", *flags])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (1 if any(found["outside"].values()) else 0)
    return found


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    return priced(tmp_path)


def test_json_is_the_designs(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A lane has DESIGN §7's fields and no other; amounts are decimal strings."""
    found = planned(capsys, cats)
    assert set(found) == {"lanes", "bad_sources", "budgets", "outside"}
    assert found["outside"] == {"tasks": 0, "held": 0}
    (lane,) = found["lanes"]
    assert set(lane) == LANE
    assert (lane["jobs"], lane["to_send"], lane["reasons"]) == (5, 5, {"new": 5})
    assert lane["cost"]["currency"] == "CNY"
    amounts = [Decimal(lane["cost"][name]) for name in ("low", "likely", "high")]
    assert amounts == sorted(amounts)
    assert lane["basis"] == "the dialect's table of tokens"
    assert not cats.ledger.exists()


def test_reasons_are_told_apart(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Done, held and new jobs are counted; a changed prompt or option is named."""
    cats.fill([was_done, was_done, is_unknown])
    (lane,) = planned(capsys, cats)["lanes"]
    assert (lane["done"], lane["held"], lane["to_send"]) == (2, 1, 2)
    assert lane["reasons"] == {"new": 2}
    cats.write(prompt="make it black")
    (lane,) = planned(capsys, cats)["lanes"]
    assert lane["reasons"] == {"new": 2, "prompt changed": 3}
    cats.write(n=2)
    (lane,) = planned(capsys, cats)["lanes"]
    assert lane["reasons"] == {"new": 2, "option changed": 3}


def test_explain_lists_the_jobs(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """With --explain each job to be sent is listed with its reason."""
    jobs = cats.fill([was_done, was_done, was_done])
    listed = planned(capsys, cats, "--explain")["to_send"]
    assert [each["key"] for each in listed] == [job.key for job in jobs[3:]]
    assert main(["plan", *cats.words, "--explain"]) == 0
    assert "new: data/003.png · white · gemini-2.5-flash-image" in capsys.readouterr().out


def test_history_is_the_basis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty finished jobs are what the estimate of the rest says it rests on, also when they
    stand in the ledger of another manifest."""
    cats = priced(tmp_path, 30)
    cats.fill([was_done] * 20)
    (lane,) = planned(capsys, cats)["lanes"]
    assert lane["basis"].startswith("history: 20 records, median 0.2715 CNY a job")
    assert Decimal(lane["cost"]["likely"]) == 10 * Decimal("0.2715321")
    assert all(len(lane["cost"][name].partition(".")[2]) == 6 for name in ("low", "likely", "high"))
    cats.ledger.parent.rename(cats.outputs / "dogs")
    (lane,) = planned(capsys, cats)["lanes"]
    assert lane["to_send"] == 30
    assert lane["basis"].startswith("history: 20 records")


def test_unpriced_is_said(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a price there is no currency and no amount."""
    cats.write(price="null")
    (lane,) = planned(capsys, cats)["lanes"]
    assert lane["cost"] == {"currency": None, "low": None, "likely": None, "high": None}
    assert lane["basis"] == "unpriced"


def test_time_at_limits(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """The rates say how long it takes."""
    text = cats.manifest.read_text().replace(
        "options:", "limits: {requests_per_minute: 10}, options:"
    )
    cats.manifest.write_text(text)
    (lane,) = planned(capsys, cats)["lanes"]
    assert lane["seconds_at_limits"] == 30.0


def test_bad_sources_are_listed_with_the_rest(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad picture means exit 2, and everything else is still planned; skipped, exit 0."""
    (cats.folder / "data" / "bad.png").write_bytes(b"<html>no picture</html>")
    assert main(["plan", *cats.words, "--json"]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["lanes"][0]["to_send"] == 5
    (bad,) = found["bad_sources"]
    assert bad["source"] == "data/bad.png"
    assert bad["reason"]
    assert "data/bad.png" in captured.err
    cats.write(more="run: {on_bad_source: skip}")
    assert len(planned(capsys, cats)["bad_sources"]) == 1


def test_table_fits(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says cost and basis within 100 columns."""
    assert main(["plan", *cats.words]) == 0
    text = capsys.readouterr().out
    assert "low - likely - high" in text
    assert "basis: the dialect's table of tokens" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "total" not in text  # of one model there is none


def test_lanes_are_added_up(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Several models' costs have a total, and a finished plan says that nothing is to send."""
    other = "  - {model: gemini-3.0-pro-image-preview, price: {currency: CNY, per_image: 0.2}}"
    cats.manifest.write_text(f"{cats.manifest.read_text().rstrip()}\n{other}\n")
    lanes = planned(capsys, cats)["lanes"]
    likely = sum((Decimal(lane["cost"]["likely"]) for lane in lanes), Decimal(0))
    assert main(["plan", *cats.words]) == 0
    told = capsys.readouterr().out
    assert re.search(rf"^total .* - {likely:.2f} - .* CNY", told, re.MULTILINE), told


def test_a_finished_plan_says_so(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to send, and what is held, is said in words."""
    cats.fill([was_done, was_done, was_done, was_done, is_unknown])
    assert main(["plan", *cats.words]) == 0
    told = capsys.readouterr().out
    assert "nothing to send" in told
    assert "1 job may have been charged without an answer: `retouch resolve`" in told


@pytest.mark.parametrize(("above", "code"), [("0.01", 4), ("100", 4)])
def test_runs_above_are_refused_without_a_terminal(
    cats: Priced,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    above: str,
    code: int,
) -> None:
    """Above `confirm_above`, nobody being there to ask, a run is refused; below it goes on (and
    here fails for want of a key); with --yes too. Nothing is written in any case."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    cats.write(more=f"run: {{confirm_above: {{amount: {above}, currency: CNY}}}}")
    assert main(["run", *cats.words]) == code
    said = capsys.readouterr().err
    assert ("confirm_above" in said) == (above == "0.01")
    assert main(["run", *cats.words, "--yes"]) == 4
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    assert not cats.ledger.exists() or not cats.ledger.read_bytes()


@pytest.mark.parametrize(
    ("price", "flags", "message"),
    [
        ("null", ["--budget", "5"], "has no price"),
        ("{currency: CNY, per_image: 0.2}", ["--budget", "5USD"], "the prices are in CNY"),
        ("{currency: CNY, per_image: 0.2}", ["--budget", "NaN"], "write an amount"),
        ("{currency: CNY, per_image: 0.2}", ["--budget", "-1"], "write an amount"),
    ],
)
def test_budgets_that_cannot_hold(
    cats: Priced,
    capsys: pytest.CaptureFixture[str],
    price: str,
    flags: list[str],
    message: str,
) -> None:
    """A budget that nothing can hold is refused before anything is sent: exit 2."""
    cats.write(price=price)
    assert main(["run", *cats.words, *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_budget_needs_ceilings(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """By tokens, a model without a table needs ceilings in its price to be held by a budget."""
    cats.write(more="run: {budget: {amount: 5, currency: CNY}}")
    text = cats.manifest.read_text().replace("gemini-2.5-flash-image", "gpt-image-1")
    cats.manifest.write_text(text)
    assert main(["run", *cats.words]) == 2
    assert "ceiling_output_tokens_per_image" in capsys.readouterr().err
