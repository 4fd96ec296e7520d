"""`retouch init`: a starter that loads, and nothing overwritten."""

from __future__ import annotations

import argparse
import errno
import io
import os
from pathlib import Path

import pytest

from retouch.cli import init
from retouch.cli.init import starter
from retouch.errors import InputRefused, StorageFailed
from retouch.manifest import load


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    init.add_arguments(parser)
    return init.run(parser.parse_args(words))


def test_starter_is_written_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file written is a manifest named after it; what to do next goes to stderr."""
    path = tmp_path / "my cats.yaml"
    assert run(str(path)) == 0
    assert load(path).manifest.name == "my cats"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"retouch plan '{path}'" in printed.err


def test_default_is_in_the_folder_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the starter is manifest.yaml."""
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    assert Path("manifest.yaml").read_bytes() == starter()


def test_a_folder_gets_the_default_name(tmp_path: Path) -> None:
    """A path that is a folder gets manifest.yaml into it."""
    assert run(str(tmp_path)) == 0
    assert (tmp_path / "manifest.yaml").exists()


def test_dash_is_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """`-` prints the starter."""
    assert run("-") == 0
    assert capsys.readouterr().out == starter().decode()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    """What is there already stays as it is, dangling links included, and that is said."""
    path = tmp_path / "m.yaml"
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputRefused, match="is there already; name another file") as caught:
        run(str(path))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "elsewhere").exists()
    assert kind == "link" or path.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none/m.yaml", "No such file"),
        ("con.yaml", "Windows reserves it"),
        ("a\0b", "invisible character U.0000"),
    ],
)
def test_unfit_paths_are_refused(tmp_path: Path, name: str, said: str) -> None:
    """A path that cannot be written, or could not name a manifest, is refused before writing."""
    with pytest.raises(InputRefused, match=said):
        run(f"{tmp_path}/{name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, StorageFailed), (errno.EACCES, InputRefused)]
)
def test_a_disk_that_refuses_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    """A write that fails half-way takes the file back; a full disk is a storage failure."""

    class Refusing(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(code, os.strerror(code))

    really_open = Path.open

    def opened(path: Path, mode: str = "r") -> object:
        if mode != "xb":
            return really_open(path, mode)
        path.touch()
        return Refusing()

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(error, match=os.strerror(code)):
        run(str(tmp_path / "m.yaml"))
    assert list(tmp_path.iterdir()) == []
