"""A review beside another span, and work as another model would have done it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retouch.cli import main
from tests.support.ledgers import GEMINI, KLING, begins, done, started, write


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Two jobs of September, three of October."""
    records: list[Any] = [begins()]
    for number, day in enumerate(((9, 1), (9, 30), (10, 1), (10, 2), (10, 31))):
        at = datetime(2026, *day, tzinfo=UTC)
        records += [started(number, at), done(number, "0.3", at)]
    return write(tmp_path / "cats" / "ledger.jsonl", records)


def reviewed(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["report", *map(str, words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("words", "now", "before"),
    [
        (("--compare", "previous"), "0.900000", "0.600000"),
        (("--compare", "2026-09"), "1.500000", "0.600000"),
        (("--compare", "previous", "--since", "2026-10-01", "--until", "2026-10-02"),
         "0.600000", "0.300000"),
    ],
)  # fmt: skip
def test_months_are_compared(
    ledger: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], now: str, before: str
) -> None:
    """Each sum has the one before and the change beside it; rows that were not there had 0."""
    found = reviewed(capsys, ledger, "--by", "model", *words)
    (total,), (row,) = found["totals"], found["by"]
    for each in (total, row):
        assert each["confirmed"] == now
        assert each["previous"] == {"confirmed": before, "unknown_high": "0.000000"}
        assert float(each["change"]) == pytest.approx(float(now) - float(before))


def test_equal_paths_of_two_ledgers_are_compared_each_with_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two ledgers that edited files of one name: each row has its own past, and the table says
    which ledger it is of."""
    for name, now, before in (("a", "0.5", "0.1"), ("b", "0.7", "0.2")):
        earlier, later = datetime(2026, 9, 5, tzinfo=UTC), datetime(2026, 10, 5, tzinfo=UTC)
        records: list[Any] = [
            started(1, earlier, source="cats/1.png"), done(1, before, at=earlier),
            started(2, later, source="cats/1.png"), done(2, now, at=later),
        ]  # fmt: skip
        write(tmp_path / name / "ledger.jsonl", [begins(), *records], run=f"run-{name}")
    words = [str(tmp_path / "a"), str(tmp_path / "b"), "--by", "source", "--compare", "previous"]
    assert main(["report", *words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["by"]
    assert {row["ledger"]: (row["confirmed"], row["previous"]["confirmed"]) for row in rows} == {
        "a": ("0.500000", "0.100000"), "b": ("0.700000", "0.200000"),
    }  # fmt: skip
    assert main(["report", *words]) == 0
    table = capsys.readouterr().out.partition("By source")[2].splitlines()
    assert table[1].split()[:2] == ["ledger", "source"]


def test_another_models_price(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a model's work cost stands beside what the other's price makes of it."""
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        f"version: 1\nprices: [{{id: p, model: {KLING}, currency: CNY, per_image: 0.2}}]\n"
    )
    found = reviewed(capsys, ledger, "--as", f"{GEMINI}={KLING}", "--prices", prices)
    assert found["what_if"] == [
        {
            "model": GEMINI, "as": KLING, "currency": "CNY",
            "confirmed": "1.500000", "would_be": "1.000000",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("words", [("--compare", "lately"), ("--as", "x"), ("--as", "a=b")])
def test_what_cannot_be_compared_is_said(
    ledger: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """A word that is none, or a ledger whose prices are not known, is refused."""
    assert main(["report", str(ledger), *words]) == 2
    assert words[0] in capsys.readouterr().err
