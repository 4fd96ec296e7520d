"""`retouch review` beside a real run: numbers move, nobody else writes, memory is flat."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main
from retouch.ledger import read
from tests.support.browser import Browser
from tests.support.reviewing import Served, grown, reviewing

ROOT = Path(__file__).parents[2]
PICTURES = 5
RUN_SECONDS = 90.0  # it takes 5 where nothing else is to be done
MANIFEST = """version: 1
provider: {dialect: rehearsal}
inputs: [{glob: "*.png"}]
prompts: [{id: blue, template: a warm sunset}]
models:
- model: gemini-2.5-flash-image
  limits: {requests_per_minute: 150, concurrency: 2}
  price: {currency: CNY, per_image: 0.27}
- {model: kling-v2, poll: {interval: 1}, price: {currency: CNY, per_image: 0.2}}
"""
COUNTED = """
window.seen = [];
new MutationObserver(() => {
    const shown = document.querySelector("#live progress")?.value ?? 0;
    if (shown !== seen.at(-1)) seen.push(shown);
}).observe(document.querySelector("#live"), {childList: true, subtree: true});
"""
Stamp = tuple[int, int, int, bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "many.yaml").write_text(MANIFEST, "utf-8")
    for number in range(PICTURES):
        with Image.open(ROOT / "manifests" / "quickstart" / "cat.jpg") as cat:
            cat.resize((320, 300 + number)).save(tmp_path / f"{number:02}.png")
    return tmp_path


def stamps(outputs: Path) -> dict[str, Stamp]:
    """Inode, time, size and bytes of everything but what a review may write."""
    found = {}
    for path in sorted(outputs.rglob("*")):
        name = path.relative_to(outputs).as_posix()
        if path.is_file() and not name.startswith(("report/", "review.jsonl", ".cache/")):
            status = path.stat()
            found[name] = (status.st_ino, status.st_mtime_ns, status.st_size, path.read_bytes())
    return found


def opened_for_writing(review: Served, ledger: Path) -> list[str]:
    """Descriptors of the process that could write the ledger."""
    place = Path(f"/proc/{review.process.pid}")
    found = []
    for each in (place / "fd").iterdir():
        try:
            is_ledger = each.resolve() == ledger
            flags = (place / "fdinfo" / each.name).read_text("ascii")
        except FileNotFoundError:
            continue
        mode = int(flags.partition("flags:")[2].split()[0], 8)
        if is_ledger and mode & os.O_ACCMODE != os.O_RDONLY:
            found.append(flags)
    return found


def test_numbers_move_and_the_ledger_is_untouched(folder: Path, page: Browser) -> None:
    """Through a whole run: the page counts on; the run ends as ever; not a byte of the ledger is
    the review's, nor a time or an inode, while the page is open, judged and opened again."""
    outputs = folder / "outputs" / "many"
    ledger = outputs / "ledger.jsonl"
    command = [sys.executable, "-m", "retouch", "run", "many.yaml", "--no-report"]
    with reviewing(folder / "many.yaml", folder / "outputs") as review:
        page.size(1280, 2400)
        page.open(review.url)
        page.script(COUNTED)
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:

            def has_ended() -> bool:
                assert opened_for_writing(review, ledger) == []
                # One look: between two, the run may have begun, and counted.
                return bool(
                    page.script(
                        "return document.querySelector('#live').dataset.running === 'false' "
                        "&& seen.at(-1) > 0"
                    )
                )

            page.until(has_ended, RUN_SECONDS)
            _, told = run.communicate(timeout=60)
        assert run.returncode == 0, told
        seen = page.script("return seen")
        assert seen == sorted(seen)
        assert len(seen) >= 4, "the numbers moved in too few steps"
        assert seen[-1] == 2 * PICTURES
        assert page.all("#live .last img"), "the latest pictures are shown"
        assert "CNY" in page.one("#live").inner_text()
        page.until(lambda: len(page.all("[data-outcome=done]")) == 2 * PICTURES)
        before = stamps(outputs)
        assert "ledger.jsonl" in before
        page.press("j", "r", *"no", "Enter")
        page.until(lambda: page.current()["mark"] == "reject")
        page.open(review.url.replace("/?token=", "/").rstrip("/") + "/report/costs.html")
        page.open(review.url)
        page.until(lambda: page.one("#live").get_attribute("data-running") == "false")
    assert stamps(outputs) == before
    assert page.complaints == []
    lines = [json.loads(line) for line in ledger.read_text("utf-8").splitlines()]
    assert len({line["run"] for line in lines}) == 1
    state = read(ledger)
    assert set(state.counts()) == {"done"}
    assert main(["verify", str(folder / "many.yaml"), "--outputs", str(folder / "outputs")]) == 0
    shutil.rmtree(outputs)


def test_memory_is_flat_while_the_ledger_grows(tmp_path: Path) -> None:
    """A thousand Jobs more, each told to a page, and the process is as large as before: 41 MB for
    10,000 would be 4 here. `make torture` does 10,000."""
    assert grown(tmp_path, settled=500, jobs=1500) < 2_000_000
