"""What `retouch run` says and records of its end, and what it refuses on its command line."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main
from retouch.ledger import Reader, read
from retouch.ledger.records import RunEnds
from tests.support.provider import png
from tests.support.raw_server import Peer, Server, serving

QUOTA = b'{"error":{"message":"daily quota exceeded","type":"quota_exceeded"}}'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, a manifest, a key."""
    (tmp_path / "pictures").mkdir()
    for index in range(3):
        Image.new("RGB", (300, 300), (index, 0, 0)).save(tmp_path / f"pictures/{index}.png")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789abcdef")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _manifest(folder: Path, port: int) -> None:
    (folder / "m.yaml").write_text(
        "version: 1\n"
        f"provider: {{dialect: qiniu, base_url: 'http://127.0.0.1:{port}/v1'}}\n"
        "inputs: [{glob: pictures/*.png}]\n"
        "prompts: [{id: p, template: edit}]\n"
        "models:\n"
        "  - model: gemini-2.5-flash-image\n"
        "    limits: {concurrency: 1}\n"
        "    price: {currency: CNY, per_image: 0.5}\n"
    )


def _pictures_then(answer: bytes, count: int, status: str = "200 OK") -> Callable[[Peer], None]:
    """A server that makes `count` pictures, and answers so from then on."""
    left = iter(range(count))
    picture = base64.b64encode(png()).decode()
    made = json.dumps({"created": 1, "data": [{"b64_json": picture}], "usage": {}}).encode()

    def serve(peer: Peer) -> None:
        is_post = peer.read_request().head.startswith("POST ")
        if not is_post or next(left, None) is None:
            peer.answer(answer, status=status, headers="Connection: close\r\n")
        else:
            peer.answer(made, headers="Connection: close\r\n")

    return serve


def _posts(server: Server) -> int:
    return sum(heard.head.startswith("POST ") for heard in server.book)


def _last_end(folder: Path) -> RunEnds:
    [ledger] = folder.rglob("ledger.jsonl")
    return [record for record in Reader(ledger) if isinstance(record, RunEnds)][-1]


def test_what_a_parked_lane_has_done_is_not_left(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of three is done when the quota goes: two are left."""
    with serving(_pictures_then(QUOTA, 1, "429 X")) as server:
        _manifest(project, server.port)
        assert main(["run", "m.yaml", "--no-report"]) == 4
    assert "daily quota exceeded; 2 of its jobs are left" in capsys.readouterr().err
    assert _last_end(project).outcome == "stopped"


def test_a_runs_end_records_what_it_comes_to(project: Path) -> None:
    """One done, two cut short: half a yuan confirmed, up to one more, as the state says."""
    with serving(_pictures_then(b'{"data": [{"b64', 1)) as server:
        _manifest(project, server.port)
        assert main(["run", "m.yaml", "--no-report"]) == 1
    end = _last_end(project)
    assert end.outcome == "finished"
    assert end.counts == {"done": 1, "unknown": 2}
    assert end.cost == {"confirmed": {"CNY": "0.500000"}, "unknown_high": {"CNY": "1.000000"}}


def test_an_interrupted_run_is_recorded_as_such(project: Path) -> None:
    """Ctrl-C while the second of three is made: what was in flight ends, and the ledger says why
    there is no third."""
    serve = _pictures_then(b"", 3)

    def interrupting(peer: Peer) -> None:
        if _posts(server) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        serve(peer)

    with serving(interrupting) as server:
        _manifest(project, server.port)
        assert main(["run", "m.yaml", "--no-report"]) == 130
        assert _posts(server) < 3
    end = _last_end(project)
    assert end.outcome == "interrupted"
    assert end.counts["done"] == _posts(server)


def test_a_crashs_last_request_is_said_where_nothing_else_is_to_do(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is done but what was in flight when the machine went: the next run says that it is not
    known, records it, and sends nothing."""
    with serving(_pictures_then(b"", 3)) as server:
        _manifest(project, server.port)
        assert main(["run", "m.yaml", "--no-report"]) == 0
        [ledger] = project.rglob("ledger.jsonl")
        lines = ledger.read_bytes().splitlines(keepends=True)
        begun = max(at for at, line in enumerate(lines) if b'"started"' in line)
        ledger.write_bytes(b"".join(lines[: begun + 1]))
        ledger.with_name("ledger.jsonl.head").unlink()
        assert main(["run", "m.yaml", "--no-report"]) == 1
        assert _posts(server) == 3
    assert "1 request of an earlier run had no answer" in capsys.readouterr().err
    assert read(ledger).counts() == {"done": 2, "unknown": 1}


def test_progress_counts_to_what_the_limit_lets_through(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--limit 2` of three: 2/2 at its end, not 2/3."""
    monkeypatch.setattr("retouch.cli.progress.PLAIN_SECONDS", 0.0)
    with serving(_pictures_then(b"", 3)) as server:
        _manifest(project, server.port)
        main(["run", "m.yaml", "--no-report", "--limit", "2"])
    told = capsys.readouterr().err
    assert "2/2" in told
    assert "/3" not in told


def test_the_end_of_a_quota_says_what_is_left_and_when_to_come_back(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 4: three jobs are left, and the time the server named."""

    def refusing(peer: Peer) -> None:
        peer.read_request()
        peer.answer(QUOTA, status="429 X", headers="Retry-After: 18000\r\nConnection: close\r\n")

    with serving(refusing) as server:
        _manifest(project, server.port)
        assert main(["run", "m.yaml"]) == 4
    told = capsys.readouterr().err
    assert "3 not sent" in told
    assert "daily quota exceeded; 3 of its jobs are left" in told
    assert "come back after 20" in told
    assert "failed" not in told
    assert sum(heard.head.startswith("POST ") for heard in server.book) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--deadline", "soon"), ("--deadline", "0"), ("--deadline", "-5m"), ("--deadline", "1.5h"),
        ("--deadline", "²"), ("--deadline", ""), ("--deadline", "9" * 5000 + "h"),
        ("--deadline", "\x1b[31m6h"), ("--limit", "0"), ("--limit", "-1"), ("--redo", "\x1b[2J"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    words: tuple[str, str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with what to write; nothing is sent and nothing obeyed."""
    _manifest(project, 1)
    assert main(["run", "m.yaml", "=".join(words)]) == 2
    told = capsys.readouterr().err
    assert words[0] in told
    assert "\x1b" not in told
    assert len(told) < 300
    assert not list(project.rglob("ledger.jsonl"))


@pytest.mark.parametrize(("most", "is_written"), [(3, True), (2, False)])
def test_a_gallery_that_would_take_long_is_left_to_be_asked_for(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    *,
    is_written: bool,
) -> None:
    """A run of many jobs ends when its last one does, and says what writes the pages; asked for,
    they are written."""
    monkeypatch.setattr("retouch.cli.pages.AT_RUN_END", most)
    with serving(_pictures_then(QUOTA, 3)) as server:
        _manifest(project, server.port)
        assert main(["run", "m.yaml"]) == 0
    told = capsys.readouterr().err
    page = project / "outputs/m/report/index.html"
    assert page.exists() == is_written
    assert ("`retouch report MANIFEST --format html` writes it" in told) != is_written
    assert main(["report", "m.yaml", "--format", "html"]) == 0
    assert page.exists()
