"""What the README tells a new user to type, typed in a fresh copy of the project."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from retouch.cli import main
from tests.e2e import forked
from tests.e2e.forked import ROOT

README = (ROOT / "README.md").read_text()
CHINESE = (ROOT / "README.zh-CN.md").read_text()
REVIEW = re.findall(r"^\$ (retouch .*?) *(#.*)?$", README, re.MULTILINE)
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files in a folder of their own; the installed programs are shared, and marked
    as set up, so that nothing is installed over them."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(ROOT / ".venv/bin")
    for stamp in (".setup", ".dev", ".extra-export"):
        (folder / ".venv" / stamp).touch()
    return folder


def _variables() -> dict[str, str]:
    """Those of a user without a key, in a shell where `retouch` is found."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    environment["PATH"] = f"{ROOT}/.venv/bin:{environment['PATH']}"
    return environment


def _type(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command."""
    return subprocess.run(
        ["bash", "-euc", command],
        check=False,
        cwd=folder,
        env=_variables(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def _retouch(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`retouch ...`, in a process that need not begin with Python's own beginning."""
    program, *words = shlex.split(line)
    assert program == "retouch"
    process = forked.program(tuple(words), folder, _variables())
    out, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(line, process.returncode or 0, out, errors)


@pytest.fixture(scope="module")
def reviewed(clone: Path) -> Path:
    """The clone with a finished quickstart, and the ledger to be reviewed in its place."""
    if not (clone / "outputs/quickstart/ledger.jsonl").exists():
        assert _type(BLOCKS[0], clone).returncode == 0
    [block] = [each for each in BLOCKS if "manifests/review" in each]
    assert _type(block, clone).returncode == 0
    return clone


def test_commands_work_as_written(clone: Path) -> None:
    """Every bash block of the README exits 0 without a key; a finished run sends nothing more."""
    assert len(BLOCKS) >= 3
    for block in BLOCKS:
        done = _type(block, clone)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    pictures = list((clone / "outputs/quickstart/images").rglob("*.png"))
    assert len(pictures) == 48
    ledger = (clone / "outputs/quickstart/ledger.jsonl").read_bytes()
    again = _type(BLOCKS[0], clone)
    assert again.returncode == 0
    assert "nothing to send" in again.stderr
    assert (clone / "outputs/quickstart/ledger.jsonl").read_bytes() == ledger


@pytest.mark.parametrize(("line", "comment"), REVIEW)
def test_cost_review_works_as_written(reviewed: Path, line: str, comment: str) -> None:
    """Each command of the cost review does what the README says, as it stands: it ends with 0, or
    as its comment says."""
    done = _retouch(line, reviewed)
    said = re.search(r"exit (\d)", comment)
    assert done.returncode == int(said[1] if said else 0), f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr


def test_the_bills_of_the_review_tell_what_they_are_there_to_tell(clone: Path) -> None:
    """October's explains one of two unknown outcomes and settles it; then the review is closed."""
    [block] = [each for each in BLOCKS if "manifests/review" in each]
    assert _type(block, clone).returncode == 0
    lines = [line for line, _ in REVIEW if "manifests/review.yaml" in line]
    bills = [line for line in lines if "october.csv" in line]
    assert "1 unknown outcome" in " ".join(_retouch(bills[0], clone).stdout.split())
    assert "settled by the bill: 1" in _retouch(bills[1], clone).stderr
    left = [line for line in lines if "resolve" in line]
    assert "1 unknown" in _retouch(left[0], clone).stdout
    assert "1 settled as not charged" in _retouch(left[1], clone).stderr
    again = _retouch(bills[0], clone)
    assert "everything is explained" in again.stdout
    assert "unknown outcome" not in again.stdout


def test_manifest_of_the_readme_is_one(tmp_path: Path) -> None:
    """The manifest that the README explains loads without a problem."""
    text = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    manifest = tmp_path / "cats.yaml"
    manifest.write_text(text)
    shown = _retouch(f"retouch plan {manifest}", tmp_path)
    assert shown.returncode == 2
    problems = [line for line in shown.stderr.splitlines() if "cats.yaml:" in line]
    assert problems
    assert all("data/" in line or "lists/" in line for line in problems), shown.stderr


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed here")
def test_the_ledger_is_ready_for_jq(reviewed: Path) -> None:
    """The README's jq line prints a model and an amount for each finished job."""
    [line] = re.findall(r"^jq .*$", README, re.MULTILINE)
    rows = [row.split("\t") for row in _type(line, reviewed).stdout.splitlines()]
    assert len(rows) == 48
    assert {model for model, _ in rows} == {"gemini-2.5-flash-image", "kling-v2"}
    assert all(float(amount) > 0 for _, amount in rows)


def _help(*words: str) -> str:
    """What the program says about itself."""
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(io.StringIO()) as told:
        main([*words, "--help"])
    assert ended.value.code == 0
    return told.getvalue()


def test_every_command_on_a_manifest_takes_outputs() -> None:
    """As the README says: those listed with an M take `--outputs`."""
    listed = re.findall(r"`retouch (\w+) M", README.partition("## Commands")[2])
    assert len(set(listed)) == 11
    for name in set(listed):
        assert "--outputs" in _help(name), name


def test_commands_listed_are_those_there_are() -> None:
    """The README's table of commands names every command of the program, and no other."""
    there = set(re.findall(r"^    (\w+)(?:  |$)", _help(), re.MULTILINE))
    listed = set(
        re.findall(r"`retouch (\w+)", README.partition("## Commands")[2].partition("##")[0])
    )
    assert listed == there


def _outline(text: str) -> list[str]:
    """The levels of the headings, in order."""
    return re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)


def test_both_readmes_say_the_same() -> None:
    """The Chinese README has the same headings, the same blocks to type, the same commands."""
    assert _outline(CHINESE) == _outline(README)
    blocks = [re.findall(r"```\w*\n.*?```", text, re.DOTALL) for text in (README, CHINESE)]
    assert blocks[0] == blocks[1]
    first = r"^\| (`retouch [^|]*?`) \|"
    commands = [re.findall(first, text, re.MULTILINE) for text in (README, CHINESE)]
    assert commands[0] == commands[1] != []
