"""Every wrong manifest, table and picture through `retouch run`: exit 2, told, nothing sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from retouch.cli import main
from tests.plan.test_plan_bad_input import ERRORS
from tests.support.bad_manifests import CASES, Case
from tests.support.studio import Studio


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is there, so that only the input can be the reason to send nothing."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789abcdef")


def _refused(manifest: Path, outputs: Path, capsys: pytest.CaptureFixture[str]) -> str:
    code = main(["run", str(manifest), "--outputs", str(outputs)])
    printed = capsys.readouterr()
    assert code == 2, printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert not list(outputs.rglob("ledger.jsonl*"))
    return printed.err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_bad_manifest(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file, says what is wrong and what to do about it."""
    path = tmp_path / "m.yaml"
    path.write_bytes(case.text().replace("«".encode(), b""))
    told = _refused(path, tmp_path / "outputs", capsys)
    assert "m.yaml" in told
    assert case.what in told
    assert case.remedy in told


@pytest.mark.parametrize("case", ERRORS)
def test_bad_source_or_plan(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, globs, pictures, options and paths: all is said that the plan says."""
    make, parts, fragments = ERRORS[case]
    studio = Studio(tmp_path)
    make(studio)
    told = _refused(studio.write(**parts), studio.outputs, capsys)
    assert [fragment for fragment in fragments if fragment not in told] == [], told
