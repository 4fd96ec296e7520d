"""`retouch reconcile`: exit 1 while anything is unexplained; --settle writes what the bill says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.ledger import read
from tests.cli.priced import Priced, is_unknown, priced, was_done

DAY, MODEL = "2025-10-02", "gemini-2.5-flash-image"


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    made = priced(tmp_path)
    made.fill([was_done, was_done, is_unknown])
    return made


def bill(cats: Priced, *amounts: str, header: str = "date,model,amount") -> str:
    path = cats.folder / "bill.csv"
    path.write_text("\n".join([header, *(f"{DAY},{MODEL},{each}" for each in amounts)]))
    return str(path)


def test_agreement(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A bill of what was paid is explained: exit 0."""
    path = bill(cats, "0.2715321", "0.2715321")
    assert main(["reconcile", *cats.words, "--bill", path]) == 0
    text = capsys.readouterr().out
    assert "everything is explained" in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_is_missing_is_named(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A request that is not on the bill is named by source and key: exit 1."""
    assert main(["reconcile", *cats.words, "--bill", bill(cats, "0.2715321"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (row,) = found["unexplained"]
    assert (row["day"], row["model"], row["unexplained"]) == (DAY, MODEL, "-0.2715321")
    assert "data/00" in row["suspects"][0]["text"]


def test_settle_charged(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """What the bill holds beyond ours is what the unknown request cost."""
    path = bill(cats, "0.2715321", "0.2715321", "0.31")
    assert main(["reconcile", *cats.words, "--bill", path, "--settle"]) == 0
    state = read(cats.ledger)
    assert str(state.totals.confirmed["CNY"].amount) == "0.8530642"
    assert not state.open_charges
    capsys.readouterr()
    assert main(["reconcile", *cats.words, "--bill", path]) == 0
    assert "unknown" not in capsys.readouterr().out


def test_settle_not_charged(cats: Priced) -> None:
    """An unknown request that the bill does not hold was not charged, and is sent again."""
    path = bill(cats, "0.2715321", "0.2715321")
    assert main(["reconcile", *cats.words, "--bill", path, "--settle"]) == 0
    state = read(cats.ledger)
    assert not state.open_charges
    assert state.counts()["resolved"] == 1


def test_without_settle_nothing_is_written(cats: Priced) -> None:
    """Comparing changes nothing."""
    before = cats.ledger.read_bytes()
    main(["reconcile", *cats.words, "--bill", bill(cats, "0.2715321", "0.2715321", "0.31")])
    assert cats.ledger.read_bytes() == before


def test_columns_are_mapped(cats: Priced) -> None:
    """Columns of other names are said by --columns."""
    path = bill(cats, "0.2715321", "0.2715321", header="Tag,Modell,Betrag")
    columns = "date=Tag,model=Modell,amount=Betrag"
    assert main(["reconcile", *cats.words, "--bill", path, "--columns", columns]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--columns", "amount=Betrag"], "there is no column `Betrag`; its columns: date, model"),
        (["--columns", "betrag=amount"], "the roles are date, model"),
        (["--currency", "RMB"], "no currency"),
        (["--utc-offset", "8"], "write an offset like +08:00"),
        (["--since", "x"], "write a day"),
    ],
)
def test_wrong_words(
    cats: Priced, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    """Each is refused with what to write: exit 2."""
    path = bill(cats, "0.2715321", "0.2715321")
    assert main(["reconcile", *cats.words, "--bill", path, *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_bill(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A bill that is not there is said by its path."""
    assert main(["reconcile", *cats.words, "--bill", "none.csv"]) == 2
    assert "none.csv: No such file" in capsys.readouterr().err


def test_fetch_needs_one_manifest(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Whom to ask stands in a manifest; a rehearsal in process has no bill."""
    assert main(["reconcile", str(cats.ledger), "--fetch"]) == 2
    assert "name one manifest" in capsys.readouterr().err
