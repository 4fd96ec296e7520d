"""`retouch reconcile`: exit 1 while anything is unexplained; --settle writes what the bill says."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.ledger import read
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord
from tests.support.ledgers import FIRST, begins, done, key_of, started, write
from tests.support.priced import Priced, is_unknown, priced, was_done

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


def reconciled(cats: Priced, capsys: pytest.CaptureFixture[str], path: str, *more: str) -> str:
    main(["reconcile", *cats.words, "--bill", path, *more])
    told = capsys.readouterr()
    return told.out + told.err


def test_sums_stand_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The totals of both sides, one for each currency."""
    cats = priced(tmp_path)
    kling = "kling-v2"
    records = [*_paid(1), started(2, model=kling), done(2, "0.2", model=kling)]
    write(cats.ledger, [begins(), *records])
    text = f"date,model,amount\n{DAY},{MODEL},0.2715321\n{DAY},kling-v2,1.2\n合计,,1.4715321\n"
    (tmp_path / "bill.csv").write_text(text)
    told = reconciled(cats, capsys, str(tmp_path / "bill.csv"))
    assert re.search(r"^total +0\.47 +1\.47 +1\.00 *$", told, re.MULTILINE), told
    assert "bill.csv:4: left out, a total or of no day (1.4715321)" in told
    assert "1 difference is unexplained" in told


@pytest.mark.parametrize("columns", [80, 140])
def test_the_table_is_for_a_reader(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    """Totals first, models whole, what is next to nothing as `<0.01`, keys of twelve digits, rows
    that agree counted; no line but those of names wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    cats = priced(tmp_path)
    models = ("gemini-2.5-flash-image", "kling-v2", "doubao-seededit-3-0-i2i-250628")
    records: list[AnyRecord] = [begins()]
    lines = ["date,model,amount"]
    for number in range(30):
        at, model = FIRST + timedelta(days=number // 3), models[number % 3]
        records += [started(number, at, model=model), done(number, "0.2", at=at, model=model)]
        amount = {4: "0.2000001", 7: "0.1999997", 8: "0.5", 29: ""}.get(number, "0.2")
        lines += [f"{at:%Y-%m-%d},{model},{amount}"] if amount else []
    write(cats.ledger, records)
    (tmp_path / "bill.csv").write_text("\n".join(lines))
    told = reconciled(cats, capsys, str(tmp_path / "bill.csv")).splitlines()
    assert told[2].split() == ["total", "6.00", "6.10", "0.10"]
    rows = [line for line in told if line.startswith("2025") and ":" not in line]
    assert [row.split()[1] for row in rows] == ["kling-v2", models[2], "kling-v2", models[2]]
    assert [row.split()[-2:] for row in rows] == [
        ["<0.01", "unexplained"], ["0.30", "unexplained"],
        ["-<0.01", "unexplained"], ["-0.20", "unexplained"],
    ]  # fmt: skip
    assert "26 rows that agree, not shown (--json has all)" in told
    assert any(line.endswith(f"key {key_of(29)[:12]}") for line in told)
    assert max(len(line) for line in told[:7]) <= columns


def test_a_rehearsals_bill_is_virtual(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Virtual costs are called so here too."""
    write(cats.ledger, [begins("rehearsal"), started(1), done(1)])
    path = bill(cats, "0.2715321")
    assert reconciled(cats, capsys, path).startswith("Costs are virtual")
    assert json.loads(reconciled(cats, capsys, path, "--json"))["virtual"] is True


def test_requests_without_a_price_are_not_agreed(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has no price is not nothing: it cannot be judged, and the exit code says so."""
    write(cats.ledger, [begins(), started(1, ceiling=None), done(1, cost=None), *_paid(2)])
    told = reconciled(cats, capsys, bill(cats, "0.2715321"))
    assert "1 cannot be judged: requests without a price" in told
    assert main(["reconcile", *cats.words, "--bill", bill(cats, "0.2715321")]) == 1


def _paid(number: int) -> list[AnyRecord]:
    return [started(number), done(number)]


def test_a_credit_is_a_line(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A credit lowers the bill by itself, and is named where ours has no such thing."""
    path = bill(cats, "0.2715321", "0.2715321", "-0.05")
    told = reconciled(cats, capsys, path)
    assert "not in the ledger: line 4, -0.05" in told
    assert re.search(r" -0\.0500 +unexplained$", told, re.MULTILINE)


def test_another_zone_is_suggested(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A bill whose days are not UTC days: what to try is said."""
    path = cats.folder / "bill.csv"
    path.write_text(f"date,model,amount\n2025-10-03,{MODEL},0.5430642")
    told = reconciled(cats, capsys, str(path))
    assert "some days are on one side only" in told
    assert "--utc-offset +08:00" in told
    path.write_text(f"date,model,amount\n{DAY},Gemini Flash,0.5430642")
    told = reconciled(cats, capsys, str(path))
    assert f"the ledger alone has {MODEL}, the bill alone Gemini Flash" in told


def test_many_on_one_side_are_counted(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A day that the bill knows nothing of is one line, not one for each request."""
    write(cats.ledger, [begins(), *(record for n in range(9) for record in _paid(n))])
    (cats.folder / "bill.csv").write_text(f"date,model,amount\n2025-10-07,{MODEL},1")
    told = reconciled(cats, capsys, str(cats.folder / "bill.csv"))
    assert "not on the bill at all: 9 requests" in told
    assert "not in the ledger: line 2, 1" in told


def test_nothing_on_either_side(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A period without anything is said to be one."""
    told = reconciled(cats, capsys, bill(cats, "1"), "--since", "2030-01-01")
    assert "nothing to compare" in told


@pytest.mark.parametrize(
    ("amount", "flags", "message"),
    [
        ("$0.27", [], "its amounts are written with $, which is not CNY"),
        ("¥0.27", ["--currency", "USD"], "written with ¥, which is not USD"),
    ],
)
def test_a_sign_of_another_currency(
    cats: Priced,
    capsys: pytest.CaptureFixture[str],
    amount: str,
    flags: list[str],
    message: str,
) -> None:
    """Dollars are never read as yuan: exit 2."""
    assert main(["reconcile", *cats.words, "--bill", bill(cats, amount), *flags]) == 2
    assert message in capsys.readouterr().err


def test_two_currencies_are_asked_for(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A bill that does not say its currency, against a ledger of two, is refused."""
    dollars = CostRecord(amount="0.04", currency="USD", basis="images", price="p")
    ceiling = AmountRecord(amount="1", currency="USD")
    write(cats.ledger, [begins(), *_paid(1), started(2, ceiling=ceiling), done(2, cost=dollars)])
    path = bill(cats, "0.2715321")
    assert main(["reconcile", *cats.words, "--bill", path]) == 2
    assert "in which currency? The ledger has CNY and USD" in capsys.readouterr().err
    assert main(["reconcile", *cats.words, "--bill", path, "--currency", "CNY"]) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--columns", "amount=Betrag"], "there is no column `Betrag`; its columns: date, model"),
        (["--columns", "betrag=amount"], "the roles are date, model"),
        (["--currency", "RMB"], "no currency"),
        (["--utc-offset", "8"], "write an offset like +08:00"),
        (["--since", "x"], "write a day"),
        (["--since", f"{DAY}T12:00"], "days are whole"),
        (["--since", "2025-10-03", "--until", DAY], "the first day is after the last"),
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
    assert "none.csv: no such file" in capsys.readouterr().err


def test_fetch_needs_one_manifest(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Whom to ask stands in a manifest; a rehearsal in process has no bill."""
    assert main(["reconcile", str(cats.ledger), "--fetch"]) == 2
    assert "name one manifest" in capsys.readouterr().err
    assert main(["reconcile", *cats.words, "--fetch", "--utc-offset", "+08:00"]) == 2
    assert "--utc-offset goes with --bill" in capsys.readouterr().err


def test_how_a_bill_is_read_is_kept_for_next_month(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was said once is written down, and the next bill needs no flags."""
    path = bill(cats, "0.287824026", "0.287824026", header="Tag,Modell,Betrag")
    Path(path).write_text(Path(path).read_text().replace(MODEL, f"google/{MODEL}-x"))
    saved = str(cats.folder / "bill.yaml")
    said = ["--columns", "date=Tag,model=Modell,amount=Betrag", "--factor", "1.06"]
    said += ["--models", f"google/*={MODEL}", "--save-profile", saved]
    assert main(["reconcile", *cats.words, "--bill", path, *said]) == 0
    assert "Betrag" in Path(saved).read_text()
    capsys.readouterr()
    assert main(["reconcile", *cats.words, "--bill", path, "--profile", saved]) == 0
    assert main(["reconcile", *cats.words, "--bill", path]) == 2


def test_a_bill_of_today_settles_nothing(cats: Priced) -> None:
    """What a bill that was made too early does not hold may be on the next."""
    path = bill(cats, "0.2715321", "0.2715321")
    early = ["--as-of", f"{DAY}T20:00:00Z", "--settle"]
    assert main(["reconcile", *cats.words, "--bill", path, *early]) == 0
    assert read(cats.ledger).open_charges
    assert (
        main(["reconcile", *cats.words, "--bill", path, "--settle", "--as-of", "2025-10-04"]) == 0
    )
    assert not read(cats.ledger).open_charges


@pytest.mark.parametrize(
    "words",
    [["--as-of", "yesterday"], ["--margin", "-1"], ["--factor", "x"], ["--profile", "acme"],
     ["--models", "a"], ["--profile", "missing.yaml"]],
)  # fmt: skip
def test_flags_about_a_bill_that_mean_nothing_are_refused(cats: Priced, words: list[str]) -> None:
    """Exit 2, and nothing is compared."""
    assert main(["reconcile", *cats.words, "--bill", bill(cats, "0.27"), *words]) == 2
