"""`retouch reconcile --fetch` against a real server that keeps its own book."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retouch.cli import main
from tests.support.priced import priced
from tests.support.serving import serving


def test_the_servers_own_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was run against a server agrees with the usage it says it counted, and as no money
    stands in it, nothing is agreed about money; a request that the ledger does not hold is a
    difference."""
    monkeypatch.setenv("OPENAI_API_KEY", "rehearsal-canary")
    cats = priced(tmp_path, 2)
    with serving() as served:
        cats.write(more=f"provider: {{dialect: qiniu, base_url: {served.root}/v1}}")
        assert main(["run", *cats.words]) == 0
        capsys.readouterr()
        assert main(["reconcile", *cats.words, "--fetch", "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert document["money_compared"] is False
        assert document["unexplained"] == []
        rows = document["rows"]
        assert {row["measure"] for row in rows} == {"images", "input_tokens", "output_tokens"}
        assert all(row["ours"] == row["theirs"] != "0" for row in rows)
        cats.ledger.parent.rename(cats.outputs / "elsewhere")
        cats.write(n=2, more=f"provider: {{dialect: qiniu, base_url: {served.root}/v1}}")
        assert main(["run", *cats.words, "--limit", "1"]) == 0
        capsys.readouterr()
        assert main(["reconcile", *cats.words, "--fetch"]) == 1
        assert "unexplained" in capsys.readouterr().out
