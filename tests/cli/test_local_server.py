"""A server of one's own: no key, no price, and its cost is said to be none, never unpriced."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from retouch.cli import main
from retouch.errors import InputRefused
from retouch.ledger import read
from retouch.manifest import load
from tests.support.provider import png
from tests.support.raw_server import Peer, serving

MANIFEST = """
version: 1
name: own
provider: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1", api_key_env: null}}
inputs: [{{glob: "*.png"}}]
prompts: [{{id: warm, template: Make it warmer}}]
models:
  - {{model: qwen-image-edit, price: {{local: true}}}}
{more}
"""
PAID = "run: {budget: {amount: 1, currency: USD}}"


def server(peer: Peer) -> None:
    """Answers edits as sd.cpp and vLLM-Omni do: a picture and no usage; heard keys are refused."""
    while True:
        heard = peer.read_head()
        peer.read_body(heard)
        if heard.head.startswith("GET"):
            peer.answer(status="404 Not Found", headers="Connection: close\r\n")
            return
        if heard.header("authorization") is not None:
            peer.answer(status="401 Unauthorized", headers="Connection: close\r\n")
            return
        document = {"data": [{"b64_json": base64.b64encode(png("a")).decode()}]}
        peer.answer(json.dumps(document).encode(), headers="Connection: close\r\n")
        return


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A manifest for such a server, under a budget in dollars."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-sent-0123456789")
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (96, 64), "orange").save(tmp_path / "a.png")
    with serving(server) as served:
        path = tmp_path / "own.yaml"
        path.write_text(MANIFEST.format(port=served.port, more=PAID))
        yield path


def test_what_it_costs_is_none_local_everywhere(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """plan, run, status, report, verify: said so, and nothing is unpriced or unknown."""
    said: dict[str, str] = {}
    for words in (["plan"], ["run"], ["status"], ["report"], ["verify"]):
        assert main([words[0], str(manifest), *words[1:]]) == 0, capsys.readouterr()
        out = capsys.readouterr()
        said[words[0]] = out.out + out.err
    for command in ("plan", "status", "report"):
        assert "none: local" in said[command], said[command]
    assert not any("unpriced" in text or "no price" in text for text in said.values())
    state = read(manifest.parent / "outputs/own/ledger.jsonl")
    assert state.counts()["done"] == 1
    assert state.totals.unpriced == 0
    assert not state.open_charges
    lines = (manifest.parent / "outputs/own/ledger.jsonl").read_text().splitlines()
    done = next(record for record in map(json.loads, lines) if record["event"] == "done")
    assert (done["cost"]["basis"], done["cost"]["price"]) == ("none", "local")
    assert float(done["cost"]["amount"]) == 0


def test_programs_read_it_too(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """plan --json says the basis, report --json counts nothing unpriced."""
    assert main(["plan", str(manifest), "--json"]) == 0
    [lane] = json.loads(capsys.readouterr().out)["lanes"]
    assert (lane["basis"], lane["cost"]["high"]) == ("none: local", "0.000000")
    assert main(["run", str(manifest)]) == 0
    capsys.readouterr()
    assert main(["report", str(manifest), "--format", "json"]) == 0
    [totals] = json.loads(capsys.readouterr().out)["totals"]
    assert (totals["confirmed"], totals["unpriced_jobs"], totals["kept"]) == ("0.000000", 0, 1)


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("{local: true, per_image: 1}", "has no `per_image`"),
        ("{local: true, currency: CNY}", "has no `currency`"),
        ("{local: false, currency: CNY, per_image: 1}", "local"),
        ("{per_image: 1}", "currency` is missing"),
    ],
)
def test_a_local_price_stands_alone(tmp_path: Path, price: str, said: str) -> None:
    """Nothing and something at once is refused, and so is a price without a currency."""
    path = tmp_path / "own.yaml"
    path.write_text(MANIFEST.format(port=1, more="").replace("{local: true}", price))
    with pytest.raises(InputRefused) as refused:
        load(path)
    assert said in str(refused.value)
