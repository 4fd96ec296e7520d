"""`retouch resolve`: what is unknown is listed, and settled as the user says."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from retouch.cli import main
from retouch.ledger import Reader, read
from retouch.ledger.records import AmountRecord, Resolved, TaskAccepted
from retouch.storage.lock import exclusive
from tests.support.ledgers import key_of, started, write
from tests.support.priced import Priced, is_unknown, priced, was_done


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    made = priced(tmp_path)
    made.fill([was_done, is_unknown, is_unknown])
    return made


def listed(capsys: pytest.CaptureFixture[str], cats: Priced) -> list[dict[str, Any]]:
    assert main(["resolve", *cats.words, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def _with_key(cats: Priced, key: str) -> list[str]:
    return [cats.words[0], key, *cats.words[1:]]


def to_send(capsys: pytest.CaptureFixture[str], cats: Priced) -> dict[str, Any]:
    assert main(["plan", *cats.words, "--json"]) == 0
    lane: dict[str, Any] = json.loads(capsys.readouterr().out)["lanes"][0]
    return lane


def test_the_unknown_is_listed(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with time, model, source, ceiling and task; nothing is written by looking."""
    before = cats.ledger.read_bytes()
    first, second = listed(capsys, cats)
    assert first["source"] == "data/001.png"
    assert first["ceiling"] == {"amount": "0.600000", "currency": "CNY"}
    assert first["at"].startswith("2025-10-02T08:00:01")
    assert first["task"] is None
    assert second["reason"] == "no answer within 180 s"
    assert main(["resolve", *cats.words]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert cats.ledger.read_bytes() == before


def test_not_charged_is_sent_again(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """After --not-charged the next run sends them, and nothing is unknown any more."""
    assert to_send(capsys, cats)["held"] == 2
    assert main(["resolve", *cats.words, "--all", "--not-charged", "--note", "asked them"]) == 0
    capsys.readouterr()
    lane = to_send(capsys, cats)
    assert (lane["held"], lane["to_send"]) == (0, 4)
    assert lane["reasons"] == {"new": 2, "not charged": 2}
    assert not read(cats.ledger).open_charges
    notes = [each.note for each in Reader(cats.ledger) if isinstance(each, Resolved)]
    assert notes == ["asked them", "asked them"]
    assert listed(capsys, cats) == []


def test_charged_with_an_amount(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """One job by the beginning of its key: what it cost is confirmed, and it is not sent again."""
    key = listed(capsys, cats)[0]["key"]
    assert main(["resolve", *_with_key(cats, key[:10]), "--charged", "--amount", "0.28"]) == 0
    capsys.readouterr()
    state = read(cats.ledger)
    assert str(state.totals.confirmed["CNY"].amount) == "0.5515321"
    assert len(state.open_charges) == 1
    assert [each["key"] for each in listed(capsys, cats)] != [key]
    assert to_send(capsys, cats)["held"] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["data/001.png"],
        ["data/00[1].png"],
        ["images/gemini-2.5-flash-image/white/001-0.png"],
        ["images/*/white/data/001-*", "data/001.png"],
        ["@names.txt"],
    ],
)
def test_a_job_is_named_in_any_way(
    cats: Priced,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    """A source, an output path (which the plan knows), a glob of either, a file of them: the one
    that is meant is settled, the other stays."""
    monkeypatch.chdir(cats.folder)
    (cats.folder / "names.txt").write_text("data/001.png\n")
    job = next(each for each in cats.jobs() if each.source.name == "data/001.png")
    words = [job.output_path(0) + ".png" if each.startswith("images/g") else each for each in words]
    words = [job.output_path(0)[:-2] + "-*" if "*/" in each else each for each in words]
    first, second = (each["key"] for each in listed(capsys, cats))
    assert main(["resolve", cats.words[0], *words, *cats.words[1:], "--not-charged"]) == 0
    assert "1 settled as not charged" in capsys.readouterr().err
    assert first == job.key
    assert [each["key"] for each in listed(capsys, cats)] == [second]


def test_charged_nobody_knows_how_much(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an amount the cost stays between bounds: never a guess shown as a fact."""
    assert main(["resolve", *cats.words, "--all", "--charged"]) == 0
    capsys.readouterr()
    state = read(cats.ledger)
    assert str(state.totals.confirmed["CNY"].amount) == "0.2715321"
    assert len(state.open_charges) == 2
    assert listed(capsys, cats) == []
    lane = to_send(capsys, cats)
    assert (lane["held"], lane["to_send"]) == (0, 2)


def test_why_and_how_much_is_said(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """People read why each is unknown and what all of them may come to; no manifest is needed."""
    assert main(["resolve", str(cats.ledger.parent)]) == 0
    told = capsys.readouterr().out
    assert "data/001.png · white · gemini-2.5-flash-image" in told
    assert told.count("no answer within 180 s") == 2
    assert "2 unknown, up to 1.20 CNY" in told


def test_what_is_open_elsewhere_is_said(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks on file and what was settled without an amount are no business of this command, but a
    review counts them: so they are said."""
    records = list(Reader(cats.ledger))
    task = TaskAccepted(key=key_of(70), attempt=1, task="image-1")
    write(cats.ledger, [*records, started(70), task])
    assert main(["resolve", str(cats.ledger), "--all", "--charged"]) == 0
    capsys.readouterr()
    assert main(["resolve", str(cats.ledger)]) == 0
    told = capsys.readouterr()
    assert "nothing is unknown" in told.out
    assert "the next run asks for: 1" in told.err
    assert "nobody knew how much: 2" in told.err
    assert main(["resolve", str(cats.ledger), "--all", "--charged"]) == 0
    assert "nothing was settled" in capsys.readouterr().err


def test_amounts_are_of_one_currency(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """One amount for charges in two currencies would be read as both: it is refused."""
    dollars = AmountRecord(amount="1", currency="USD")
    write(cats.ledger, [*Reader(cats.ledger), started(70, ceiling=dollars)])
    before = cats.ledger.read_bytes()
    settle = ["resolve", *cats.words, "--all", "--charged", "--amount"]
    for amount, message in (("0.3", "settle each currency by its jobs"), ("0.3CNY", "CNY and USD")):
        assert main([*settle, amount]) == 2
        assert message in capsys.readouterr().err
    assert cats.ledger.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--all"], "say what is known"),
        (["--charged"], "say which"),
        (["--all", "--not-charged", "--amount", "1"], "--amount goes with --charged"),
        (["--charged", "--amount", "1"], "say which"),
        (["--all", "--charged", "--amount", "much"], "write an amount"),
        (["--all", "--charged", "--amount", "1USD"], "is charged in CNY"),
        (["--all", "--charged", "--amount", "Infinity"], "write an amount"),
        (["--all", "--charged", "--amount", "1XXX"], "XXX is no currency"),
    ],
)
def test_wrong_words(
    cats: Priced, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Each is refused with what to write, and nothing is written."""
    before = cats.ledger.read_bytes()
    assert main(["resolve", *cats.words, *words]) == 2
    assert message in capsys.readouterr().err
    assert cats.ledger.read_bytes() == before


def test_an_unknown_key(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that names nothing unknown is refused."""
    assert main(["resolve", *_with_key(cats, "0123456789"), "--charged"]) == 2
    assert "names no job that is meant here" in capsys.readouterr().err


def test_a_running_run_is_not_disturbed(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """While another process holds the folder nothing is settled: exit 4."""
    with exclusive(cats.ledger.parent):
        assert main(["resolve", *cats.words, "--all", "--charged"]) == 4
    assert "another run holds this outputs folder" in capsys.readouterr().err


def test_no_ledger_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing sent, nothing unknown; settling is refused."""
    fresh = priced(tmp_path)
    assert listed(capsys, fresh) == []
    assert main(["resolve", *fresh.words, "--all", "--charged"]) == 2


def test_a_verdict_is_corrected_by_another(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was settled wrongly is settled anew by a new record: money, waste and the next run
    follow the last verdict, and the first stays on file."""
    key = listed(capsys, cats)[0]["key"]

    def resolve(*words: str) -> int:
        return main(["resolve", *_with_key(cats, key[:12]), *words])

    def confirmed() -> str:
        assert main(["report", *cats.words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        waste = [
            (row["amount"], row["jobs"])
            for row in found["waste"]
            if row["kind"] == "charged_without_picture"
        ]
        paid = found["totals"][0]["confirmed"]
        assert paid == str(read(cats.ledger).totals.confirmed["CNY"].amount)
        return f"{paid} {waste}"

    first = confirmed()
    assert resolve("--charged", "--amount", "0.5", "--correct") == 2
    assert resolve("--charged", "--amount", "0.5") == 0
    assert confirmed() == "0.7715321 [('0.500000', 1)]"
    assert resolve("--charged", "--amount", "0.3") == 2
    assert resolve("--charged", "--amount", "0.3", "--correct", "--note", "the bill") == 0
    assert confirmed() == "0.5715321 [('0.300000', 1)]"
    assert resolve("--not-charged", "--correct") == 0
    assert confirmed() == first
    assert to_send(capsys, cats)["to_send"] == 3
    assert resolve("--charged", "--correct") == 0
    assert (to_send(capsys, cats)["to_send"], read(cats.ledger).unknown_high["CNY"].amount) == (
        2, Decimal("1.2"),
    )  # fmt: skip
    verdicts = [each for each in Reader(cats.ledger) if isinstance(each, Resolved)]
    assert [each.verdict for each in verdicts] == [
        "charged", "charged", "not_charged", "charged",
    ]  # fmt: skip
