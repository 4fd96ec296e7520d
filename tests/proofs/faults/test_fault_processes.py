"""Some cells of the matrix with the real program and the provider in processes of their own."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.house import House, served
from tests.proofs.faults.server import serve
from tests.support.raw_server import Peer, serving

PRICED = "price: {currency: CNY, per_image: 0.20}"
MODELS = {
    "picture": f"  - {{model: gemini-2.5-flash-image, {PRICED}}}",
    "form": f"  - {{model: gpt-image-2, {PRICED}}}",
    "task": f"  - {{model: kling-v2, poll: {{interval: 0.1}}, {PRICED}}}",
}


def breaking(folder: Path, instant: str, **options: str) -> AbstractContextManager[House]:
    """A House whose provider breaks off once, in another process."""
    return served(folder, serve, instant=instant, **options)


def _bought(place: House) -> int:
    path = place.folder / "book.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(("dialect", "kind"), [("qiniu", "picture"), ("openai", "form")])
def test_a_lost_answer_is_said_held_and_settled(tmp_path: Path, dialect: str, kind: str) -> None:
    """Unknown with its ceiling, exit 1; held by the next run; `--redo unknown` pays again."""
    with breaking(tmp_path, "cut in the reply") as place:
        place.pictures(1)
        place.manifest(MODELS[kind], dialect=dialect)
        first = place.retouch("run")
        assert first.returncode == 1, first.stderr
        assert place.state.counts() == Counter(unknown=1)
        assert _bought(place) == 1
        assert "1 job may have been charged" in first.stderr
        assert "unknown between 0 and 0.2000 CNY" in place.retouch("status").stdout
        assert place.retouch("run").returncode == 1
        assert _bought(place) == 1
        again = place.retouch("run", "--redo", "unknown")
        assert again.returncode == 0, again.stderr
        assert _bought(place) == 2
        assert len(place.state.open_charges) == 1


@pytest.mark.parametrize(
    ("stage", "instant"),
    [("poll", "reset before the body"), ("download", "a page instead")],
)
def test_a_task_is_fetched_through_a_bad_network(tmp_path: Path, stage: str, instant: str) -> None:
    """Polls and downloads are repeated: done, submitted once, bought once."""
    with breaking(tmp_path, instant, stage=stage, answers="task") as place:
        place.pictures(1)
        place.manifest(MODELS["task"])
        assert place.retouch("run").returncode == 0
        assert place.state.counts() == Counter(done=1)
        assert _bought(place) == 1


@pytest.mark.parametrize(("dialect", "kind"), [("qiniu", "picture"), ("openai", "form")])
def test_an_upload_that_was_reset_is_sent_again(tmp_path: Path, dialect: str, kind: str) -> None:
    """The body was larger than what the kernels take in: surely unsent, then done."""
    with breaking(tmp_path, "reset in the body") as place:
        (tmp_path / "pictures").mkdir()
        noise = Image.frombytes("RGB", (2000, 2000), os.urandom(12_000_000))
        noise.save(tmp_path / "pictures/large.png", compress_level=0)
        place.manifest(MODELS[kind], dialect=dialect)
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert _bought(place) == 1
        ledger = (place.outputs / "ledger.jsonl").read_text()
        assert '"event":"unsent"' in ledger


def test_a_redirected_submit_is_refused(tmp_path: Path) -> None:
    """Exit 4, told what to write; where it leads hears nothing; the next run goes on."""

    def elsewhere(peer: Peer) -> None:
        peer.read_request()
        peer.answer()

    with serving(elsewhere) as other:
        target = f"http://127.0.0.1:{other.port}/v1/images/edits?token=SIGNED"
        with breaking(tmp_path, "redirect", redirect=target) as place:
            place.pictures(2)
            place.manifest(MODELS["picture"].replace("{model", "{limits: {concurrency: 1}, model"))
            refused = place.retouch("run")
            assert refused.returncode == 4, refused.stderr
            assert "correct provider.base_url" in refused.stderr
            assert "SIGNED" not in refused.stderr
            assert _bought(place) == 0
            assert place.retouch("run").returncode == 0
            assert _bought(place) == 2
        assert other.connections == 0


def test_a_refused_endpoint_gives_way_to_its_fallback(tmp_path: Path) -> None:
    """Nobody listens at the first one: the other gets the request, once."""
    with breaking(tmp_path, "silence", stage="poll") as place:  # which has none to strike
        place.pictures(1)
        place.manifest(MODELS["picture"])
        path = tmp_path / "manifest.yaml"
        live = f"http://127.0.0.1:{place.port}/v1"
        dead = f"base_url: 'http://127.0.0.2:{place.port}/v1', fallback_urls: ['{live}']"
        path.write_text(path.read_text().replace(f"base_url: '{live}'", dead))
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert _bought(place) == 1
