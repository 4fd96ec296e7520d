"""Streams that are closed, dead or speak ASCII: what is shown never costs what is paid for."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.house import House, house

TWO = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 2}}"
EIGHT = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 8}}"
RETOUCH = f"{sys.executable} -m retouch"


def in_a_shell(place: House, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """One line of bash, with pipes' own exit codes."""
    process = place.start_program(["bash", "-c", f"set -o pipefail; {line}"], variables)
    out, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(line, process.returncode, out, errors)


@pytest.mark.parametrize(
    "redirected",
    ["2>&1 | head -n 1", "2>&1 | true", "2>&-", ">&-", "<&- >&- 2>&-", "2>/dev/full >/dev/full"],
)
def test_a_run_whose_stream_is_gone_keeps_all(tmp_path: Path, redirected: str) -> None:
    """Each charge in the provider's book is a picture, whatever became of what was said."""
    with house(tmp_path, seconds=0.3, refused="gemini-3.1-flash-image-preview") as place:
        place.pictures(8)
        refused = "  - {model: gemini-3.1-flash-image-preview, limits: {concurrency: 8}}"
        place.manifest(f"{TWO}\n{refused}")  # what is refused is said in mid-run
        ended = in_a_shell(place, f"{RETOUCH} run manifest.yaml {redirected}")
        assert "Traceback" not in ended.stdout + ended.stderr
        assert (place.state.counts(), len(place.book)) == (Counter(done=8, failed=8), 8)
        assert place.retouch("verify").returncode == 0


def test_a_dead_terminal_cancels_nothing(tmp_path: Path) -> None:
    """The terminal is closed in mid-run, and with it comes SIGHUP: what is in flight is kept."""
    with house(tmp_path, seconds=1) as place:
        place.pictures(8)
        place.manifest(EIGHT)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "retouch", "run", "manifest.yaml"],
            cwd=tmp_path,
            env=os.environ | {"OPENAI_API_KEY": "sk-canary"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            while place.posts_arrived() < 8:
                os.read(ours, 65536)
        finally:
            os.close(ours)
        process.wait(timeout=60)
        assert (place.state.counts(), len(place.book)) == (Counter(done=8), 8)


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "gbk"])
def test_a_stream_that_lacks_characters_escapes_them(tmp_path: Path, encoding: str) -> None:
    """Names the encoding has not: a run says what it says, a document stays the same document."""
    with house(tmp_path, seconds=0.05) as place:
        place.pictures(1)
        (tmp_path / "pictures" / "000.png").rename(tmp_path / "pictures" / "猫😀é.png")
        place.manifest(EIGHT)
        ran = in_a_shell(place, f"{RETOUCH} run manifest.yaml", PYTHONIOENCODING=encoding)
        assert ran.returncode == 0, ran.stderr
        process = subprocess.run(
            [sys.executable, "-m", "retouch", "report", "manifest.yaml", "--format", "json",
             "--by", "source"],
            cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True,
            check=False,
        )  # fmt: skip
        document = json.loads(process.stdout.decode(encoding.partition(":")[0]))
        assert process.returncode == 0, process.stderr
        assert "Traceback" not in process.stderr.decode("ascii", "replace")
        assert document["totals"][0]["jobs"] == 1


def test_a_document_that_did_not_fit_is_said(tmp_path: Path) -> None:
    """A full disk behind stdout is exit 5, and no reader of half a document takes it for whole."""
    with house(tmp_path) as place:
        place.pictures(1)
        place.manifest(EIGHT)
        ended = in_a_shell(place, f"{RETOUCH} plan manifest.yaml --json > /dev/full")
        assert ended.returncode == 5
        assert ended.stderr == "retouch: standard output: No space left on device\n"
