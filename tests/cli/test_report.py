"""`retouch report`: every format, safe for whoever opens it; what it is told wrongly it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import Path
from unicodedata import east_asian_width

import pyarrow.parquet as pq
import pytest
from PIL import Image

from retouch.cli import main
from retouch.ledger.records import AnyRecord
from tests.support.ledgers import begins, done, failed, file_of, many, started, unknown, write
from tests.support.priced import priced, was_done

EVIL = '=HYPERLINK("http://e.com")<script>alert(1)</script>|`x`\u202e.png'


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with all kinds of outcomes, and a source whose name attacks its readers."""
    records: list[AnyRecord] = [begins(), *many(40)]
    records += [started(90, source=EVIL), done(90, source=EVIL)]
    records += [started(91), failed(91), started(92), unknown(92)]
    records += [started(93, prompt="水彩画-很长的名字"), done(93, prompt="水彩画-很长的名字")]
    return write(tmp_path / "cats" / "ledger.jsonl", records)


def report(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    code = main(["report", *map(str, words)])
    assert code == 0
    return capsys.readouterr().out


def columns(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def test_table_fits_a_hundred_columns(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No line of the table is wider than 100 columns, and Chinese rows end where others do."""
    text = report(capsys, ledger, "--by", "prompt,model")
    assert max(map(columns, text.splitlines())) <= 100
    rows = [line for line in text.splitlines() if "CNY" in line and "gemini" in line]
    assert len(rows) == 4
    assert len({columns(row) for row in rows}) == 1
    assert "\u202e" not in text


def test_json_adds_up(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every grouping adds up to the totals; unknown is apart."""
    found = json.loads(report(capsys, ledger, "--format", "json", "--by", "label,day"))
    (totals,) = found["totals"]
    assert totals["jobs"] == sum(row["jobs"] for row in found["by"]) == 44
    assert totals["unknown_high"] == "0.600000"
    assert {"label", "day"} <= set(found["by"][0])
    assert found["failures"] == [
        {"kind": "content", "unsent": 0, "failed": 1, "unknown": 0},
        {"kind": "timeout", "unsent": 0, "failed": 0, "unknown": 1},
    ]


def test_csv_holds_no_formulas(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that a spreadsheet would calculate is marked as text; all rows have all cells."""
    rows = list(
        csv.reader(io.StringIO(report(capsys, ledger, "--format", "csv", "--by", "source")))
    )
    assert len(rows) == 45
    assert {len(row) for row in rows} == {len(rows[0])}
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)


def test_a_csv_file_opens_clean(ledger: Path, tmp_path: Path) -> None:
    """A CSV in a file says that it is UTF-8; one without rows still has its header."""
    path = tmp_path / "r.csv"
    words = ["report", str(ledger), "--format", "csv", "--by", "prompt", "--to", str(path)]
    assert main(words) == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbfprompt,currency,confirmed,")
    assert "水彩画" in path.read_text("utf-8-sig")
    assert main([*words, "--since", "2030-01-01"]) == 0
    (header,) = path.read_text("utf-8-sig").splitlines()
    assert header.startswith("prompt,currency,confirmed,unknown_low")


@pytest.mark.parametrize(
    ("name", "begins"),
    [("r.html", "<!doctype html>"), ("r.md", "# Cost"), ("r.json", "{"), ("r.csv", "\ufeffmodel,")],
)
def test_a_files_name_says_its_format(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, begins: str
) -> None:
    """Without --format the file's suffix decides, and where it was written is said."""
    assert main(["report", str(ledger), "--to", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text("utf-8").startswith(begins)
    told = capsys.readouterr()
    assert told.out == ""
    assert f"written to {tmp_path / name}" in told.err


def test_the_period_is_said(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A review of some days says which; days without anything are no error."""
    text = report(capsys, ledger, "--since", "2025-10-02", "--until", "2025-10-31")
    assert "Only what was begun from 2025-10-02 to 2025-10-31 (UTC)." in text
    text = report(capsys, ledger, "--since", "2030-01-01")
    assert "from 2030-01-01 to the last (UTC)" in text
    assert "Nothing was sent." in text


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_pages_are_escaped(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """What file names hold is shown, never run; one file alone loads nothing."""
    path = tmp_path / "review"
    report(capsys, ledger, "--format", form, "--by", "source", "--to", path)
    text = path.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(src|href)\s*=", text)


def test_html_is_a_folder_of_pages(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one ledger, without --to: gallery and costs, which read one file of data."""
    assert report(capsys, ledger, "--format", "html") == ""
    pages = ledger.parent / "report"
    assert {"index.html", "costs.html", "data", "static"} <= {each.name for each in pages.iterdir()}
    said = json.loads((pages / "data" / "gallery.js").read_text().partition("=")[2].rstrip(";\n"))
    assert sum(said["charges"]["line"]) > 0
    assert len(said["columns"]) == 4


def test_parquet_has_decimals(ledger: Path, tmp_path: Path) -> None:
    """Amounts are decimals in the file, counts integers."""
    path = tmp_path / "r.parquet"
    assert main(["report", str(ledger), "--format", "parquet", "--to", str(path)]) == 0
    table = pq.read_table(path)
    assert str(table.schema.field("confirmed").type) == "decimal128(38, 18)"
    assert table.column("jobs").to_pylist() == [44]


def test_what_if(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other prices give another cost and change no record."""
    before = ledger.read_bytes()
    prices = tmp_path / "new.yaml"
    prices.write_text(
        "version: 1\nprices:\n  - {id: new, model: gemini-2.5-flash-image, currency: USD, "
        "per_image: 0.04}\n"
    )
    found = json.loads(report(capsys, ledger, "--json", "--prices", prices))
    by_currency = {row["currency"]: row for row in found["totals"]}
    assert by_currency["USD"]["confirmed"] == "1.680000"
    assert by_currency["USD"]["jobs"] == 44
    assert by_currency["CNY"]["unknown_high"] == "0.600000"  # as it was recorded
    assert ledger.read_bytes() == before


def test_what_if_in_batches(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the batch sum stands what was recorded; a price without a discount is named."""
    prices = tmp_path / "new.yaml"
    head = "version: 1\nprices:\n  - {id: p, model: gemini-2.5-flash-image, "
    price = f"{head}currency: USD, per_image: 0.04"
    prices.write_text(f"{price}, batch_discount: 0.25}}\n")
    found = json.loads(report(capsys, ledger, "--json", "--prices", prices, "--batch"))
    assert Decimal(found["totals"][1]["confirmed"]) == Decimal("1.26")
    assert "at the prices of new.yaml, in batches: 1.26 USD, where " in found["notes"][0]
    assert len(found["notes"]) == 2  # the other: no pictures lie beside the ledger
    prices.write_text(f"{price}}}\n")
    found = json.loads(report(capsys, ledger, "--json", "--prices", prices, "--batch"))
    assert Decimal(found["totals"][1]["confirmed"]) == Decimal("1.68")
    assert "no `batch_discount`: gemini-2.5-flash-image" in found["notes"][1]


def test_batches_at_the_manifests_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --prices those of the manifest count; a ledger without its manifest is refused."""
    cats = priced(tmp_path)
    cats.write(price="{currency: CNY, per_request: 0.2, batch_discount: 0.5}")
    cats.fill([was_done, was_done])
    found = json.loads(report(capsys, *cats.words, "--json", "--batch"))
    assert Decimal(found["totals"][0]["confirmed"]) == Decimal("0.2")
    assert "the manifest's prices, in batches" in found["notes"][0]
    assert main(["report", str(cats.ledger), "--batch"]) == 2
    assert "was not named by its manifest" in capsys.readouterr().err


def test_blank_and_unchanged_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of pictures at hand, those of one colour and those that are their source are waste."""
    (tmp_path / "data").mkdir()
    (tmp_path / "out" / "cats" / "images").mkdir(parents=True)
    gradient = Image.linear_gradient("L").convert("RGB")
    names = ["same", "blank", "edited"]
    turned = gradient.transpose(Image.Transpose.ROTATE_90)
    results = [gradient.resize((512, 512)), Image.new("RGB", (64, 64), "white"), turned]
    records: list[AnyRecord] = [begins()]
    for number, (name, result) in enumerate(zip(names, results, strict=True)):
        gradient.save(tmp_path / "data" / f"{name}.jpg", quality=90)
        result.save(tmp_path / "out" / "cats" / "images" / f"{number}.png")
        source = f"data/{name}.jpg"
        records += [started(number, source=source), done(number, source=source)]
    write(tmp_path / "out" / "cats" / "ledger.jsonl", records)
    manifest = tmp_path / "cats.yaml"
    manifest.write_text(
        "version: 1\ninputs: [{glob: data/*.jpg}]\nprompts: [{id: w, template: white}]\n"
        "models: [{model: gemini-2.5-flash-image}]\n"
    )
    found = json.loads(report(capsys, manifest, "--outputs", tmp_path / "out", "--json"))
    waste = {row["kind"]: [each["source"] for each in row["examples"]] for row in found["waste"]}
    assert waste == {"unchanged": ["data/same.jpg"], "blank": ["data/blank.jpg"]}


def test_no_runs_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest that was never run has an empty report, which is no error."""
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "version: 1\ninputs: [{glob: '*.jpg'}]\nprompts: [{id: w, template: white}]\n"
        "models: [{model: gemini-2.5-flash-image}]\n"
    )
    assert "Nothing was sent." in report(capsys, manifest, "--outputs", tmp_path)


def test_rehearsals_are_called_virtual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report of a rehearsal says first that nobody was paid."""
    path = write(tmp_path / "ledger.jsonl", [begins("rehearsal"), started(1), done(1)])
    assert report(capsys, path).startswith("Costs are virtual")
    assert json.loads(report(capsys, path, "--json"))["virtual"] is True


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--by", "colour"], 2, "colour is none; there are model, prompt"),
        (["--by", "day,day"], 2, "names one twice"),
        (["--since", "yesterday"], 2, "--since yesterday: write a day"),
        (["--until", "2025-02-30"], 2, "write a day like"),
        (["--format", "parquet"], 2, "--to FILE"),
        (["--prices", "none.yaml"], 2, "none.yaml"),
        (["--to", "r.txt"], 2, "its name does not say the format"),
        (["--to", "r.txt", "--format", "table"], 2, "a table is for the terminal"),
    ],
)
def test_bad_words(
    ledger: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    """Each wrong word is refused with what to write."""
    assert main(["report", str(ledger), *words]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["changed", "newer"])
def test_damaged_ledgers_stop(ledger: Path, capsys: pytest.CaptureFixture[str], harm: str) -> None:
    """A ledger that was changed, or is of a newer version, is no base for a review: exit 3."""
    data = ledger.read_bytes()
    if harm == "changed":
        ledger.write_bytes(data.replace(b'"amount":"0.', b'"amount":"9.', 1))
    else:
        ledger.write_bytes(data.replace(b'"v":1', b'"v":2'))
    assert main(["report", str(ledger)]) == 3
    said = capsys.readouterr().err
    assert f"{ledger}:" in said
    assert ("newer" in said) == (harm == "newer")


def test_wrong_files_of_a_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures that are not there any more tell nothing, and harm nothing."""
    path = write(
        tmp_path / "ledger.jsonl", [begins(), started(1), done(1, files=(file_of(1),) * 2)]
    )
    assert json.loads(report(capsys, path, "--json", "--pictures"))["waste"] == []
