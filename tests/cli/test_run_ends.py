"""What `retouch run` says of quota and deadline, and what it refuses on its command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main
from tests.support.raw_server import Peer, serving

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
        "models: [{model: gemini-2.5-flash-image, limits: {concurrency: 1}}]\n"
    )


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
