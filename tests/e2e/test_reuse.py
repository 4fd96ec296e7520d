"""Work that is paid for is taken over, under another path or by another manifest, unsent."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.e2e.house import house

SYNC = "  - {model: gemini-2.5-flash-image}"


def test_a_renamed_source_is_not_paid_for_again(tmp_path: Path) -> None:
    """The same bytes under another name: the picture is copied to its new path and recorded."""
    with house(tmp_path) as place:
        place.pictures(2)
        place.manifest(SYNC)
        assert place.retouch("run").returncode == 0
        (tmp_path / "pictures/000.png").rename(tmp_path / "pictures/renamed.png")
        again = place.retouch("run")
        assert again.returncode == 0, again.stderr
        assert "1 reused" in again.stderr
        assert len(place.book) == 2
        folder = place.outputs / "images/gemini-2.5-flash-image/p0/pictures"
        assert (folder / "renamed-0.png").read_bytes() == (folder / "000-0.png").read_bytes()
        assert place.state.counts() == Counter(done=1, reused=1)
        assert "nothing to send" in place.retouch("run").stderr
        assert place.retouch("verify").returncode == 0


def test_another_manifest_takes_over_what_it_names(tmp_path: Path) -> None:
    """`reuse:` names a ledger; its pictures are copied, and only what is missing is bought."""
    with house(tmp_path) as place:
        place.pictures(2)
        place.manifest(SYNC)
        assert place.retouch("run").returncode == 0
        manifest = tmp_path / "manifest.yaml"
        other = manifest.read_text() + "name: other\nreuse: [outputs/manifest/ledger.jsonl]\n"
        more = "\n  - {id: extra, template: more}\nmodels:"
        manifest.write_text(other.replace("\nmodels:", more))
        planned = json.loads(place.retouch("plan", "--json").stdout)["lanes"][0]
        assert (planned["reused"], planned["to_send"]) == (2, 2)
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert len(place.book) == 4
        lines = (tmp_path / "outputs/other/ledger.jsonl").read_text().splitlines()
        events = Counter(json.loads(line)["event"] for line in lines)
        assert (events["reused"], events["done"]) == (2, 2)


def test_a_lost_picture_is_paid_for_again_only_when_told_to(tmp_path: Path) -> None:
    """A picture that was removed is said to be missing; `--redo missing` buys it again."""
    with house(tmp_path) as place:
        place.pictures(2)
        place.manifest(SYNC)
        place.retouch("run")
        lost = place.outputs / "images/gemini-2.5-flash-image/p0/pictures/001-0.png"
        lost.unlink()
        said = place.retouch("run")
        assert "1 done job without a picture" in said.stderr
        assert len(place.book) == 2
        assert place.retouch("run", "--redo", "missing").returncode == 0
        assert len(place.book) == 3
        assert lost.exists()
