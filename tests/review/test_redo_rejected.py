"""A rejected picture is done again, once, and only when asked for: by real processes."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from retouch.cli import main
from retouch.ledger import read
from tests.support.browser import Browser

ROOT = Path(__file__).parents[2]
MANIFEST = """version: 1
provider: {dialect: rehearsal}
inputs: [{glob: "*.jpg"}]
prompts: [{id: blue, template: a warm sunset}]
models:
- {model: gemini-2.5-flash-image, price: {currency: CNY, per_image: 0.27}}
- model: kling-v2
  poll: {interval: 1}
  price: {currency: CNY, per_image: 0.2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "two.yaml").write_text(MANIFEST, "utf-8")
    for name in ("cat", "coffee"):
        shutil.copy(ROOT / "manifests" / "quickstart" / f"{name}.jpg", tmp_path)
    return tmp_path


def retouch(folder: Path, *words: str) -> tuple[int, str, str]:
    """The real command; its exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "retouch", *words],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def read_only(folder: Path, *words: str) -> Any:
    """What a command that sends nothing says as JSON, in this process: quicker than one more."""
    with chdir(folder), redirect_stdout(io.StringIO()) as told:
        assert main([*words, "--json"]) == 0
    return json.loads(told.getvalue())


def lanes(folder: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_only(folder, "plan", "two.yaml", *words)["lanes"]
    return found


def test_rejected_redone_and_rejected_again(folder: Path, page: Browser) -> None:
    """Rejected in the page from disk, held until asked for; then another picture beside the old
    one, which is waste and in no data set; never sent twice."""
    code, _, told = retouch(folder, "run", "two.yaml")
    assert code == 0, told
    ledger = folder / "outputs" / "two" / "ledger.jsonl"
    first = folder / "outputs/two/images/gemini-2.5-flash-image/blue/cat-0.png"
    if not first.exists():  # the source's folder is in the path where it has one
        (first,) = (folder / "outputs/two/images/gemini-2.5-flash-image").rglob("cat-0.png")
    path = first.relative_to(folder / "outputs/two").as_posix()
    index = (folder / "outputs/two/report/index.html").as_uri()
    page.open(f"{index}#q=cat&model=gemini-2.5-flash-image")
    page.press("j", "r", *"too dark", "Enter")
    page.until(lambda: page.current()["mark"] == "reject")
    with page.page.expect_download() as downloading:
        page.one("#export").click()
    downloading.value.save_as(folder / "outputs" / "two" / "review.jsonl")

    gemini, kling = lanes(folder)
    assert (gemini["done"], gemini["held"], gemini["to_send"]) == (1, 1, 0)
    assert (kling["done"], kling["held"]) == (2, 0)
    size = ledger.stat().st_size
    code, _, told = retouch(folder, "run", "two.yaml")
    assert code == 1
    assert "1 rejected" in told
    assert ledger.stat().st_size == size
    assert read_only(folder, "status", "two.yaml")["outcomes"] == {
        "done": 3, "rejected": 1,
    }  # fmt: skip

    gemini, _ = lanes(folder, "--redo", "rejected")
    assert (gemini["to_send"], gemini["reasons"]) == (1, {"rejected": 1})
    code, _, told = retouch(folder, "run", "two.yaml", "--redo", "rejected")
    assert code == 0, told
    again = first.with_name("cat-0-r1.png")
    assert again.exists()
    assert again.read_bytes() != first.read_bytes()
    assert Counter(each.state for each in read(ledger).outcomes.values()) == {"done": 5}
    assert read_only(folder, "status", "two.yaml")["outcomes"] == {"done": 4}
    size = ledger.stat().st_size
    assert retouch(folder, "run", "two.yaml", "--redo", "rejected")[0] == 0
    assert ledger.stat().st_size == size

    waste = read_only(folder, "report", "two.yaml")["waste"]
    assert [(each["kind"], each["jobs"], each["amount"]) for each in waste] == [
        ("rejected", 1, "0.270000")
    ]
    out = folder / "out"
    assert (
        retouch(folder, "export", "two.yaml", "--to", str(out), "--format", "imagefolder")[0] == 0
    )
    exported = {each.read_bytes() for each in out.rglob("*") if each.is_file()}
    assert again.read_bytes() in exported
    assert first.read_bytes() not in exported
    page.open(f"{index}#q=cat&model=gemini-2.5-flash-image")
    seen = [
        (each.get_attribute("data-mark"), each.get_attribute("data-outcome"))
        for each in page.all("[data-key]")
    ]
    assert seen == [("reject", "done"), ("", "done")]

    # The second one is no better: the third takes its place.
    assert (
        retouch(folder, "review", "two.yaml", "--reject", path.replace("cat-0", "cat-0-r1"))[0] == 0
    )
    assert lanes(folder)[0]["held"] == 1
    assert retouch(folder, "run", "two.yaml", "--redo", "rejected")[0] == 0
    pictures = {each.read_bytes() for each in first.parent.glob("cat-0*.png")}
    assert len(pictures) == 3
    assert retouch(folder, "verify", "two.yaml")[0] == 0


def test_no_report(folder: Path) -> None:
    """`--no-report` leaves no pages; a later report writes them."""
    assert retouch(folder, "run", "two.yaml", "--no-report", "--limit", "1")[0] in (0, 1)
    assert not (folder / "outputs/two/report").exists()
    code, _, told = retouch(folder, "report", "two.yaml", "--format", "html")
    assert code == 0
    assert "report/index.html" in told
