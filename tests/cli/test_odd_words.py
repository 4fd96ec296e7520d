"""Whatever is typed: a clear message, no traceback, nothing that a terminal obeys, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main
from tests.support.ledgers import begins, many, write

LONG = "a" * 5000
ODD = (
    "", " ", "-1", "9" * 30, "1e400", "nan", "\x1b[31m", "\udcff", "..", "/dev/null", LONG, "[",
    "{0}", "a,,b", "=", "@", "@/nope", "2025-02-30", "+99:99", "٣", "http://a..b/", "s3://b/../x",
)  # fmt: skip
WORDS = {
    "plan": ("plan", "M"),
    "status": ("status", "M"),
    "report": ("report", "M"),
    "reconcile": ("reconcile", "M"),
    "resolve": ("resolve", "M"),
    "verify": ("verify", "M"),
    "export": ("export", "M", "--to", "out", "--format", "imagefolder"),
    "prune": ("prune", "M"),
    "mirror": ("mirror", "M"),
    "fetch": ("fetch", "s3://bucket/x"),
    "review": ("review", "M", "--reject", "x"),
    "explain": ("explain",),
}
OPTIONS = {
    "plan": ("--outputs", "--redo", "--shard", "--shards", "--shards-share"),
    "status": ("--outputs",),
    "report": (
        "--outputs", "--since", "--until", "--format", "--to", "--utc-offset", "--by", "--compare",
        "--fail-above", "--prices", "--as", "--model", "--folder", "--day", "--waste", "--top",
    ),
    "reconcile": ("--outputs", "--bill", "--utc-offset", "--since"),
    "resolve": ("--outputs", "--amount", "--note", "--charged", "--not-charged"),
    "verify": ("--outputs", "--against", "--dataset"),
    "export": ("--outputs", "--to", "--format", "--splits", "--size", "--image-format"),
    "prune": ("--outputs",),
    "mirror": ("--outputs",),
    "fetch": ("--to", "--endpoint", "--region"),
    "review": ("--outputs", "--reject", "--keep", "--reason", "--port"),
    "explain": ("--images",),
}  # fmt: skip
MANIFEST = """version: 1
provider: {dialect: rehearsal}
inputs: [{glob: "*.png"}]
prompts: [{id: p, template: make it white}]
models: [{model: gemini-2.5-flash-image, price: {currency: CNY, per_image: 0.27}}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest with work done and work left, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "m.yaml").write_text(MANIFEST, "utf-8")
    Image.new("RGB", (320, 320), "red").save(tmp_path / "one.png")
    write(tmp_path / "outputs" / "m" / "ledger.jsonl", [begins(), *many(3)])
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """What a command ends with, and what it says on both streams."""
    try:
        code = main(list(words))
    except SystemExit as ended:  # argparse's
        code = int(ended.code or 0)
    told = capsys.readouterr()
    return code, told.out + told.err


def fit(words: tuple[str, ...], code: int, text: str) -> None:
    assert "this is a defect" not in text, (words, text[-500:])
    assert "\x1b" not in text, words
    assert code in range(7), words


@pytest.mark.parametrize(
    ("command", "option"), [(command, one) for command, some in OPTIONS.items() for one in some]
)
def test_no_value_of_an_option_ends_in_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    manifest, ledger = folder / "m.yaml", folder / "outputs" / "m" / "ledger.jsonl"
    before = manifest.read_bytes(), ledger.read_bytes()
    for value in ODD:
        words = tuple(word.replace("M", "m.yaml") for word in WORDS[command])
        words = (*words, option, value)
        fit(words, *said(capsys, *words))
        shutil.rmtree("out", ignore_errors=True)
    assert (manifest.read_bytes(), ledger.read_bytes()) == before


@pytest.mark.parametrize("command", [*WORDS, "salvage", "init"])
def test_no_name_of_what_a_command_is_about_ends_in_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for value in ODD:
        words = (command, value, *WORDS.get(command, ())[2:])
        fit(words, *said(capsys, *words))


@pytest.mark.parametrize("command", ["plan", "report", "salvage", "init", "review"])
def test_a_word_too_many_is_shown_and_not_obeyed(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    words = (command, "m.yaml", "--x\x1b]0;gone\x07", "\x1b[2J")
    code, text = said(capsys, *words)
    assert (code, "^[" in text) == (2, True)
    fit(words, code, text)


@pytest.mark.parametrize("name", ["m.yaml", "one.png", "notes.txt"])
def test_salvage_leaves_alone_what_is_no_ledger(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The manifest, which every other command takes, above all."""
    (folder / "notes.txt").write_text("hello\nworld\n")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code, text = said(capsys, "salvage", name)
    assert (code, "it is no ledger; nothing was changed" in text) == (2, True)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_salvage_twice_in_a_second_keeps_both_that_were_damaged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = folder / "outputs" / "m" / "ledger.jsonl"
    kept = []
    for _ in range(3):
        lines = ledger.read_bytes().splitlines(keepends=True)
        ledger.write_bytes(b"".join([*lines[:-1], b"x" + lines[-1]]))
        kept.append(ledger.read_bytes())
        assert said(capsys, "salvage", str(ledger))[0] == 1
    assert sorted(path.read_bytes() for path in ledger.parent.glob("damaged-*")) == sorted(kept)


@pytest.mark.parametrize(
    "to",
    ["m.yaml", "outputs/m/ledger.jsonl", "outputs/m/review.jsonl", "link.csv", "./prices.yaml"],
)
def test_a_report_is_not_written_over_what_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (folder / "outputs" / "m" / "review.jsonl").write_text("")
    (folder / "link.csv").symlink_to("m.yaml")
    (folder / "prices.yaml").write_text("version: 1\nprices: []\n")
    before = (folder / to).read_bytes()
    words = ("report", "m.yaml", "--prices", "prices.yaml", "--format", "csv", "--to", to)
    code, text = said(capsys, *words)
    assert (code, "this file is read, and would be lost" in text) == (2, True), text
    assert (folder / to).read_bytes() == before
