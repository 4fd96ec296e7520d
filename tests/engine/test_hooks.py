"""A command that is told of a notice: late, it and its children are gone, and the run goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import pytest

from retouch.engine.hooks import CommandHook
from retouch.engine.notices import Notice


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_late_command_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that waits for a child of its own: neither is left behind."""
    monkeypatch.setattr("retouch.engine.hooks.NOTICE_SECONDS", 1.0)
    kept = tmp_path / "pids"
    hook = CommandHook(("sh", "-c", f"sleep 300 & echo $! $$ > {kept}; wait"), dict(os.environ))
    begin = time.monotonic()
    problem = anyio.run(hook, Notice(b"{}", "cats: 80 %"))
    assert problem == "sh did not end within 1 s and was killed"
    assert time.monotonic() - begin < 60
    pids = [int(word) for word in kept.read_text().split()]
    patience = time.monotonic() + 20
    while any(map(_is_alive, pids)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not any(map(_is_alive, pids))


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_command_need_not_read_what_it_is_told(size: int) -> None:
    """It closes its stdin at once: no broken pipe reaches the run."""
    hook = CommandHook(("sh", "-c", "exec <&-; exit 0"), dict(os.environ))
    assert anyio.run(hook, Notice(b"x" * size, "a line")) is None


def test_a_command_with_a_nul_byte_is_said() -> None:
    """What no program can be given is told, not raised."""
    problem = anyio.run(CommandHook(("sh", "\0"), {}), Notice(b"{}", "a line"))
    assert problem is not None
    assert "cannot be started" in problem
