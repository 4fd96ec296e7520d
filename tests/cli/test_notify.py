"""Who is told, from the manifest's words: what cannot be told is said, and stops no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from retouch.cli.notify import notices_of
from retouch.cli.running import write_snapshot
from retouch.cli.workspace import Workspace, make_plan, open_workspace
from retouch.engine.hooks import CommandHook, URLHook
from retouch.errors import InputRefused
from tests.support.priced import Priced, priced

HOOK = "https://hooks.example.com/services/T0/B0/s3cr3t?token=t0k3n"


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    return priced(tmp_path, 1)


def _workspace(cats: Priced, notify: str, *, rehearse: bool = False) -> Workspace:
    cats.write(more=f"run: {{notify: {notify}}}")
    return open_workspace(cats.manifest, cats.outputs, rehearse=rehearse)


def test_a_rehearsal_tells_this_machine_alone(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline is offline: another host is named and not told; loopback and programs are."""
    away = _workspace(cats, f"{{url: '{HOOK}'}}", rehearse=True)
    assert notices_of(away, "run-1", ()) is None
    told = capsys.readouterr().err
    assert "hooks.example.com is not told" in told
    assert "s3cr3t" not in told
    here = notices_of(_workspace(cats, "{url: 'http://127.0.0.1:9/x'}", rehearse=True), "r", ())
    assert here is not None
    assert isinstance(here.deliver, URLHook)
    assert here.is_virtual
    program = notices_of(_workspace(cats, "{command: [echo]}", rehearse=True), "r", ())
    assert program is not None
    assert isinstance(program.deliver, CommandHook)


def test_a_url_in_a_variable_is_checked_when_the_run_begins(
    cats: Priced, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no URL is said without repeating it."""
    workspace = _workspace(cats, "{url_env: HOOK}")
    for value, is_told in ((HOOK, True), ("s3cr3t", False), ("http://example.com/s3cr3t", False)):
        monkeypatch.setenv("HOOK", value)
        assert (notices_of(workspace, "run-1", ()) is not None) == is_told
        assert "s3cr3t" not in capsys.readouterr().err


def test_the_snapshot_holds_no_hook(cats: Priced) -> None:
    """`manifest.yaml` in the outputs names the host alone."""
    workspace = _workspace(cats, f"{{url: '{HOOK}'}}")
    workspace.folder.mkdir(parents=True)
    write_snapshot(workspace, make_plan(workspace))
    kept = (workspace.folder / "manifest.yaml").read_text()
    assert "https://hooks.example.com/[secret]" in kept
    assert "s3cr3t" not in kept
    assert "t0k3n" not in kept


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("{}", "exactly one of"),
        ("{url: 'https://h.example/x', command: [echo]}", "exactly one of"),
        ("{url: 'ftp://h.example/s3cr3t'}", "no http URL"),
        ("{url: 'http://h.example/s3cr3t'}", "unencrypted"),
        ("{url: 'https://u:s3cr3t@h.example/'}", "credentials"),
        ("{command: [echo], at: [80]}", "write it like 80%"),
        ("{command: [echo], at: [101%]}", "write it like 80%"),
        ("{command: 'rm -rf /'}", "command"),
    ],
)
def test_what_cannot_be_meant_is_refused(cats: Priced, notify: str, said: str) -> None:
    """Before anything is sent, and without repeating what may be a secret."""
    with pytest.raises(InputRefused) as refused:
        _workspace(cats, notify)
    assert said in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
