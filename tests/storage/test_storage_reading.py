"""A file is read whole, as it is while somebody writes it, and costs no more than its bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retouch.storage.reading import UnreadableFile, read_regular

KEPT = """
import sys
from pathlib import Path
from retouch.storage.reading import read_regular
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
path = Path(sys.argv[1])
kept = [read_regular(path) for _ in range(100)]
before = resident()
kept += [read_regular(path) for _ in range(4_000)]
print((resident() - before) // 4_000)
"""


def test_small_files_that_are_kept_take_no_page_each(tmp_path: Path) -> None:
    """100 bytes in a process's memory, and not the 4,096 that a block cut down to them keeps."""
    path = tmp_path / "small.png"
    path.write_bytes(bytes(100))
    words = [sys.executable, "-c", KEPT, str(path)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert int(told) < 1_000


@pytest.mark.parametrize("length", [0, 1, 10])
def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """And refused where it grows beyond what is read at most."""
    path = tmp_path / "growing.png"
    path.write_bytes(b"x" * length)
    real = os.fstat

    def and_then_more(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        with path.open("ab") as file:
            file.write(b"more!")
        return found

    monkeypatch.setattr(os, "fstat", and_then_more)
    data = read_regular(path)
    assert data.startswith(b"x" * length)
    assert data.endswith(b"more!")
    assert len(data) == path.stat().st_size
    with pytest.raises(UnreadableFile, match="larger than"):
        read_regular(path, cap=path.stat().st_size + 1)
