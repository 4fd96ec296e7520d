"""BAD-INPUT rows 39, 42, 43 and 54, and what is planted or named to harm, by the real command.

Each says: the exit code, what is told, and that nothing was sent: the provider's book is empty.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

from retouch.cli import main
from retouch.cli.workspace import Workspace, make_plan
from retouch.plan import Plan
from tests.proofs.faults.bench import listening
from tests.proofs.faults.instants import INSTANTS
from tests.proofs.faults.provider import BreakingProvider

KEY = "sk-canary-0123456789abcdef"
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Place:
    """A project with one picture and its provider."""

    folder: Path
    provider: BreakingProvider
    capfd: pytest.CaptureFixture[str]

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs/m"

    @property
    def ledger(self) -> Path:
        return self.outputs / "ledger.jsonl"

    @property
    def requests(self) -> int:
        return sum(self.provider.heard.values())

    def run(self, *words: str) -> tuple[int, str]:
        """`retouch run`: its exit code and what it told."""
        return self.retouch("run", *words)

    def retouch(self, command: str, *words: str) -> tuple[int, str]:
        self.capfd.readouterr()
        code = main([command, "m.yaml", *words])
        printed = self.capfd.readouterr()
        assert "Traceback" not in printed.err
        shown = (printed.out + printed.err).replace("\r\n", "").replace("\n", "")
        assert not {unicodedata.category(each) for each in shown} & UNSAFE
        return code, printed.out + printed.err


@pytest.fixture
def place(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    (in_memory / "pictures").mkdir()
    Image.new("RGB", (300, 300)).save(in_memory / "pictures/0.png")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("RETOUCH_OUTPUTS", raising=False)
    monkeypatch.chdir(in_memory)
    provider = BreakingProvider("submit", INSTANTS[0], in_memory / "book.jsonl", strikes=0)
    with listening(provider) as server:
        provider.origin = f"http://127.0.0.1:{server.port}"
        (in_memory / "m.yaml").write_text(
            f"version: 1\nprovider: {{dialect: qiniu, base_url: '{provider.origin}/v1'}}\n"
            "inputs: [{glob: pictures/*.png}]\nprompts: [{id: p, template: edit}]\n"
            "models: [{model: gemini-2.5-flash-image}]\n"
        )
        yield Place(in_memory, provider, capfd)


@pytest.mark.parametrize(
    "value",
    [
        None, "", "  ", f'"{KEY}"', f"'{KEY}", f"{KEY}\n", f"{KEY}\r\nX-Other: 1", f"\x00{KEY}",
        f"{KEY}\x7f", f"Bearer {KEY}", f"{KEY} {KEY}", f"{KEY}。", "“" + KEY + "”",
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_by_its_variables_name(
    value: str | None, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 39: exit 4, the variable named, its value never."""
    if value is None:
        monkeypatch.delenv("OPENAI_API_KEY")
    elif "\0" in value:
        monkeypatch.setattr(os, "environ", os.environ | {"OPENAI_API_KEY": value})
    else:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    code, told = place.run()
    assert code == 4
    assert "OPENAI_API_KEY" in told
    assert KEY not in told
    assert place.requests == 0


def _newer(ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes().replace(b'"v":1', b'"v":2', 1))


def _damaged(ledger: Path) -> None:
    lines = ledger.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"attempt":1', b'"attempt":2')
    ledger.write_bytes(b"\n".join(lines))


def _cut_in_the_middle(ledger: Path) -> None:
    lines = ledger.read_bytes().split(b"\n")
    ledger.write_bytes(b"\n".join((*lines[:1], *lines[2:])))


@pytest.mark.parametrize("harm", [_newer, _damaged, _cut_in_the_middle])
@pytest.mark.parametrize("command", ["run", "status", "verify", "plan", "resolve", "report"])
def test_a_ledger_that_cannot_be_trusted_stops_everything(
    harm: Callable[[Path], None], command: str, place: Place
) -> None:
    """Row 42: exit 3, the file and its line; nothing is sent, nothing is written."""
    assert place.run()[0] == 0
    heard = place.requests
    harm(place.ledger)
    before = place.ledger.read_bytes()
    code, told = place.retouch(command)
    assert code == 3
    assert re.search(r"ledger\.jsonl:\d+:|line \d+", told)
    assert place.requests == heard
    assert place.ledger.read_bytes() == before


def test_a_torn_end_is_cut_off_and_said(place: Place) -> None:
    """Row 42: a line that a crash cut is no damage; what it said is asked for as unknown."""
    assert place.run()[0] == 0
    heard = place.requests
    text = place.ledger.read_bytes()
    lines = text.split(b"\n")
    (place.outputs / "ledger.jsonl.head").unlink(missing_ok=True)
    place.ledger.write_bytes(b"\n".join(lines[:2]) + b"\n" + lines[2][:40])
    code, told = place.run()
    assert code == 1
    assert "torn" in told or "cut" in told
    assert "may have been charged" in told
    assert place.requests == heard


def _folder_is_a_file(place: Place) -> None:
    place.outputs.parent.mkdir(exist_ok=True)
    place.outputs.write_text("in the way")


def _root_is_a_file(place: Place) -> None:
    place.outputs.parent.write_text("in the way")


def _folder_is_a_link(place: Place) -> None:
    place.outputs.parent.mkdir(exist_ok=True)
    (place.folder / "elsewhere").mkdir()
    place.outputs.symlink_to(place.folder / "elsewhere")


def _folder_leads_nowhere(place: Place) -> None:
    place.outputs.parent.mkdir(exist_ok=True)
    place.outputs.symlink_to("/nowhere/at/all")


def _images_is_a_link(place: Place) -> None:
    place.outputs.mkdir(parents=True)
    (place.folder / "elsewhere").mkdir()
    (place.outputs / "images").symlink_to(place.folder / "elsewhere")


def _ledger_is_a_link(place: Place) -> None:
    place.outputs.mkdir(parents=True)
    (place.folder / "elsewhere").mkdir()
    place.ledger.symlink_to(place.folder / "elsewhere/ledger.jsonl")


def _ledger_is_a_pipe(place: Place) -> None:
    place.outputs.mkdir(parents=True)
    os.mkfifo(place.ledger)


def _lock_is_a_link(place: Place) -> None:
    place.outputs.mkdir(parents=True)
    (place.folder / "elsewhere").mkdir()
    (place.folder / "elsewhere/victim").write_text("precious")
    (place.outputs / ".lock").symlink_to(place.folder / "elsewhere/victim")


def _lock_is_a_pipe(place: Place) -> None:
    place.outputs.mkdir(parents=True)
    os.mkfifo(place.outputs / ".lock")


@pytest.mark.parametrize(
    "plant",
    [
        _folder_is_a_file, _root_is_a_file, _folder_is_a_link, _folder_leads_nowhere,
        _images_is_a_link, _ledger_is_a_link, _ledger_is_a_pipe, _lock_is_a_link, _lock_is_a_pipe,
    ],
)  # fmt: skip
def test_what_was_planted_in_the_outputs_is_not_followed(
    plant: Callable[[Place], None], place: Place
) -> None:
    """Row 43 and the hostile row: exit 5 naming the path; nothing sent, nothing written there."""
    plant(place)
    code, told = place.run()
    assert code == 5, told
    assert "outputs" in told
    assert place.requests == 0
    elsewhere = place.folder / "elsewhere"
    there = {each.name: each.read_text() for each in elsewhere.glob("*")}
    assert there in ({}, {"victim": "precious"})


@pytest.mark.parametrize("name", ["manifest.yaml", "plan.json", "report/index.html"])
def test_a_link_in_the_place_of_our_own_file_goes_and_not_its_target(
    name: str, place: Place
) -> None:
    """What is replaced whole replaces the link; what it led to stays as it was."""
    victim = place.folder / "victim"
    victim.write_text("precious")
    link = place.outputs / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    assert place.run()[0] == 0
    place.retouch("report", "--format", "html")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("where", ["retouch.cli.run.make_plan", "retouch.cli.run.confirm"])
def test_ctrl_c_before_anything_is_sent(
    where: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 54: during planning and at the prompt: exit 130, nothing sent, the next run goes on."""

    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, interrupted)
        code, told = place.run()
    assert code == 130
    assert "nothing is lost" in told
    assert place.requests == 0
    assert place.run()[0] == 0


NAMES = [
    b"\x1b[31mred\x1b[0m.png", "\u202egnp.png".encode(), b"=1+1.png", b"@SUM(A1).png", b"+1.png",
    b"-rf.png", b"<script>alert(1)<.png", b'"><img src=x>.png', b"new\nline.png", b"a\tb.png",
    "zero\u200bwidth.png".encode(), b"%s%n.png", b"{0.__class__}.png", b"$(touch x).png",
]  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
def test_names_and_prompts_made_to_harm_are_only_shown(fails: bool, place: Place) -> None:
    """As escapes, formulas, markup, bidi: through run, status, plan, verify, report and export."""
    source = place.folder / "pictures/0.png"
    for index, name in enumerate(NAMES):
        Image.new("RGB", (300, 300), (index + 1, 0, 0)).save(source)
        source.rename(place.folder / "pictures" / os.fsdecode(name))
    text = (place.folder / "m.yaml").read_text()
    prompt = json.dumps("=cmd|' /C calc'!A0 <script>alert(1)</script> \u202e \u001b[2J")
    (place.folder / "m.yaml").write_text(text.replace("template: edit", f"template: {prompt}"))
    if fails:  # so that each is named on the way
        place.provider.instant = next(one for one in INSTANTS if one.name == "a page instead")
        place.provider.strikes = float("inf")
    assert place.run()[0] == (1 if fails else 0)
    for words in (
        ("status",), ("status", "--json"), ("plan", "--explain"), ("plan", "--json", "--explain"),
        ("verify",), ("verify", "--json"), ("resolve",), ("resolve", "--json"),
        ("report",), ("report", "--format", "json"),
    ):  # fmt: skip
        code, _ = place.retouch(*words)
        assert code in (0, 1)
    _, table = place.retouch("report", "--by", "source", "--format", "csv")
    cells = [cell.strip('"') for line in table.splitlines() for cell in line.split(",")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]
    _, page = place.retouch("report", "--by", "source", "--format", "html")
    pages = [page, *(each.read_text() for each in place.outputs.rglob("*.html"))]
    assert not [one for one in pages if "<script>alert" in one or "<img src=x" in one]
    kept = [path.name for path in (place.outputs / "images").rglob("*.png")]
    assert len(kept) == (0 if fails else len(NAMES))
    assert not {unicodedata.category(each) for each in "".join(kept)} & UNSAFE


def test_a_vanished_outputs_folder_is_no_end_of_what_was_paid_for(place: Place) -> None:
    """Row 43: removed between runs, the work is new work; removed tables are told by verify."""
    assert place.run()[0] == 0
    shutil.rmtree(place.outputs / "images")
    code, told = place.retouch("verify")
    assert code == 1
    assert "missing" in told
    code, told = place.run()
    assert code == 0
    assert "without a picture on disk" in told
    assert place.provider.charges == 1


def test_a_file_changed_between_plan_and_send_is_not_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 33: said, nothing sent; the next run plans it anew and sends what it is now."""

    def then_changed(workspace: Workspace) -> Plan:
        plan = make_plan(workspace)
        Image.new("RGB", (300, 300), "red").save(place.folder / "pictures/0.png")
        return plan

    with monkeypatch.context() as patched:
        patched.setattr("retouch.cli.run.make_plan", then_changed)
        code, told = place.run()
    assert code == 1
    assert "has changed since it was planned" in told
    assert place.requests == 0
    assert place.run()[0] == 0
    assert place.provider.charges == 1
