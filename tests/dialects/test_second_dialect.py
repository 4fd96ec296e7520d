"""A dialect is added by one module and one line: a whole run and its bill, nothing else touched."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from retouch import dialects
from retouch.cli import main
from retouch.ledger import read
from retouch.ledger.records import Done
from tests.support import sketch
from tests.support.provider import png
from tests.support.raw_server import Peer, serving

MANIFEST = """
version: 1
name: drawn
provider: {{dialect: sketch, base_url: {url}/v1beta, api_key_env: SKETCH_KEY}}
inputs: [{{glob: data/*.png}}]
prompts: [{{id: p, template: draw it}}]
models:
  - {{model: pencil, options: {options}, price: {{currency: EUR, per_image: 0.05,
     per_image_by: [{{size: large, amount: 0.08}}]}}}}
"""


def answer(peer: Peer) -> None:
    """Draws what is asked for; tells what was drawn."""
    while True:
        heard = peer.read_request()
        if heard.head.startswith("GET"):
            spent = [{"day": "2026-01-01", "pen": "pencil", "drawn": 2}]
            peer.answer(json.dumps(spent).encode())
            continue
        asked = json.loads(heard.body)
        drawn = [base64.b64encode(png(str(each))).decode() for each in range(asked["how_many"])]
        peer.answer(json.dumps({"drawn": drawn, "strokes": 9}).encode())


def test_a_second_dialect_runs_from_manifest_to_bill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own names for number and size reach the price, the limits, the paths and the ledger."""
    monkeypatch.setitem(dialects._LISTED, sketch.NAME, sketch.__name__)
    monkeypatch.setenv("SKETCH_KEY", "sk-0123456789abcdef")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(png())
    manifest = tmp_path / "drawn.yaml"
    with serving(answer) as server:
        manifest.write_text(MANIFEST.format(url=server.url, options="{how_many: 5, canvas: x}"))
        assert main(["plan", str(manifest)]) == 2
        told = capsys.readouterr().err
        assert "it must be from 1 to 4" in told
        assert "`canvas` is not an option" in told
        manifest.write_text(MANIFEST.format(url=server.url, options="{how_many: 2, dims: large}"))
        assert main(["run", str(manifest), "--yes", "--budget", "1EUR"]) == 0, capsys.readouterr()
        posts = [heard.head for heard in server.book if heard.head.startswith("POST ")]
        assert posts[0].startswith("POST /v1beta/draw ")
        capsys.readouterr()
        main(["reconcile", str(manifest), "--fetch", "--json"])
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert {row["theirs"] for row in rows if row["measure"] == "images"} >= {"2"}
    state = read(tmp_path / "outputs" / "drawn" / "ledger.jsonl")
    [outcome] = state.outcomes.values()
    assert isinstance(outcome.decided, Done)
    assert [file.path for file in outcome.files] == [
        f"images/pencil/p/data/a-{index}.png" for index in range(2)
    ]
    assert outcome.began is not None
    assert outcome.began.terms is not None
    assert (outcome.began.terms.n, outcome.began.terms.size) == (2, "large")
    assert str(state.totals.confirmed["EUR"].amount) in ("0.16", "0.160000")
