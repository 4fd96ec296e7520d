"""A canary key and signed URLs through every failure: in no byte that is written or printed.

What is looked for is the key's first twelve characters: a part of a key is a leak, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retouch.cli import main
from tests.proofs.hostile.echo import CASES, Case, Echo
from tests.support.raw_server import serving

KEY = "sk-cAnArY0123.4567-89abcdefGHIJ"  # it could stand in an id or a path as it is
WANTED = (KEY[:12].encode(), b"SIGNED", b"hunter2")
LOOKING = (
    ("status",),
    ("status", "--json"),
    ("plan", "--json", "--explain"),
    ("verify", "--json"),
    ("resolve", "--json"),
    ("report", "--format", "html"),
)
MANIFEST = """
version: 1
provider: {dialect: qiniu, base_url: 'http://127.0.0.1:PORT/v1'}
inputs:
  - urls: urls.txt
prompts: [{id: p, template: edit}]
models:
  - model: kling-v2
    images: subject_image_list
    options: {style_image: 'https://cdn.example.com/s.png?e=1&token=SIGNEDabc'}
    limits: {concurrency: 1}
    poll: {interval: 0.05, timeout: 0.5}
    price: {currency: CNY, per_image: 0.20}
run: {retries: 1, timeout: 5}
"""


@pytest.fixture
def project(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest with signed URLs of its own; no wait is longer than a blink."""
    signed = (f"https://cdn.example.com/{one}.png?e=9&token=SIGNEDabc:def=" for one in "ab")
    (in_memory / "urls.txt").write_text("\n".join(signed))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("RETOUCH_OUTPUTS", str(in_memory / "outputs"))
    monkeypatch.chdir(in_memory)
    monkeypatch.setattr("retouch.engine.pacing.BACKOFF_BASE_SECONDS", 0.01)
    return in_memory


def leaks(texts: Iterator[tuple[str, bytes]]) -> list[str]:
    return [
        f"{place}: {wanted.decode()} in {text[max(0, text.index(wanted) - 60) :][:200]!r}"
        for place, text in texts
        for wanted in WANTED
        if wanted in text
    ]


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in (folder / "outputs").rglob("*"):
        yield str(path), path.name.encode()
        if path.is_file():
            yield str(path), path.read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_byte_written_or_printed_holds_the_key(
    case: Case, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Run, run again, then every command that looks: 0 hits under outputs/, stdout and stderr."""
    echo = Echo(case)
    with serving(echo.script) as server:
        echo.port = server.port
        (project / "m.yaml").write_text(MANIFEST.replace("PORT", str(server.port)))
        codes = [main(["run", "m.yaml", "--yes"]) for _ in range(2)]
    assert echo.key == KEY
    assert set(codes) <= {0, 1, 4}
    for words in LOOKING:
        assert main([words[0], "m.yaml", *words[1:]]) in (0, 1)
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err
    outputs = (("stdout", printed.out.encode()), ("stderr", printed.err.encode()))
    assert leaks(iter(outputs)) == []
    assert leaks(written(project)) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("https://user:hunter2@cdn.example.com/1.png?token=SIGNED", "holds credentials"),
        ("ftp://user:hunter2@cdn.example.com/1.png?token=SIGNED", "no http or https URL"),
        ("https://user:hunter2@[::1/1.png?token=SIGNED", "is no URL"),
    ],
)
def test_a_url_with_credentials_is_refused_without_showing_them(
    line: str, told: str, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 by its line in the list; user, password and signature are not repeated."""
    (project / "urls.txt").write_text(line)
    (project / "m.yaml").write_text(MANIFEST.replace("PORT", "1"))
    for command in ("plan", "run"):
        assert main([command, "m.yaml"]) == 2
    printed = capfd.readouterr()
    assert told in printed.err
    assert "urls.txt:1" in printed.err
    assert leaks(iter([("err", printed.err.encode()), ("out", printed.out.encode())])) == []
    assert leaks(written(project)) == []


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:hunter2@api.example.com/v1",
        "https://api.example.com/v1?token=SIGNED",
        "http://api.example.com/v1",
    ],
)
@pytest.mark.parametrize("where", ["manifest", "environment"])
def test_a_base_url_with_secrets_is_refused_without_showing_them(
    base_url: str,
    where: str,
    project: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused before anything is sent, wherever it was named."""
    given = MANIFEST.replace("http://127.0.0.1:PORT/v1", base_url)
    if where == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        given = MANIFEST.replace(", base_url: 'http://127.0.0.1:PORT/v1'", "")
    (project / "m.yaml").write_text(given)
    assert main(["run", "m.yaml", "--yes"]) in (2, 4)
    printed = capfd.readouterr()
    assert leaks(iter([("err", printed.err.encode()), ("out", printed.out.encode())])) == []
    assert leaks(written(project)) == []


CRASHING = """
import sys
from retouch.cli import main
from retouch.dialects.qiniu import requests as qiniu
def failing(reply):
    try:
        raise ValueError(reply.body.decode())
    except ValueError as error:
        raise KeyError(str(error)[::1]) from error
qiniu.read_submit = failing
sys.exit(main(["run", "m.yaml", "--yes"]))
"""


def test_not_even_a_defect_shows_the_key(project: Path) -> None:
    """A traceback with the reply in its messages, from a real process, whose command line and
    files hold nothing either; what was in flight is on file."""
    echo = Echo(next(case for case in CASES if case.name == "200, refused"))
    with serving(echo.script) as server:
        echo.port = server.port
        (project / "m.yaml").write_text(MANIFEST.replace("PORT", str(server.port)))
        with subprocess.Popen(
            [sys.executable, "-c", CRASHING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ,
        ) as process:
            command_line = Path(f"/proc/{process.pid}/cmdline")
            shown = command_line.read_bytes() if command_line.exists() else b""
            out, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" in errors
    assert b"a defect of retouch itself" in errors
    assert b"[secret]" in errors
    assert leaks(iter([("out", out), ("err", errors), ("ps", shown)])) == []
    assert leaks(written(project)) == []
    assert b'"event":"started"' in (project / "outputs/m/ledger.jsonl").read_bytes()
